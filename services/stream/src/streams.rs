//! The open streams of this replica: each client's progress, and orders to end.
//!
//! A stream is shared between its body, which the client's connection polls for bytes, and this table. The table never
//! writes: it leaves an order and wakes the connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use service::web::Reset;
use tokio::time::Instant;
use uuid::Uuid;

/// The interval between events.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// Why a stream should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Another replica has more room.
    Shed = 1,
    /// This replica is shutting down.
    ShutDown = 2,
    /// The lock has another owner or none.
    LockLost = 3,
    /// Redis has not confirmed the lock for too long.
    LockUnknown = 4,
}

impl Order {
    /// The server ends the stream and knows that nothing follows, so the pair need not stay locked.
    pub(crate) fn frees_the_pair(self) -> bool {
        matches!(self, Self::Shed | Self::ShutDown)
    }

    /// The comment for the client.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Shed => "another replica has more room",
            Self::ShutDown => "this replica shuts down",
            Self::LockLost => "the lock is lost",
            Self::LockUnknown => "Redis has not confirmed the lock for too long",
        }
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its session's ID, which is also the value of its lock.
    pub(crate) id: String,
    pub(crate) user: Uuid,
    /// The lock's key: `userId:profileId`.
    pub(crate) pair: String,
    pub(crate) opened: Instant,
    /// The turn of the last started event, and the number of started events, in 32 bits each: they are read together.
    progress: AtomicU64,
    /// An [`Order`], or 0.
    order: AtomicU8,
    /// When the order was given: milliseconds since it was opened.
    ordered_ms: AtomicU64,
    /// Until when the lock is certainly ours: milliseconds since the stream was opened.
    certain_until_ms: AtomicU64,
    /// The task that serves the connection.
    connection: Mutex<Option<Waker>>,
    reset: Reset,
}

impl Stream {
    /// A stream whose lock was requested at `asked` with a TTL of `life`.
    pub(crate) fn new(
        id: String,
        user: Uuid,
        pair: String,
        reset: Reset,
        asked: Instant,
        life: Duration,
    ) -> Self {
        Self {
            id,
            user,
            pair,
            opened: asked,
            progress: AtomicU64::new(0),
            order: AtomicU8::new(0),
            ordered_ms: AtomicU64::new(0),
            certain_until_ms: AtomicU64::new(life.as_millis() as u64),
            connection: Mutex::new(None),
            reset,
        }
    }

    fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.opened).as_millis() as u64
    }

    /// The turn of the event that is due at `now`; turn 0 is the opening, and has none.
    pub(crate) fn turn(&self, now: Instant) -> u32 {
        let turn = self.ms(now) / EVERY.as_millis() as u64;
        u32::try_from(turn).unwrap_or(u32::MAX)
    }

    /// The turn of the last started event, and the number of started events.
    fn progress(&self) -> (u32, u32) {
        let progress = self.progress.load(Ordering::Relaxed);
        ((progress >> 32) as u32, progress as u32)
    }

    /// Notes that the event of a turn was started.
    pub(crate) fn began(&self, turn: u32) {
        let (_, begun) = self.progress();
        self.progress.store((u64::from(turn) << 32) | u64::from(begun.saturating_add(1)), Ordering::Relaxed);
    }

    /// Events that the client did not read in time. The one that is due now may still be sent.
    fn skipped(&self, now: Instant) -> u64 {
        let (last, begun) = self.progress();
        let missed = self.turn(now).saturating_sub(last).saturating_sub(1);
        u64::from(last - begun) + u64::from(missed)
    }

    /// Turns without an event.
    fn idle(&self, now: Instant) -> u32 {
        self.turn(now).saturating_sub(self.progress().0)
    }

    /// Registers the task that orders must wake.
    pub(crate) fn is_asked_by(&self, connection: &Waker) {
        let mut known = self.connection.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(connection)) {
            *known = Some(connection.clone());
        }
    }

    pub(crate) fn order(&self) -> Option<Order> {
        match self.order.load(Ordering::Acquire) {
            1 => Some(Order::Shed),
            2 => Some(Order::ShutDown),
            3 => Some(Order::LockLost),
            4 => Some(Order::LockUnknown),
            _ => None,
        }
    }

    /// The order, or the one implied by the time: an event must not start while another holder may have the lock.
    pub(crate) fn order_at(&self, now: Instant) -> Option<Order> {
        if self.order().is_none() && !self.is_certain(now) {
            self.end(Order::LockUnknown, now);
        }
        self.order()
    }

    /// Orders the end. The first order stands.
    pub(crate) fn end(&self, order: Order, now: Instant) -> bool {
        if self.order().is_none() {
            self.ordered_ms.store(self.ms(now), Ordering::Relaxed);
        }
        let first = self.order.compare_exchange(0, order as u8, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.wake();
        first
    }

    /// Notes that Redis has confirmed the lock for `life`, counted from the request at `asked`.
    pub(crate) fn is_confirmed(&self, asked: Instant, life: Duration) {
        self.certain_until_ms.fetch_max(self.ms(asked + life), Ordering::Relaxed);
    }

    fn is_certain(&self, now: Instant) -> bool {
        self.ms(now) < self.certain_until_ms.load(Ordering::Relaxed)
    }

    /// Cuts the connection off: nothing more is written to it.
    fn cut_off(&self) {
        self.reset.now();
        self.wake();
    }

    fn wake(&self) {
        if let Some(connection) = &*self.connection.lock() {
            connection.wake_by_ref();
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    here: HashMap<String, Arc<Stream>>,
    /// Of ended streams.
    skipped: u64,
}

/// The streams of this replica.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Table>);

impl Streams {
    /// Counts a stream as open until it is removed.
    pub(crate) fn add(&self, stream: Arc<Stream>) {
        self.0.lock().here.insert(stream.id.clone(), stream);
    }

    pub(crate) fn remove(&self, stream: &Stream, now: Instant) {
        let mut table = self.0.lock();
        if table.here.remove(&stream.id).is_some() {
            table.skipped += stream.skipped(now);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().here.len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Stream>> {
        self.0.lock().here.values().cloned().collect()
    }

    /// Events that clients did not read in time, over all streams so far.
    pub(crate) fn skipped(&self, now: Instant) -> u64 {
        let table = self.0.lock();
        table.skipped + table.here.values().map(|stream| stream.skipped(now)).sum::<u64>()
    }

    /// Asks `count` streams to leave: first those whose clients have read nothing for longest, and among equals the
    /// oldest. Streams that are already leaving do not count. Returns how many were asked.
    pub(crate) fn shed(&self, count: usize, now: Instant) -> usize {
        let mut staying = self.all();
        staying.retain(|stream| stream.order().is_none());
        staying.sort_by_cached_key(|stream| (u32::MAX - stream.idle(now), stream.opened, stream.id.clone()));
        staying.iter().take(count).filter(|stream| stream.end(Order::Shed, now)).count()
    }

    /// Ends streams whose locks are no longer certain, and cuts off those that were told to end longer than `grace`
    /// ago.
    pub(crate) fn sweep(&self, now: Instant, grace: Duration) {
        for stream in self.all() {
            let was_told = stream.order().is_some();
            if stream.order_at(now).is_some() && was_told {
                let ordered_ms = stream.ordered_ms.load(Ordering::Relaxed);
                if stream.ms(now).saturating_sub(ordered_ms) >= grace.as_millis() as u64 {
                    stream.cut_off();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_mins(1);

    fn open(streams: &Streams, id: &str, opened: Instant) -> Arc<Stream> {
        let stream =
            Stream::new(id.into(), Uuid::nil(), format!("pair-{id}"), Reset::default(), opened, LIFE);
        let stream = Arc::new(stream);
        streams.add(Arc::clone(&stream));
        stream
    }

    fn leaving(streams: &[&Arc<Stream>]) -> Vec<String> {
        let leaving = streams.iter().filter(|stream| stream.order().is_some());
        leaving.map(|stream| stream.id.clone()).collect()
    }

    #[test]
    fn events_are_skipped_when_the_next_is_due_and_counted_once() {
        let (streams, start) = (Streams::default(), clock::runtime_now());
        let at = |ms| start + Duration::from_millis(ms);
        let stream = open(&streams, "a", start);
        assert_eq!(
            [0, 999, 1000, 1999].map(|ms| streams.skipped(at(ms))),
            [0; 4],
            "the first may still come"
        );
        assert_eq!(streams.skipped(at(2000)), 1);
        stream.began(stream.turn(at(2100)));
        assert_eq!([2100, 2999, 3000, 3999].map(|ms| streams.skipped(at(ms))), [1; 4]);
        assert_eq!(streams.skipped(at(6000)), 4);
        stream.began(6);
        assert_eq!(streams.skipped(at(6100)), 4);
        streams.remove(&stream, at(9000));
        streams.remove(&stream, at(9000));
        assert_eq!((streams.skipped(at(90_000)), streams.count()), (6, 0));
    }

    #[test]
    fn the_longest_stuck_then_the_oldest_streams_are_shed_once() {
        let (streams, start) = (Streams::default(), clock::runtime_now());
        let at = |ms| start + Duration::from_millis(ms);
        let [old, stuck, young] =
            [("old", 0), ("stuck", 100), ("young", 200)].map(|(id, ms)| open(&streams, id, at(ms)));
        for stream in [&old, &young] {
            stream.began(stream.turn(at(5200)));
        }
        let all = [&old, &stuck, &young];
        assert_eq!(streams.shed(1, at(5300)), 1);
        assert_eq!(leaving(&all), ["stuck"]);
        assert_eq!(streams.shed(1, at(5300)), 1);
        assert_eq!(leaving(&all), ["old", "stuck"]);
        assert_eq!(streams.shed(usize::MAX, at(5300)), 1);
        assert_eq!(streams.shed(1, at(5300)), 0);
    }

    #[test]
    fn an_unconfirmed_lock_ends_the_stream_before_another_client_can_take_it() {
        let (streams, start) = (Streams::default(), clock::runtime_now());
        let stream = open(&streams, "a", start);
        let grace = Duration::from_secs(5);
        let sweep = |seconds| streams.sweep(start + Duration::from_secs(seconds), grace);
        sweep(59);
        assert_eq!(stream.order(), None);
        stream.is_confirmed(start + Duration::from_secs(30), LIFE);
        // A late confirmation does not shorten the certain time.
        stream.is_confirmed(start + Duration::from_secs(10), LIFE);
        sweep(89);
        assert_eq!(stream.order(), None);
        sweep(90);
        assert_eq!(stream.order(), Some(Order::LockUnknown));
        assert!(!stream.end(Order::Shed, start), "the first order stands");
    }

    #[test]
    fn no_event_begins_with_an_uncertain_lock_even_before_the_next_sweep() {
        let (streams, start) = (Streams::default(), clock::runtime_now());
        let stream = open(&streams, "a", start);
        let at = |seconds| stream.order_at(start + Duration::from_secs(seconds));
        assert_eq!([at(1), at(59)], [None; 2]);
        // Everything was stalled meanwhile.
        assert_eq!([at(60), at(1)], [Some(Order::LockUnknown); 2]);
        let told = open(&streams, "b", start);
        told.end(Order::Shed, start);
        assert_eq!(told.order_at(start + LIFE), Some(Order::Shed), "the first order stands");
    }
}
