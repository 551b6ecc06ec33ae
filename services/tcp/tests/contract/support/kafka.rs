//! librdkafka's mock cluster: one broker, in this process.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use service::kafka::Settings;

pub(crate) const TOPIC: &str = "broadcasts";
const BROKER: i32 = 1;
const PARTITIONS: i32 = 3;

pub(crate) struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
    published: AtomicI32,
}

impl Kafka {
    /// A broker with the topic of broadcasts in three partitions.
    pub(crate) fn start() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .expect("a producer");
        Self { cluster, producer, published: AtomicI32::new(0) }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            brokers: self.cluster.bootstrap_servers(),
            broadcast_topic: TOPIC.into(),
            logging_topic: "general-logs".into(),
            sasl: None,
            message_timeout: super::DEADLINE,
            fetch_wait: Duration::from_millis(20),
        }
    }

    /// Publishes like any other producer, to the partitions in turn, because each keeps only its last 5 MiB.
    pub(crate) fn publish(&self, value: &[u8]) {
        let partition = self.published.fetch_add(1, Ordering::Relaxed) % PARTITIONS;
        let record = BaseRecord::<str, [u8]>::to(TOPIC).partition(partition).payload(value);
        self.producer.send(record).map_err(|(error, _)| error).expect("room for a record");
    }

    /// Waits until everything published has arrived.
    pub(crate) fn flush(&self) {
        self.producer.flush(super::DEADLINE).expect("records are delivered");
    }

    /// Makes the broker refuse new connections and drop existing ones.
    pub(crate) fn down(&self) {
        self.cluster.broker_down(BROKER).expect("the broker goes down");
    }

    pub(crate) fn up(&self) {
        self.cluster.broker_up(BROKER).expect("the broker comes up");
    }
}
