//! The backend side of `tcp`: commands that need memcached, and broadcasts through Kafka.
//!
//! Each [`Request`] of a worker comes back exactly once as a [`Completion`] in the worker's inbox.

mod jobs;
mod published;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use protocol::{Token, reply};
use service::backend::{self, Requests};
pub(crate) use service::backend::{Parts, Reply};
use service::background::Background;
use service::readiness::Awaited;

use self::jobs::Jobs;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::worker::Handle;

/// A command that needs a backend.
pub(crate) struct Request {
    /// The number of the worker that gets the completion.
    pub(crate) worker: usize,
    pub(crate) handle: Handle,
    /// The client's address, which tokens are bound to.
    pub(crate) client: SocketAddr,
    /// When the command was read: its deadline counts from here.
    pub(crate) received: Instant,
    pub(crate) work: Work,
}

/// What to do.
pub(crate) enum Work {
    Login,
    Store { token: Token, key: Box<[u8]>, value: Box<[u8]> },
    Fetch { token: Token, key: Box<[u8]> },
    Broadcast { token: Token, value: Box<[u8]> },
}

impl Work {
    /// Whether the commands behind it wait for its reply.
    pub(crate) fn is_ordered(&self) -> bool {
        !matches!(self, Self::Broadcast { .. })
    }
}

/// The outcome of a request.
pub(crate) struct Completion {
    pub(crate) handle: Handle,
    /// Later commands of the connection waited for it.
    pub(crate) ordered: bool,
    pub(crate) reply: Reply,
}

/// Workers' handle to the backend thread.
pub(crate) struct Backend {
    requests: Requests<Request>,
    has_cache: bool,
    has_kafka: bool,
    metrics: Arc<Metrics>,
}

/// Starts the thread if a backend is configured or `awaited` is given; see [`backend::start`].
///
/// # Errors
/// The thread or its runtime cannot be created.
pub(crate) fn start(
    parts: Parts,
    inboxes: Vec<Arc<Inbox>>,
    metrics: Arc<Metrics>,
    awaited: Vec<Awaited>,
) -> io::Result<(Backend, Option<Background>)> {
    let parts = Arc::new(parts);
    let (has_cache, has_kafka) = (parts.cache.is_some(), parts.kafka.is_some());
    let jobs = Jobs::new(Arc::clone(&parts), inboxes, Arc::clone(&metrics));
    let (requests, running) = backend::start(parts, Arc::new(jobs), true, awaited)?;
    Ok((Backend { requests, has_cache, has_kafka, metrics }, running))
}

impl Backend {
    /// Hands over a request.
    ///
    /// # Errors
    /// The error packet for the client: the backend is not configured, or too many requests are in flight.
    pub(crate) fn submit(&self, request: Request) -> Result<(), &'static [u8]> {
        let broadcasts = !request.work.is_ordered();
        if broadcasts && !self.has_kafka {
            return Err(self.broadcast_failed());
        }
        if !self.has_cache {
            return Err(self.cache_failed());
        }
        if self.requests.submit(request) {
            Ok(())
        } else if broadcasts {
            Err(self.broadcast_failed())
        } else {
            Err(self.cache_failed())
        }
    }

    fn cache_failed(&self) -> &'static [u8] {
        self.metrics.cache_failures.inc();
        reply::CACHE_UNAVAILABLE
    }

    fn broadcast_failed(&self) -> &'static [u8] {
        self.metrics.broadcast_failures.inc();
        reply::BROADCAST_UNAVAILABLE
    }
}
