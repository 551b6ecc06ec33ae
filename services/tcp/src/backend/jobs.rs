//! Carries out requests on the backend thread.

use std::sync::{Arc, OnceLock};

use protocol::reply;
use service::backend::{self, Parts, Reply};
use service::cache::{Holder, Refusal};
use tokio::sync::Semaphore;

use super::published::Lane;
use crate::inbox::{Broadcast, Inbox, News};
use crate::metrics::Metrics;
use crate::request::{Completion, Request, Work};

/// Maximum number of broadcasts in flight; more are refused. Broadcasts have their own limit because they take much
/// longer than anything else while Kafka is down, and must not hold up requests to the cache.
const BROADCASTS_AT_A_TIME: usize = 16_384;
/// Maximum length of a value that is sent back.
const FOUND_BYTES_MAX: usize = 1024;

pub(super) struct Jobs {
    pub(super) parts: Arc<Parts>,
    inboxes: Vec<Arc<Inbox>>,
    metrics: Arc<Metrics>,
    broadcasts: Arc<Semaphore>,
    /// Created by the first broadcast, because it needs the runtime.
    lane: OnceLock<Lane>,
}

impl Jobs {
    pub(super) fn new(parts: Arc<Parts>, inboxes: Vec<Arc<Inbox>>, metrics: Arc<Metrics>) -> Self {
        let broadcasts = Arc::new(Semaphore::new(BROADCASTS_AT_A_TIME));
        Self { parts, inboxes, metrics, broadcasts, lane: OnceLock::new() }
    }

    pub(super) fn complete(&self, request: &Request, reply: Reply) {
        match reply {
            Reply::Fixed(reply::CACHE_UNAVAILABLE) => _ = self.metrics.cache_failures.inc(),
            Reply::Fixed(reply::BROADCAST_UNAVAILABLE) => _ = self.metrics.broadcast_failures.inc(),
            _ => {}
        }
        let completion = Completion { handle: request.handle, ordered: request.work.is_ordered(), reply };
        self.inboxes[request.worker].tell(News::Done(completion));
    }

    async fn ask_cache(&self, request: &Request) -> Result<Reply, Refusal> {
        let (cache, deadline) = (self.parts.cache()?, self.parts.deadline(request.received));
        let holder = Holder::Client(request.client);
        match &request.work {
            Work::Login => cache.issue(request.client, deadline).await.map(|token| Reply::Made(token.into())),
            Work::Store { token, key, value } => {
                cache.store(holder, token, key, value, deadline).await?;
                Ok(Reply::Fixed(reply::SUCCESS))
            }
            Work::Fetch { token, key } => {
                let value = cache.fetch(holder, token, key, FOUND_BYTES_MAX, deadline).await?;
                Ok(Reply::Made(value.into()))
            }
            Work::Broadcast { token, .. } => {
                cache.check(holder, token, deadline).await?;
                Ok(Reply::Nothing)
            }
        }
    }

    /// Validates a broadcast's token in the cache.
    pub(super) async fn check(&self, request: &Request) -> Result<(), Refusal> {
        self.ask_cache(request).await.map(|_| ())
    }
}

impl backend::Jobs for Jobs {
    type Request = Request;

    async fn take(self: &Arc<Self>, request: Request) {
        if !request.work.is_ordered() {
            match Arc::clone(&self.broadcasts).try_acquire_owned() {
                Ok(permit) => self.lane.get_or_init(Lane::open).enter(self, request, permit),
                Err(_) => self.complete(&request, Reply::Fixed(reply::BROADCAST_UNAVAILABLE)),
            }
            return;
        }
        let permit = self.parts.permit().await;
        let jobs = Arc::clone(self);
        tokio::spawn(async move {
            let answer = jobs.ask_cache(&request).await;
            jobs.complete(&request, answer.unwrap_or_else(Reply::Fixed));
            drop(permit);
        });
    }

    async fn broadcast(&self, value: &[u8]) {
        self.metrics.broadcasts.inc();
        let broadcast = Broadcast::new(value);
        for inbox in &self.inboxes {
            inbox.broadcast(broadcast.clone()).await;
        }
    }
}
