//! `brd`: tokens are checked concurrently, records are published in the order of the commands, and outcomes are
//! reported when they are known.

use std::sync::Arc;

use protocol::reply;
use service::backend::Reply;
use service::cache::Refusal;
use service::kafka::Delivery;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use super::jobs::Jobs;
use crate::request::{Request, Work};

/// A broadcast whose token is being checked.
struct Checked {
    jobs: Arc<Jobs>,
    request: Arc<Request>,
    verdict: JoinHandle<Result<(), Refusal>>,
    permit: OwnedSemaphorePermit,
}

/// The path of broadcasts to Kafka, in order. Bounded because every broadcast in flight holds a permit.
pub(super) struct Lane(mpsc::UnboundedSender<Checked>);

impl Lane {
    pub(super) fn open() -> Self {
        let (sender, mut checked) = mpsc::unbounded_channel::<Checked>();
        tokio::spawn(async move {
            while let Some(next) = checked.recv().await {
                publish(next).await;
            }
        });
        Self(sender)
    }

    /// Starts checking the token; the record is published after earlier ones.
    pub(super) fn enter(&self, jobs: &Arc<Jobs>, request: Request, permit: OwnedSemaphorePermit) {
        let (jobs, request) = (Arc::clone(jobs), Arc::new(request));
        let verdict = tokio::spawn({
            let (jobs, request) = (Arc::clone(&jobs), Arc::clone(&request));
            async move { jobs.check(&request).await }
        });
        // Fails only while the runtime shuts down.
        let _ = self.0.send(Checked { jobs, request, verdict, permit });
    }
}

async fn publish(checked: Checked) {
    let Checked { jobs, request, verdict, permit } = checked;
    let verdict = verdict.await.unwrap_or(Err(reply::CACHE_UNAVAILABLE));
    let delivery = match verdict.and_then(|()| send(&jobs, &request)) {
        Ok(delivery) => delivery,
        Err(refusal) => return jobs.complete(&request, Reply::Fixed(refusal)),
    };
    tokio::spawn(async move {
        let reply = match delivery.outcome().await {
            Ok(()) => Reply::Nothing,
            Err(error) => {
                tracing::debug!(%error, "broadcast failed");
                Reply::Fixed(reply::BROADCAST_UNAVAILABLE)
            }
        };
        jobs.complete(&request, reply);
        drop(permit);
    });
}

fn send(jobs: &Jobs, request: &Request) -> Result<Delivery, Refusal> {
    let (Some(kafka), Work::Broadcast { value, .. }) = (&jobs.parts.kafka, &request.work) else {
        return Err(reply::BROADCAST_UNAVAILABLE);
    };
    let key = request.client.to_string();
    kafka
        .producer
        .send(&kafka.settings.broadcast_topic, &key, value)
        .map_err(|_| reply::BROADCAST_UNAVAILABLE)
}
