//! `brd`: tokens are checked side by side, records are published in the order of the commands, and outcomes come
//! back when they are known.

use std::sync::Arc;

use protocol::reply;
use service::cache::{Holder, Refusal};
use service::kafka::{Delivery, Producer};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use super::thread::Context;
use super::{Reply, Request};

/// A broadcast whose token is being checked.
struct Checked {
    request: Request,
    value: Box<[u8]>,
    verdict: JoinHandle<Result<(), Refusal>>,
    permit: OwnedSemaphorePermit,
}

/// The way of broadcasts to Kafka, in order.
pub(super) struct Lane(mpsc::UnboundedSender<Checked>);

impl Lane {
    /// The lane is bounded by the permits that all requests on their way hold.
    pub(super) fn open(context: &Arc<Context>) -> Self {
        let (sender, mut checked) = mpsc::unbounded_channel::<Checked>();
        let context = Arc::clone(context);
        tokio::spawn(async move {
            while let Some(next) = checked.recv().await {
                publish(&context, next).await;
            }
        });
        Self(sender)
    }

    /// Starts the check of the token; the record follows those before it.
    pub(super) fn enter(
        &self,
        context: &Arc<Context>,
        request: Request,
        token: protocol::Token,
        value: Box<[u8]>,
        permit: OwnedSemaphorePermit,
    ) {
        let (client, deadline) = (request.client, context.deadline(&request));
        let verdict = tokio::spawn({
            let context = Arc::clone(context);
            async move {
                let cache = context.parts.cache.as_ref().ok_or(reply::CACHE_UNAVAILABLE)?;
                cache.check(Holder::Client(client), &token, deadline).await
            }
        });
        // Fails only while the runtime ends.
        let _ = self.0.send(Checked { request, value, verdict, permit });
    }
}

async fn publish(context: &Arc<Context>, checked: Checked) {
    let Checked { request, value, verdict, permit } = checked;
    let delivery = match verdict.await.unwrap_or(Err(reply::CACHE_UNAVAILABLE)) {
        Ok(()) => send(context.parts.producer.as_ref(), context, &request, &value),
        Err(refusal) => Err(refusal),
    };
    let delivery = match delivery {
        Ok(delivery) => delivery,
        Err(refusal) => return context.complete(&request, Reply::Fixed(refusal)),
    };
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let reply = match delivery.outcome().await {
            Ok(()) => Reply::Nothing,
            Err(error) => {
                tracing::debug!(%error, "broadcast failed");
                Reply::Fixed(reply::BROADCAST_UNAVAILABLE)
            }
        };
        context.complete(&request, reply);
        drop(permit);
    });
}

fn send(
    producer: Option<&Producer>,
    context: &Context,
    request: &Request,
    value: &[u8],
) -> Result<Delivery, Refusal> {
    producer
        .and_then(|producer| {
            producer.send(&context.parts.broadcast_topic, &request.client.to_string(), value).ok()
        })
        .ok_or(reply::BROADCAST_UNAVAILABLE)
}
