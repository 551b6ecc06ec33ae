//! The HTTP data plane: paths route requests to services, and a cookie keeps a client on its replicas.
//!
//! hyper does parsing, framing and connections, on both sides. A request is parsed and serialised again, never copied:
//! anything that two parsers could read differently (two lengths, a length beside chunks, a bad chunk) does not reach a
//! replica. Bodies are forwarded piece by piece as they arrive, in both directions; a slow reader slows its sender
//! down.
//!
//! * [`Server`]: accepting, the bound on connections, the drain. [`client`]: one client's connection.
//! * [`entrance`]: handling of a request. [`routes`], [`cookies`], [`headers`]: which service and replica, and what
//!   changes on the way.
//! * [`replicas`]: connections to replicas. [`request_body`], [`answer_body`]: bodies in transit, and what
//!   their end means. [`tunnel`]: bytes
//!   after an upgrade. [`problem`]: the gateway's own answers.
//!
//! # Truncated answers
//! If a replica dies in the middle of an answer, the client's connection is reset: otherwise an answer that ends with
//! its connection would look complete. The same happens at the end of a drain.
//!
//! # Retries
//! A failed connect is retried once at another replica, whatever the request: none of it was sent. Connections that
//! were used before carry only requests that may be repeated, since a replica may close one at any moment.

mod answer_body;
mod client;
mod cookies;
mod entrance;
mod headers;
mod problem;
mod replicas;
mod request_body;
mod routes;
mod tunnel;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use service::{Phase, Shutdown};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::cluster::Clusters;
use crate::listeners::Bound;
use crate::pace::Pace;
use crate::settings::Settings;
use crate::shortages::Shortage;
use crate::stats::Stats;
use crate::upstream::lacks_resources;
use client::{Link, Wire};
use entrance::Entrance;

/// Maximum size of the head of a request or answer, and of the part of a body held between two sockets.
const BUFFER_BYTES: usize = 64 * 1024;
/// Maximum size of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Maximum unsent data for a client or replica that does not read, and half of the maximum unread data. With less,
/// large bodies cost more per byte.
const UNSENT_BYTES: u32 = 256 * 1024;
const UNREAD_BYTES: usize = 256 * 1024;

/// How long a new connection waits for its first request when a drain starts.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long accepting pauses when the process has no room for another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// State shared with the rest of the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// In the order of the settings' services.
    pub(crate) clusters: &'a Clusters,
    pub(crate) stats: &'a Arc<Stats>,
    pub(crate) shutdown: &'a Shutdown,
}

/// A server that listens but does not accept yet.
#[derive(Debug)]
pub(crate) struct Server {
    listeners: Vec<StdTcpListener>,
    connections_max: usize,
    pace: Option<Pace>,
    drain_timeout: Duration,
    /// Nobody else keeps the listeners, so connections in their queues are accepted before they are closed.
    last_call: bool,
    shared: Shared,
}

/// State shared by all connections.
#[derive(Debug, Clone)]
struct Shared {
    entrance: Arc<Entrance>,
    stats: Arc<Stats>,
    shutdown: Shutdown,
    /// Connections and tunnels.
    tasks: TaskTracker,
    head_timeout: Duration,
    tunnel_timeout: Option<Duration>,
}

impl Server {
    pub(crate) fn new(
        settings: &Settings,
        bound: &Bound,
        parts: &Parts<'_>,
        open_files: u64,
    ) -> io::Result<Self> {
        let listeners = bound.copies()?;
        for listener in &listeners {
            // Connections inherit it.
            let listener = SockRef::from(listener);
            listener.set_tcp_notsent_lowat(UNSENT_BYTES)?;
            listener.set_recv_buffer_size(UNREAD_BYTES)?;
        }
        let tasks = TaskTracker::new();
        let entrance = Entrance::new(settings, parts.clusters, parts.stats, tasks.clone());
        let shared = Shared {
            entrance: Arc::new(entrance),
            stats: Arc::clone(parts.stats),
            shutdown: parts.shutdown.clone(),
            tasks,
            head_timeout: settings.http.head_timeout,
            tunnel_timeout: settings.tunnel_timeout,
        };
        Ok(Self {
            listeners,
            connections_max: settings.connections_max(open_files).min(Semaphore::MAX_PERMITS),
            // One loop accepts, regardless of the number of serving threads.
            pace: settings.accept_rate.map(|rate| Pace::new(Duration::from_secs(1) / rate.get())),
            drain_timeout: settings.drain_timeout,
            last_call: bound.supervisor.is_none(),
            shared,
        })
    }

    /// Serves until the drain is over: all connections ended, its time is up, or it was forced.
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { listeners, connections_max, pace, drain_timeout, last_call, shared } = self;
        let listeners: Vec<TcpListener> =
            listeners.into_iter().map(TcpListener::from_std).collect::<io::Result<_>>()?;
        let places = Arc::new(Semaphore::new(connections_max));
        let Shared { entrance, stats, shutdown, tasks, .. } = shared.clone();
        tokio::select! {
            () = shutdown.reached(Phase::Draining) => {}
            () = accept(&listeners, pace, &places, &shared) => {}
            () = entrance.close_idle() => {}
        }
        if last_call && shutdown.phase() == Phase::Draining {
            take_the_waiting(&listeners, &places, &shared).await;
        }
        drop(listeners);
        tasks.close();
        info!(connections = tasks.len(), "draining: accepting no new connections");
        tokio::select! {
            biased;
            () = tasks.wait() => {}
            () = tokio::time::sleep(drain_timeout) => {}
            () = shutdown.reached(Phase::Forced) => {}
        }
        stats.cut.add(tasks.len() as u64);
        Ok(())
    }
}

/// Accepts forever. Beyond the limit, clients wait in the kernel's queue.
async fn accept(listeners: &[TcpListener], mut pace: Option<Pace>, places: &Arc<Semaphore>, shared: &Shared) {
    let shortages = &shared.stats.shortages;
    let (mut turn, mut stuck) = (0, false);
    loop {
        if places.available_permits() == 0 {
            shortages.paused(Shortage::Connections, std::mem::replace(&mut stuck, true), clock::now());
        }
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        turn += 1;
        let due = pace.as_ref().and_then(|pace| pace.wait_until(clock::now()));
        if let Some(due) = due {
            tokio::time::sleep_until(due.into()).await;
        }
        let accepted = tokio::select! {
            biased;
            accepted = next(listeners, turn) => {
                if due.is_some() {
                    shared.stats.delayed.increment();
                }
                accepted
            }
            () = std::future::ready(()) => next(listeners, turn).await,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(pace) = &mut pace {
                    pace.took(clock::now());
                }
                stuck = false;
                shared.serve(stream, peer, place);
            }
            Err(error) if lacks_resources(&error) => {
                shortages.paused(Shortage::Resources, std::mem::replace(&mut stuck, true), clock::now());
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // This connection broke before it was accepted; the next one may be fine.
            Err(_) => {}
        }
    }
}

/// The next connection of any listener; `turn` selects the listener to try first.
async fn next(listeners: &[TcpListener], turn: usize) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        for offset in 0..listeners.len() {
            let listener = &listeners[(turn + offset) % listeners.len()];
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Serves connections that arrived before the drain but were not accepted yet, as far as there is room.
async fn take_the_waiting(listeners: &[TcpListener], places: &Arc<Semaphore>, shared: &Shared) {
    while let Ok(place) = Arc::clone(places).try_acquire_owned() {
        let accepted = tokio::select! {
            biased;
            accepted = next(listeners, 0) => accepted,
            () = std::future::ready(()) => return,
        };
        let Ok((stream, peer)) = accepted else { return };
        shared.serve(stream, peer, place);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let connection = self.clone().carry(stream, peer, place);
        self.tasks.spawn(connection);
    }

    /// Waits until an idle connection may be closed. A new connection's first request may be on its way; a client that
    /// has had answers reconnects elsewhere.
    async fn close_is_due(&self, link: &Link) {
        self.shutdown.reached(Phase::Draining).await;
        if !link.was_asked() {
            tokio::time::sleep(FIRST_REQUEST).await;
        }
    }

    /// One connection, until it ends or is upgraded.
    async fn carry(self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let (wire, link) = Wire::new(stream, peer, place, Arc::clone(&self.stats));
        let answer = |request| {
            let (entrance, link) = (Arc::clone(&self.entrance), Arc::clone(&link));
            async move { Ok::<_, Infallible>(entrance.answer(request, link).await) }
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES);
        let mut connection =
            pin!(http.serve_connection(TokioIo::new(wire), service_fn(answer)).with_upgrades());
        let mut silence = pin!(link.silent_for(self.tunnel_timeout));
        let mut draining = pin!(self.close_is_due(&link));
        let mut drains = false;
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = silence.as_mut() => {
                    self.stats.silent.increment();
                    return;
                }
                () = draining.as_mut(), if !drains => {
                    drains = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, %peer, "a client's connection broke");
        }
    }
}
