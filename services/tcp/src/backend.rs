//! The backend side of `tcp`: commands that need memcached, and broadcasts through Kafka.
//!
//! Each [`Request`] of a worker comes back exactly once as a completion in the worker's inbox.

mod jobs;
mod published;

use std::io;
use std::sync::Arc;

use protocol::reply;
pub(crate) use service::backend::Parts;
use service::backend::{self, Requests};
use service::background::Background;
use service::readiness::Awaited;

use self::jobs::Jobs;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::request::Request;

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
