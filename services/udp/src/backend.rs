//! The backend side of `udp`: commands that need memcached.
//!
//! Each [`Request`] of a worker comes back exactly once as a [`Completion`] in the worker's mailbox.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use protocol::{Command, Token, reply};
use service::backend::{self, Parts, Reply, Requests};
use service::background::Background;
use service::cache::{Holder, Refusal};
use service::mailbox::Mailbox;

use crate::amplification;
use crate::metrics::Metrics;

/// The value is itself a request. Two servers could otherwise be made to answer each other forever, each taking the
/// other's reply for a client's request.
const VALUE_IS_A_REQUEST: Refusal = b"error: value is a request";

/// A command that needs memcached.
#[derive(Debug)]
pub(crate) struct Request {
    /// The number of the worker that gets the completion.
    pub(crate) worker: usize,
    pub(crate) peer: SocketAddr,
    /// The length of the datagram, which bounds the length of the reply.
    pub(crate) bytes: usize,
    /// When it was read: its deadline counts from here.
    pub(crate) received: Instant,
    pub(crate) work: Work,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Work {
    Store { token: Token, key: Box<[u8]>, value: Box<[u8]> },
    Fetch { token: Token, key: Box<[u8]> },
}

/// The outcome of a request.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) peer: SocketAddr,
    pub(crate) reply: Reply,
}

/// Workers' handle to the backend thread.
pub(crate) struct Backend {
    requests: Requests<Request>,
    has_cache: bool,
    metrics: Arc<Metrics>,
}

/// Starts the thread if a backend is configured; see [`backend::start`].
///
/// # Errors
/// The thread or its runtime cannot be created.
pub(crate) fn start(
    parts: Parts,
    mailboxes: Vec<Arc<Mailbox<Completion>>>,
    metrics: Arc<Metrics>,
) -> std::io::Result<(Backend, Option<Background>)> {
    let parts = Arc::new(parts);
    let has_cache = parts.cache.is_some();
    let jobs = Jobs { parts: Arc::clone(&parts), mailboxes, metrics: Arc::clone(&metrics) };
    let (requests, running) = backend::start(parts, Arc::new(jobs), false, Vec::new())?;
    Ok((Backend { requests, has_cache, metrics }, running))
}

impl Backend {
    /// Hands over a request.
    ///
    /// # Errors
    /// The error packet for the peer: there is no memcached, or too many requests are in flight.
    pub(crate) fn submit(&self, request: Request) -> Result<(), Refusal> {
        if self.has_cache && self.requests.submit(request) {
            return Ok(());
        }
        self.metrics.cache_failures.inc();
        Err(reply::CACHE_UNAVAILABLE)
    }
}

struct Jobs {
    parts: Arc<Parts>,
    mailboxes: Vec<Arc<Mailbox<Completion>>>,
    metrics: Arc<Metrics>,
}

impl Jobs {
    async fn ask(&self, request: &Request) -> Result<Reply, Refusal> {
        let (cache, deadline) = (self.parts.cache()?, self.parts.deadline(request.received));
        // The token was issued by `tcp`, to another address.
        let holder = Holder::Anybody;
        match &request.work {
            Work::Store { token, key, value } => {
                cache.store(holder, token, key, value, deadline).await?;
                Ok(Reply::Fixed(reply::SUCCESS))
            }
            Work::Fetch { token, key } => {
                let bytes_max = amplification::proven(request.bytes);
                let value = cache.fetch(holder, token, key, bytes_max, deadline).await?;
                match Command::parse(&value) {
                    Ok(Command::Fetch { .. }) => Err(VALUE_IS_A_REQUEST),
                    _ => Ok(Reply::Made(value.into())),
                }
            }
        }
    }
}

impl backend::Jobs for Jobs {
    type Request = Request;

    async fn take(self: &Arc<Self>, request: Request) {
        let permit = self.parts.permit().await;
        let jobs = Arc::clone(self);
        tokio::spawn(async move {
            let answer = jobs.ask(&request).await;
            if let Err(reply::CACHE_UNAVAILABLE) = answer {
                jobs.metrics.cache_failures.inc();
            }
            let reply = answer.unwrap_or_else(Reply::Fixed);
            jobs.mailboxes[request.worker].put(Completion { peer: request.peer, reply });
            drop(permit);
        });
    }

    async fn broadcast(&self, _: &[u8]) {}
}
