//! The resources that a server's clients hold, and which client must leave when they exceed the limits.
//!
//! A client occupies a place, and bytes while a request of it is incomplete or an answer is unread. Both are bounded
//! per server, so that their sum bounds all servers. At a limit, a client that never completed a request leaves, or
//! else the one whose last request is longest ago; a guest that holds bytes for [`HELD_MAX`] without progress leaves
//! anyway.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turns, MutexGuard, Notify};

/// How long a client may take to send the rest of a request, or to read an answer.
const HELD_MAX: Duration = Duration::from_secs(10);

/// Limits for the clients of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    /// Bytes of incomplete requests and of unread answers.
    pub(super) bytes: usize,
}

/// The current clients, and what they hold.
pub(super) struct Room {
    pub(super) limits: Limits,
    inner: Mutex<Inner>,
    /// Notified when something was released.
    given_back: Notify,
    /// Held while an answer is generated but not counted yet: one at a time, however many clients ask at once.
    turns: Turns<()>,
}

#[derive(Default)]
struct Inner {
    guests: BTreeMap<u64, Place>,
    last: u64,
    /// Totals: over all clients, and over those that have not been told to leave.
    bytes: usize,
    bytes_staying: usize,
    staying: usize,
}

struct Place {
    leave: Arc<Notify>,
    leaving: bool,
    bytes: usize,
    /// Has completed a request.
    served: bool,
    /// When it arrived, completed a request, or started to hold bytes.
    since: Instant,
}

impl Room {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, inner: Mutex::default(), given_back: Notify::new(), turns: Turns::default() }
    }

    /// Tells clients without progress to leave.
    pub(super) fn sweep(&self) {
        let mut inner = self.inner.lock();
        let slow = |place: &Place| !place.leaving && place.bytes > 0 && place.since.elapsed() > HELD_MAX;
        let slow: Vec<u64> =
            inner.guests.iter().filter(|(_, place)| slow(place)).map(|(id, _)| *id).collect();
        for id in slow {
            inner.tell_to_leave(id);
        }
    }
}

impl Inner {
    fn tell_to_leave(&mut self, id: u64) {
        if let Some(place) = self.guests.get_mut(&id).filter(|place| !place.leaving) {
            place.leaving = true;
            place.leave.notify_one();
            self.staying -= 1;
            self.bytes_staying -= place.bytes;
        }
    }

    /// Tells the least important client to leave. Returns whether there is one.
    fn make_room(&mut self, holders_only: bool) -> bool {
        let candidates = self.guests.iter().filter(|(_, place)| !place.leaving);
        let candidates = candidates.filter(|(_, place)| place.bytes > 0 || !holders_only);
        let least = candidates.min_by_key(|(_, place)| (place.served, place.since)).map(|(id, _)| *id);
        least.map(|id| self.tell_to_leave(id)).is_some()
    }

    /// Records that a client's holdings changed.
    fn hold(&mut self, id: u64, before: usize, after: usize) {
        if let Some(place) = self.guests.get_mut(&id) {
            if place.bytes == 0 {
                place.since = clock::now();
            }
            place.bytes = place.bytes - before + after;
            self.bytes = self.bytes - before + after;
            if !place.leaving {
                self.bytes_staying = self.bytes_staying - before + after;
            }
        }
    }
}

/// One client's account. Clones refer to the same client.
#[derive(Clone)]
pub(super) struct Guest {
    id: u64,
    room: Arc<Room>,
}

impl fmt::Debug for Guest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guest").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Guest {
    /// Registers a client; returns also the signal that tells it to leave.
    pub(super) fn enter(room: &Arc<Room>) -> (Self, Arc<Notify>) {
        let leave = Arc::new(Notify::new());
        let mut inner = room.inner.lock();
        if inner.staying >= room.limits.connections {
            inner.make_room(false);
        }
        inner.last += 1;
        inner.staying += 1;
        let id = inner.last;
        let since = clock::now();
        let place = Place { leave: Arc::clone(&leave), leaving: false, bytes: 0, served: false, since };
        inner.guests.insert(id, place);
        drop(inner);
        (Self { id, room: Arc::clone(room) }, leave)
    }

    /// Unregisters a client.
    pub(super) fn leave(&self) {
        let mut inner = self.room.inner.lock();
        inner.tell_to_leave(self.id);
        if let Some(place) = inner.guests.remove(&self.id) {
            inner.bytes -= place.bytes;
        }
        drop(inner);
        self.room.given_back.notify_waiters();
    }

    /// Tells it to leave: its connection ends, whatever it waits for.
    pub(super) fn tell_to_leave(&self) {
        self.room.inner.lock().tell_to_leave(self.id);
    }

    /// Notes that a request was completed, or an answer was read.
    pub(super) fn served(&self) {
        if let Some(place) = self.room.inner.lock().guests.get_mut(&self.id) {
            (place.served, place.since) = (true, clock::now());
        }
    }

    /// Held while an answer is generated, until it is counted: so at most one uncounted answer is in memory.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.room.turns.lock().await
    }

    /// Holds nothing so far.
    pub(super) fn hold(&self) -> Hold {
        Hold { guest: self.clone(), bytes: 0 }
    }
}

/// Bytes that a client holds, until this is dropped.
pub(super) struct Hold {
    guest: Guest,
    bytes: usize,
}

/// The answer to a guest that requests more.
#[derive(Debug, PartialEq, Eq)]
enum More {
    Granted,
    /// Others were told to leave; there is room once they have.
    Soon,
    Refused,
}

impl Hold {
    /// Sets the number of bytes held. If others have to leave for that, waits until they have.
    ///
    /// # Errors
    /// This client has to leave.
    pub(super) async fn set(&mut self, bytes: usize) -> io::Result<()> {
        let room = Arc::clone(&self.guest.room);
        loop {
            let mut given_back = pin!(room.given_back.notified());
            given_back.as_mut().enable();
            match self.try_set(bytes) {
                More::Granted => return Ok(()),
                More::Refused => return Err(io::Error::other("closed to make room for others")),
                More::Soon => given_back.await,
            }
        }
    }

    /// Makes room in `buffer`, which is all that this client holds, for `more` bytes. Allocates them once granted, so
    /// that memory freed by others is reused.
    ///
    /// # Errors
    /// This client has to leave.
    pub(super) async fn grow(&mut self, buffer: &mut Vec<u8>, more: usize) -> io::Result<()> {
        if buffer.capacity() - buffer.len() < more {
            let capacity = (buffer.len() + more).max(2 * buffer.capacity());
            self.set(capacity).await?;
            buffer.reserve_exact(capacity - buffer.len());
        }
        Ok(())
    }

    /// Reduces the number of bytes held.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let room = &self.guest.room;
        let bytes = bytes.min(self.bytes);
        if bytes < self.bytes {
            room.inner.lock().hold(self.guest.id, self.bytes, bytes);
            self.bytes = bytes;
            room.given_back.notify_waiters();
        }
    }

    fn try_set(&mut self, bytes: usize) -> More {
        if bytes <= self.bytes {
            self.shrink(bytes);
            return More::Granted;
        }
        let bytes_max = self.guest.room.limits.bytes;
        let mut inner = self.guest.room.inner.lock();
        let more = bytes - self.bytes;
        while inner.bytes_staying + more > bytes_max {
            if !inner.make_room(true) {
                return More::Refused;
            }
        }
        if inner.guests.get(&self.guest.id).is_none_or(|place| place.leaving) {
            return More::Refused;
        }
        if inner.bytes + more > bytes_max {
            return More::Soon;
        }
        inner.hold(self.guest.id, self.bytes, bytes);
        self.bytes = bytes;
        More::Granted
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(connections: usize, bytes: usize) -> Arc<Room> {
        Arc::new(Room::new(Limits { connections, bytes }))
    }

    fn stays(guest: &Guest) -> bool {
        guest.room.inner.lock().guests.get(&guest.id).is_some_and(|place| !place.leaving)
    }

    #[tokio::test]
    async fn connections_without_a_complete_request_go_first_then_the_longest_idle() {
        let room = room(2, 100);
        let (useful, _) = Guest::enter(&room);
        useful.served();
        let (silent, told) = Guest::enter(&room);
        let (third, _) = Guest::enter(&room);
        assert!(stays(&useful) && !stays(&silent) && stays(&third));
        told.notified().await;
        third.served();
        let (_fourth, _) = Guest::enter(&room);
        assert!(!stays(&useful) && stays(&third));
    }

    #[tokio::test]
    async fn at_the_byte_limit_the_longest_waiting_is_dropped_for_the_new_one() {
        let room = room(10, 100);
        let (idle, _) = Guest::enter(&room);
        let (first, told) = Guest::enter(&room);
        let (second, _) = Guest::enter(&room);
        let (mut one, mut two) = (first.hold(), second.hold());
        one.set(60).await.unwrap();
        two.set(40).await.unwrap();
        assert_eq!(two.try_set(50), More::Soon, "it is told, and not gone yet");
        assert!(stays(&idle) && !stays(&first), "who holds nothing need not go");
        assert_eq!(one.try_set(61), More::Refused);
        let leaves = async {
            told.notified().await;
            drop(one);
            first.leave();
        };
        tokio::join!(async { two.set(50).await.unwrap() }, leaves);
        assert_eq!(two.try_set(101), More::Refused, "more than there is for all");
    }

    proptest! {
        #[test]
        fn held_bytes_are_bounded_and_add_up(
            steps in proptest::collection::vec((0_usize..6, 0_usize..60, any::<bool>()), 0..200),
        ) {
            let room = room(4, 100);
            let mut holds: Vec<Hold> = Vec::new();
            for (who, bytes, comes) in steps {
                if comes {
                    holds.push(Guest::enter(&room).0.hold());
                } else if let Some(hold) = holds.get_mut(who) {
                    hold.try_set(bytes);
                } else if !holds.is_empty() {
                    holds.remove(0).guest.leave();
                }
                let inner = room.inner.lock();
                let staying: Vec<&Place> = inner.guests.values().filter(|place| !place.leaving).collect();
                prop_assert_eq!(inner.bytes, inner.guests.values().map(|place| place.bytes).sum::<usize>());
                prop_assert_eq!(inner.bytes_staying, staying.iter().map(|place| place.bytes).sum::<usize>());
                prop_assert_eq!(inner.staying, staying.len());
                prop_assert!(inner.bytes <= 100 && inner.staying <= 4);
                for hold in &holds {
                    prop_assert!(inner.guests.get(&hold.guest.id).is_none_or(|place| place.bytes == hold.bytes));
                }
            }
        }
    }
}
