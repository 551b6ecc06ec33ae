//! Records on their way to the logger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

const PARTITIONS: i32 = 3;

/// Creates a topic.
pub(crate) fn create_topic(brokers: &str, topic: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = runtime.block_on(admin.create_topics(&[new], &AdminOptions::new())).unwrap();
    made[0].as_ref().unwrap();
}

/// Counts the records that the brokers have acknowledged.
#[derive(Default)]
struct Acknowledged {
    records: Arc<AtomicU64>,
}

impl rdkafka::ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().expect("an idempotent producer without a time-out delivers");
        self.records.fetch_add(1, Ordering::Relaxed);
    }
}

/// An idempotent producer with `acks=all` that keeps sending through an outage.
pub(crate) struct Producer {
    producer: ThreadedProducer<Acknowledged>,
    acknowledged: Arc<AtomicU64>,
}

impl Producer {
    pub(crate) fn new(brokers: &str) -> Self {
        let context = Acknowledged::default();
        let acknowledged = Arc::clone(&context.records);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            .create_with_context(context)
            .unwrap();
        Self { producer, acknowledged }
    }

    /// Queues a record; waits if the queue is full.
    pub(crate) fn send(&self, topic: &str, value: &str) {
        let mut record = BaseRecord::<(), str>::to(topic).payload(value);
        while let Err((error, back)) = self.producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            crate::testbed::pause();
            record = back;
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(Duration::from_mins(1)).unwrap();
    }
}
