//! The thread of the backends: memcached and Kafka, with a runtime of its own.
//!
//! Workers hand over [`Request`]s without waiting; each comes back exactly once as a [`Completion`] in the inbox of
//! its worker. What is on its way is bounded: beyond that a request is refused, which is answered as a backend that
//! is down is.

mod published;
mod thread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use protocol::{Token, reply};
use tokio::sync::mpsc;

pub(crate) use self::thread::{Parts, start};
use crate::metrics::Metrics;
use crate::worker::Handle;

/// Requests that may wait for the backend thread.
const REQUESTS_MAX: usize = 4096;

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

/// What has become of a request.
pub(crate) struct Completion {
    pub(crate) handle: Handle,
    /// The commands behind it waited.
    pub(crate) ordered: bool,
    pub(crate) reply: Reply,
}

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Nothing,
    Fixed(&'static [u8]),
    Made(Box<[u8]>),
}

/// Where workers leave their requests.
pub(crate) struct Backend {
    requests: Option<mpsc::Sender<Request>>,
    has_cache: bool,
    has_kafka: bool,
    metrics: Arc<Metrics>,
}

impl Backend {
    /// Hands over a request.
    ///
    /// # Errors
    /// The error packet for the client: what the request needs is not set, or too much is on its way.
    pub(crate) fn submit(&self, request: Request) -> Result<(), &'static [u8]> {
        let broadcasts = !request.work.is_ordered();
        if broadcasts && !self.has_kafka {
            return Err(self.broadcast_failed());
        }
        if !self.has_cache {
            return Err(self.cache_failed());
        }
        match &self.requests {
            Some(requests) if requests.try_send(request).is_ok() => Ok(()),
            _ if broadcasts => Err(self.broadcast_failed()),
            _ => Err(self.cache_failed()),
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
