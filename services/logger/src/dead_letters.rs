//! The topic for records that cannot be documents.
//!
//! A dead letter has the record's original value, and headers that say why it is there and where it came from. It is
//! done when Kafka has acknowledged it. Like documents, it is delivered at least once; a replay may deliver it again,
//! which the headers show.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use service::Readiness;
use service::backoff::Backoff;
use service::kafka::{self, Context, Watch};
use tracing::{info, warn};

use crate::PIPELINE;
use crate::bulk::DeadLetter;
use crate::progress::BulkNumber;
use crate::stuck::Stuck;

/// Its name in `/readyz`.
const PART: &str = "dead-letters";
/// Values are truncated to this, so that a letter with its headers never exceeds the brokers' default limit.
const VALUE_BYTES_MAX: usize = 512 * 1024;
/// Delays between attempts.
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Where dead letters go.
pub(crate) struct DeadLetters {
    producer: FutureProducer<Context>,
    /// The source of the records.
    source: String,
    topic: String,
    stuck: Stuck,
}

impl DeadLetters {
    /// Creates the producer without connecting.
    ///
    /// # Errors
    /// The client rejects its configuration.
    pub(crate) fn new(
        kafka: &kafka::Settings,
        topic: String,
        watch: Watch,
        readiness: Readiness,
    ) -> Result<Self, KafkaError> {
        let producer = kafka
            .client_config()
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", kafka.message_timeout.as_millis().to_string())
            .set("queue.buffering.max.ms", "5")
            .create_with_context(Context::new(watch))?;
        Ok(Self { producer, source: kafka.logging_topic.clone(), topic, stuck: Stuck::new(PART, readiness) })
    }

    /// Delivers all letters, however long that takes.
    pub(crate) async fn deliver(&self, bulk: BulkNumber, letters: &[DeadLetter]) {
        let mut backoff = Backoff::new(RETRY_LEAST, RETRY_LONGEST);
        let mut left: Vec<&DeadLetter> = letters.iter().collect();
        while !left.is_empty() {
            let (failed, error) = self.send_all(&left).await;
            if let Some(error) = error {
                if self.stuck.waits(bulk, failed.len(), &error.to_string()) {
                    warn!(target: PIPELINE, %error, topic = self.topic, "cannot deliver dead letters; they wait");
                }
                if failed.len() < left.len() {
                    backoff.reset();
                }
                tokio::time::sleep(backoff.wait()).await;
            }
            left = failed;
        }
        if self.stuck.done(bulk) {
            info!(target: PIPELINE, topic = self.topic, "delivering dead letters again");
        }
    }

    /// Sends all letters and waits for their outcomes. Returns the failed ones, and the last one's error.
    async fn send_all<'a>(&self, letters: &[&'a DeadLetter]) -> (Vec<&'a DeadLetter>, Option<KafkaError>) {
        let (mut failed, mut reason) = (Vec::new(), None);
        // Send all before waiting for the first one.
        let sent: Vec<_> = letters.iter().map(|letter| (*letter, self.send(letter))).collect();
        for (letter, delivery) in sent {
            let error = match delivery {
                Err(error) => error,
                Ok(delivery) => match delivery.await {
                    Ok(Ok(_)) => continue,
                    Ok(Err((error, _))) => error,
                    Err(_) => KafkaError::Canceled,
                },
            };
            failed.push(letter);
            reason = Some(error);
        }
        (failed, reason)
    }

    /// Queues one letter; an error if the producer's queue is full.
    fn send(&self, letter: &DeadLetter) -> Result<DeliveryFuture, KafkaError> {
        let value = &letter.value[..letter.value.len().min(VALUE_BYTES_MAX)];
        let (partition, offset) = (letter.origin.partition.to_string(), letter.origin.offset.to_string());
        let mut headers = OwnedHeaders::new()
            .insert(Header { key: "reason", value: Some(&letter.reason) })
            .insert(Header { key: "topic", value: Some(&self.source) })
            .insert(Header { key: "partition", value: Some(&partition) })
            .insert(Header { key: "offset", value: Some(&offset) });
        if value.len() < letter.value.len() {
            let whole = letter.value.len().to_string();
            headers = headers.insert(Header { key: "cut-from-bytes", value: Some(&whole) });
        }
        let record = FutureRecord::<(), _>::to(&self.topic).payload(value).headers(headers);
        self.producer.send_result(record).map_err(|(error, _)| error)
    }
}
