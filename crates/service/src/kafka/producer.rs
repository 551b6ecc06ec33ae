//! Sending records.

use std::time::Duration;

use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::context::{Context, Watch};
use super::{ConfigError, Settings};

/// Limits on records, and bytes, waiting to be sent: enough for a broker's short absence, no more.
const QUEUE_RECORDS_MAX: &str = "20000";
const QUEUE_KIBIBYTES_MAX: &str = "16384";

/// A record was not delivered: no broker, no room, or no answer within the message time-out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not delivered: {0}")]
pub struct Undelivered(String);

/// A handle on the producer; clones share it.
#[derive(Clone)]
pub struct Producer(FutureProducer<Context>);

/// The outcome of a record, when it is known.
pub struct Delivery(DeliveryFuture);

impl Producer {
    /// Creates the producer. No broker needs to be up.
    ///
    /// # Errors
    /// The configuration is rejected.
    pub fn new(settings: &Settings, watch: Watch) -> Result<Self, ConfigError> {
        settings
            .client_config()
            .set("message.timeout.ms", settings.message_timeout.as_millis().to_string())
            // No batching delay: somebody waits for the broadcast.
            .set("queue.buffering.max.ms", "0")
            .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX)
            .set("queue.buffering.max.kbytes", QUEUE_KIBIBYTES_MAX)
            .create_with_context(Context { watch })
            .map(Self)
            .map_err(ConfigError)
    }

    /// Queues a record without blocking.
    ///
    /// # Errors
    /// The queue is full, or the record is too large for brokers.
    pub fn send(&self, topic: &str, key: &str, value: &[u8]) -> Result<Delivery, Undelivered> {
        let record = FutureRecord::to(topic).key(key).payload(value);
        self.0.send_result(record).map(Delivery).map_err(|(error, _)| Undelivered(error.to_string()))
    }

    /// Waits until all records are delivered or have failed, for at most `timeout`. Blocks.
    pub fn flush(&self, timeout: Duration) {
        // Records not delivered by then have failed, and their `Delivery` says so.
        let _ = self.0.flush(timeout);
    }
}

impl Delivery {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// The record was not delivered.
    pub async fn outcome(self) -> Result<(), Undelivered> {
        match self.0.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(Undelivered(error.to_string())),
            Err(_) => Err(Undelivered("the producer has ended".into())),
        }
    }
}
