//! Common to the embedded servers: a thread, a listener that can be closed and reopened at the same address, and limits
//! on what their clients hold ([`super::guests`]).

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr, TcpListener},
    pin::Pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};
use tokio::{
    net::TcpStream,
    sync::oneshot,
    task::{JoinSet, LocalSet},
    time::MissedTickBehavior,
};

use super::guests::{Guest, Limits, Room};

/// How often to check for clients that take too long.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Delay after an accept that failed for lack of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of clients that were told to leave but are not gone yet.
const LEAVING_MAX: usize = 64;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

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
    /// Bound but not listening: clients are refused, and nobody else can take the port meanwhile.
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
                    () = accept(name, &listener, &room, &handler) => {}
                    // Both a message and the sender's end mean: stop.
                    _ = stopped => {}
                }
                // A child process being started concurrently has a copy of the listener until it executes its program:
                // closing only ours would leave the port open for that long.
                let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
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
    // Old connections in TIME-WAIT do not keep the address taken; another listener does.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn accept(name: &str, listener: &tokio::net::TcpListener, room: &Arc<Room>, handler: &Handler) {
    let mut clients = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Send small answers at once.
                    let _ = stream.set_nodelay(true);
                    let (guest, leave) = Guest::enter(room);
                    // A client that was told to leave must be polled once more before it is gone.
                    while clients.len() >= room.limits.connections + LEAVING_MAX {
                        clients.join_next().await;
                    }
                    let serving = handler(stream, guest.clone());
                    clients.spawn_local(async move {
                        // Its bytes are released before its place is.
                        let ended = tokio::select! {
                            ended = serving => ended,
                            () = leave.notified() => Err(io::Error::other("closed to make room for others")),
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
