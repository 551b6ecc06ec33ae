//! Log lines to Kafka. A separate test binary, because the subscriber is global to the process.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use service::kafka::{Producer, Settings, Watch};
use service::logs;
use service::settings::{Env, Reader};
use tokio::sync::Notify;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_mins(1);
const TOPIC: &str = "general-logs";

fn reader_of_topic(brokers: &str) -> StreamConsumer {
    let consumer: StreamConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "test").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    consumer
}

#[tokio::test]
async fn all_lines_are_kept_until_kafka_takes_them() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let env: Env = [("KAFKA_BROKERS", brokers.as_str()), ("RUST_LOG", "info")].into_iter().collect();
    logs::init(&env).unwrap();
    tracing::info!(port = 40_000, "started");

    let mut reader = Reader::new(&env);
    let settings = Settings::read(&mut reader).unwrap();
    let producer = Producer::new(&settings, Watch::default()).unwrap();
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let shipping = tokio::spawn(logs::ship(producer, TOPIC.into(), "tcp-0".into(), async move {
        stopped.notified().await;
    }));

    let consumer = reader_of_topic(&brokers);
    let next = async || {
        let record = timeout(DEADLINE, consumer.recv()).await.expect("a line arrives").unwrap();
        assert_eq!(record.key(), Some(&b"tcp-0"[..]));
        serde_json::from_slice::<serde_json::Value>(record.payload().unwrap()).unwrap()
    };
    let first = next().await;
    assert_eq!(first["pod"], "tcp-0");
    assert_eq!(first["text"], "INFO log_shipping: started port=40000");
    let time: jiff::Timestamp = first["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(first["timestamp"], time.as_second());

    tracing::error!("ended");
    stop.notify_one();
    timeout(DEADLINE, shipping).await.expect("it ends").unwrap();
    assert_eq!(next().await["text"], "ERROR log_shipping: ended");
    assert_eq!(logs::dropped(), 0);
    let mut registry = Registry::with_prefix("tcp");
    logs::register(&mut registry);
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    for line in ["tcp_log_lines_total 2", "tcp_log_lines_shipped_total 2", "tcp_log_lines_dropped_total 0"] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
}
