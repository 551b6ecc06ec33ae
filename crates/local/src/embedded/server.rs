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
    pin::Pin,
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
                    let serving = handler(stream, guest.clone());
                    clients.spawn_local(async move {
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
}

#[derive(Default)]
struct Inner {
    guests: BTreeMap<u64, Place>,
    bytes: usize,
    last: u64,
}

struct Place {
    leave: Arc<Notify>,
    bytes: usize,
    /// Has completed a request.
    served: bool,
    /// When it came, completed a request, or began to hold bytes.
    since: Instant,
}

impl Room {
    fn new(limits: Limits) -> Self {
        Self { limits, inner: Mutex::default() }
    }

    fn sweep(&self) {
        let mut inner = self.inner.lock();
        let slow = |place: &Place| place.bytes > 0 && place.since.elapsed() > HELD_MAX;
        while let Some(id) = inner.guests.iter().find(|(_, place)| slow(place)).map(|(id, _)| *id) {
            inner.remove(id);
        }
    }
}

impl Inner {
    /// Lets the one go that is the least loss.
    fn make_room(&mut self, holders_only: bool) {
        let candidates = self.guests.iter().filter(|(_, place)| place.bytes > 0 || !holders_only);
        if let Some(id) = candidates.min_by_key(|(_, place)| (place.served, place.since)).map(|(id, _)| *id) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(place) = self.guests.remove(&id) {
            self.bytes -= place.bytes;
            place.leave.notify_one();
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
        if inner.guests.len() >= room.limits.connections {
            inner.make_room(false);
        }
        inner.last += 1;
        let id = inner.last;
        let place = Place { leave: Arc::clone(&leave), bytes: 0, served: false, since: Instant::now() };
        inner.guests.insert(id, place);
        drop(inner);
        (Self { id, room: Arc::clone(room) }, leave)
    }

    fn leave(&self) {
        self.room.inner.lock().remove(self.id);
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

impl Hold {
    /// Holds so many from now on. Others may have to go for that.
    ///
    /// # Errors
    /// This client has to go.
    pub(super) fn set(&mut self, bytes: usize) -> io::Result<()> {
        let room = &self.guest.room;
        let mut inner = room.inner.lock();
        if let Some(place) = inner.guests.get_mut(&self.guest.id) {
            if place.bytes == 0 {
                place.since = Instant::now();
            }
            place.bytes = place.bytes - self.bytes + bytes;
            inner.bytes = inner.bytes - self.bytes + bytes;
            self.bytes = bytes;
            while inner.bytes > room.limits.bytes {
                inner.make_room(true);
            }
        }
        let stays = inner.guests.contains_key(&self.guest.id);
        if stays { Ok(()) } else { Err(io::Error::other("let go to make room for others")) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Who has gone holds nothing.
        let _ = self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room(connections: usize, bytes: usize) -> Arc<Room> {
        Arc::new(Room::new(Limits { connections, bytes }))
    }

    fn is_there(guest: &Guest) -> bool {
        guest.room.inner.lock().guests.contains_key(&guest.id)
    }

    #[test]
    fn who_never_completed_a_request_goes_first_and_then_the_longest_idle() {
        let room = room(2, 100);
        let (useful, _) = Guest::enter(&room);
        useful.served();
        let (silent, left) = Guest::enter(&room);
        let (third, _) = Guest::enter(&room);
        assert!(is_there(&useful) && !is_there(&silent) && is_there(&third));
        third.served();
        let (_fourth, _) = Guest::enter(&room);
        assert!(!is_there(&useful) && is_there(&third));
        assert!(tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            // It was told.
            left.notified().await;
            true
        }));
    }

    #[test]
    fn at_the_bound_on_bytes_the_one_goes_that_waits_longest_to_complete_a_request() {
        let room = room(10, 100);
        let (idle, _) = Guest::enter(&room);
        let (first, _) = Guest::enter(&room);
        let (second, _) = Guest::enter(&room);
        let (mut one, mut two) = (first.hold(), second.hold());
        one.set(60).unwrap();
        two.set(40).unwrap();
        two.set(50).unwrap();
        assert!(is_there(&idle) && !is_there(&first), "who holds nothing need not go");
        assert!(one.set(1).is_err());
        assert!(two.set(101).is_err(), "more than there is for all");
        assert_eq!(room.inner.lock().bytes, 0);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_what_is_held_and_bounded(
            steps in proptest::collection::vec((0_usize..6, 0_usize..60, any::<bool>()), 0..200),
        ) {
            let room = room(4, 100);
            let mut holds: Vec<Hold> = Vec::new();
            for (who, bytes, comes) in steps {
                if comes {
                    holds.push(Guest::enter(&room).0.hold());
                } else if let Some(hold) = holds.get_mut(who) {
                    let _ = hold.set(bytes);
                } else if !holds.is_empty() {
                    holds.remove(0).guest.leave();
                }
                let inner = room.inner.lock();
                prop_assert_eq!(inner.bytes, inner.guests.values().map(|place| place.bytes).sum::<usize>());
                prop_assert!(inner.bytes <= 100 && inner.guests.len() <= 4);
            }
        }
    }
}
