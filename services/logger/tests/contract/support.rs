//! A Kafka, a logger on its own thread, and helpers for tests.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use fixtures::DEADLINE;
use logger::Settings;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use service::Shutdown;
use service::settings::Env;

use crate::elasticsearch::Elasticsearch;

pub(crate) const TOPIC: &str = "general-logs";
const DEAD_LETTERS: &str = "general-logs-dead-letters";
pub(crate) const GROUP: &str = "logger";

pub(crate) struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Kafka {
    pub(crate) fn start() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        cluster.create_topic(DEAD_LETTERS, 1, 1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create_with_context(DefaultProducerContext)
            .unwrap();
        Self { cluster, producer }
    }

    pub(crate) fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    pub(crate) fn publish(&self, partition: i32, value: &str) {
        let record = BaseRecord::<(), str>::to(TOPIC).partition(partition).payload(value);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
        self.producer.flush(DEADLINE).unwrap();
    }

    pub(crate) fn publish_line(&self, partition: i32, text: &str) {
        self.publish(partition, &line(text, clock::wall()));
    }

    fn reader(&self, group: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("group.id", group)
            .set("fetch.wait.max.ms", "20")
            .create()
            .unwrap()
    }

    /// The first `count` dead letters.
    pub(crate) fn dead_letters(&self, count: usize) -> Vec<OwnedMessage> {
        let reader = self.reader("test");
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(DEAD_LETTERS, 0, Offset::Beginning).unwrap();
        reader.assign(&partitions).unwrap();
        (0..count).map(|_| reader.poll(DEADLINE).expect("a dead letter").unwrap().detach()).collect()
    }

    /// The committed offset of a partition.
    pub(crate) fn committed(&self, partition: i32) -> Option<i64> {
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition(TOPIC, partition);
        let committed = self.reader(GROUP).committed_offsets(partitions, DEADLINE).unwrap();
        committed.elements()[0].offset().to_raw().filter(|offset| *offset >= 0)
    }
}

pub(crate) fn line(text: &str, timestamp: jiff::Timestamp) -> String {
    serde_json::json!({"pod": "tcp-0", "text": text, "timestamp": timestamp}).to_string()
}

pub(crate) fn header(letter: &OwnedMessage, name: &str) -> String {
    let headers = letter.headers().expect("headers");
    let found = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
    String::from_utf8(found.expect(name).to_vec()).unwrap()
}

/// A logger; drained when dropped.
pub(crate) struct Logger {
    admin: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Logger {
    pub(crate) fn start(kafka: &Kafka, elasticsearch: &Elasticsearch, more: &[(&str, &str)]) -> Self {
        let url = format!("http://{}", elasticsearch.address);
        let own = [
            ("ADMIN_HOST", "127.0.0.1".to_owned()),
            ("ADMIN_PORT", "0".to_owned()),
            ("KAFKA_BROKERS", kafka.brokers()),
            ("KAFKA_SESSION_TIMEOUT", "6".to_owned()),
            ("ELASTICSEARCH_ENDPOINT", url),
            ("BULK_AGE", "50ms".to_owned()),
        ];
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let env: Env = own.into_iter().chain(more).collect();
        let shutdown = Shutdown::new();
        let server = logger::Server::bind(Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
        let admin = server.admin_address();
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self { admin, shutdown, thread: Some(thread) }
    }

    /// Status and body of a page of the admin port.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        fixtures::page(self.admin, path)
    }

    /// Waits until nothing is degraded.
    #[track_caller]
    pub(crate) fn expect_all_well(&self) {
        fixtures::expect_all_well(self.admin);
    }

    /// Waits until `/readyz` describes a degraded part with these words.
    #[track_caller]
    pub(crate) fn expect_degraded(&self, words: &str) {
        fixtures::expect_degraded(self.admin, words);
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        fixtures::metric(self.admin, name)
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn expect_metric(&self, name: &str, value: u64) {
        fixtures::expect_metric(self.admin, name, value);
    }

    pub(crate) fn drain(&self) {
        self.shutdown.drain();
    }

    pub(crate) fn force(&self) {
        self.shutdown.force();
    }

    /// Waits for its end.
    pub(crate) fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.shutdown.drain();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}
