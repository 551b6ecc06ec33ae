//! What the embedded servers have in common: a thread, a listener that can be closed and opened again at the same
//! address, and bounds on what their clients hold.
//!
//! A client takes a place, and bytes while a request of it is incomplete or an answer is not taken. Both are bounded
//! per server, so that their sum bounds them all. At a bound the client goes that never completed a request, or else
//! the one whose last one is longest ago; whoever holds bytes for [`HELD_MAX`] without getting on goes anyway.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{SocketAddr, TcpListener},
    pin::{Pin, pin},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::TcpStream,
    sync::{Notify, oneshot},
    task::{JoinSet, LocalSet},
    time::MissedTickBehavior,
};

/// How long a client may take to send the rest of a request, or to take an answer.
const HELD_MAX: Duration = Duration::from_secs(10);
/// How often those are looked for that take longer.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After an accept that failed for want of something that only time can give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Clients that were told to leave and are not gone yet.
const LEAVING_MAX: usize = 64;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// What the clients of a server may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    /// Bytes of incomplete requests and of answers that are not taken.
    pub(super) bytes: usize,
}

/// Serves one client until it leaves.
type Handler = Arc<dyn Fn(TcpStream, Guest) -> Serving + Send + Sync>;
pub(super) type Serving = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A server at an address. Stops when it is dropped.
pub(super) struct Server {
    name: &'static str,
    address: SocketAddr,
    limits: Limits,
    handler: Handler,
    state: State,
}

enum State {
    Running {
        stop: Option<oneshot::Sender<()>>,
        thread: Option<JoinHandle<()>>,
    },
    /// Bound but not listening: clients are refused, and nobody else takes the port meanwhile.
    Stopped(Option<Socket>),
}

impl Server {
    /// Listens at `address`; port 0 takes a free one.
    pub(super) fn bind(
        name: &'static str,
        address: SocketAddr,
        limits: Limits,
        handler: impl Fn(TcpStream, Guest) -> Serving + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let socket = bound(address)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        let state = State::Stopped(Some(socket));
        let mut server = Self { name, address, limits, handler: Arc::new(handler), state };
        server.start()?;
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all clients off and refuses new ones. Does nothing if it is stopped.
    pub(super) fn stop(&mut self) {
        let State::Running { stop, thread } = &mut self.state else { return };
        drop(stop.take());
        if let Some(thread) = thread.take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
        self.state = State::Stopped(bound(self.address).ok());
    }

    /// Listens again. Does nothing if it runs.
    pub(super) fn start(&mut self) -> io::Result<()> {
        let State::Stopped(socket) = &mut self.state else { return Ok(()) };
        let socket = match socket.take() {
            Some(socket) => socket,
            None => bound(self.address)?,
        };
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (name, room, handler) = (self.name, Arc::new(Room::new(self.limits)), Arc::clone(&self.handler));
        let thread = thread::Builder::new().name(self.name.into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    () = accept(name, listener, &room, &handler) => {}
                    // Both a message and the sender's end mean: stop.
                    _ = stopped => {}
                }
            });
        })?;
        self.state = State::Running { stop: Some(stop), thread: Some(thread) };
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = matches!(self.state, State::Running { .. });
        f.debug_struct(self.name)
            .field("address", &self.address)
            .field("running", &running)
            .finish_non_exhaustive()
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of a while ago do not keep the address taken; another listener does.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(name: &str, listener: tokio::net::TcpListener, room: &Arc<Room>, handler: &Handler) {
    let mut clients = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers are waited for.
                    let _ = stream.set_nodelay(true);
                    let (guest, leave) = Guest::enter(room);
                    // Who was told to leave has to be asked once more before it is gone.
                    while clients.len() >= room.limits.connections + LEAVING_MAX {
                        clients.join_next().await;
                    }
                    let serving = handler(stream, guest.clone());
                    clients.spawn_local(async move {
                        // What it holds is given back before its place is.
                        let ended = tokio::select! {
                            ended = serving => ended,
                            () = leave.notified() => Err(io::Error::other("let go to make room for others")),
                        };
                        guest.leave();
                        ended
                    });
                }
                Err(error) => {
                    tracing::warn!(server = name, %error, "an embedded server cannot take a client");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = clients.join_next() => {
                if let Ok(Err(error)) = ended {
                    tracing::debug!(server = name, %error, "a client of an embedded server is gone");
                }
            }
            _ = sweep.tick() => room.sweep(),
        }
    }
}

/// Who is there, and what they hold.
struct Room {
    limits: Limits,
    inner: Mutex<Inner>,
    /// Something was given back.
    given_back: Notify,
}

#[derive(Default)]
struct Inner {
    guests: BTreeMap<u64, Place>,
    last: u64,
    /// Sums: what all hold, and those of clients that have not been told to leave.
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
    /// When it came, completed a request, or began to hold bytes.
    since: Instant,
}

impl Room {
    fn new(limits: Limits) -> Self {
        Self { limits, inner: Mutex::default(), given_back: Notify::new() }
    }

    fn sweep(&self) {
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

    /// Tells the one to leave that is the least loss. Returns whether there is one.
    fn make_room(&mut self, holders_only: bool) -> bool {
        let candidates = self.guests.iter().filter(|(_, place)| !place.leaving);
        let candidates = candidates.filter(|(_, place)| place.bytes > 0 || !holders_only);
        let least = candidates.min_by_key(|(_, place)| (place.served, place.since)).map(|(id, _)| *id);
        least.map(|id| self.tell_to_leave(id)).is_some()
    }

    /// Notes that a client holds so many more or fewer.
    fn hold(&mut self, id: u64, before: usize, after: usize) {
        if let Some(place) = self.guests.get_mut(&id) {
            if place.bytes == 0 {
                place.since = Instant::now();
            }
            place.bytes = place.bytes - before + after;
            self.bytes = self.bytes - before + after;
            if !place.leaving {
                self.bytes_staying = self.bytes_staying - before + after;
            }
        }
    }
}

/// One client's account. Clones speak of the same client.
#[derive(Clone)]
pub(super) struct Guest {
    id: u64,
    room: Arc<Room>,
}

impl Guest {
    fn enter(room: &Arc<Room>) -> (Self, Arc<Notify>) {
        let leave = Arc::new(Notify::new());
        let mut inner = room.inner.lock();
        if inner.staying >= room.limits.connections {
            inner.make_room(false);
        }
        inner.last += 1;
        inner.staying += 1;
        let id = inner.last;
        let since = Instant::now();
        let place = Place { leave: Arc::clone(&leave), leaving: false, bytes: 0, served: false, since };
        inner.guests.insert(id, place);
        drop(inner);
        (Self { id, room: Arc::clone(room) }, leave)
    }

    fn leave(&self) {
        let mut inner = self.room.inner.lock();
        inner.tell_to_leave(self.id);
        if let Some(place) = inner.guests.remove(&self.id) {
            inner.bytes -= place.bytes;
        }
        drop(inner);
        self.room.given_back.notify_waiters();
    }

    /// A request was complete, or an answer was taken.
    pub(super) fn served(&self) {
        if let Some(place) = self.room.inner.lock().guests.get_mut(&self.id) {
            (place.served, place.since) = (true, Instant::now());
        }
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

/// The answer to who wants to hold more.
#[derive(Debug, PartialEq, Eq)]
enum More {
    Granted,
    /// Others were told to leave; there is room when they have.
    Soon,
    Refused,
}

impl Hold {
    /// Holds so many from now on. If others have to leave for that, it waits until they have.
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
                More::Refused => return Err(io::Error::other("let go to make room for others")),
                More::Soon => given_back.await,
            }
        }
    }

    /// Makes room in `buffer`, which is all that is held, for `more` bytes. They are allocated when they are granted:
    /// what others have freed meanwhile is used again.
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

    /// Holds no more than so many from now on.
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
    async fn who_never_completed_a_request_goes_first_and_then_the_longest_idle() {
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
    async fn at_the_bound_on_bytes_the_one_goes_that_waits_longest_and_who_needs_them_waits_for_it() {
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
        fn what_is_held_is_bounded_and_adds_up(
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
