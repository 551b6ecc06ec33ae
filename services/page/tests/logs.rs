//! Log lines to Kafka. A separate test binary, because the subscriber is global to the process.

use fixtures::{DEADLINE, Running};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use service::Shutdown;
use service::settings::Env;

const TOPIC: &str = "general-logs";

#[test]
fn start_and_end_reach_kafka() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let variables = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("POD_NAME", "page-0"),
        ("RUST_LOG", "info"),
        ("KAFKA_BROKERS", &*brokers),
        // The machine may be busy.
        ("KAFKA_MESSAGE_TIMEOUT", "60"),
    ];
    let env: Env = variables.into_iter().collect();
    service::logs::init(&env).unwrap();
    let shutdown = Shutdown::new();
    let server = page::Server::bind(page::Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    let page = Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run());

    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "test").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let next = || {
        let record = consumer.poll(DEADLINE).expect("a line arrives").unwrap();
        let record: serde_json::Value = serde_json::from_slice(record.payload().unwrap()).unwrap();
        assert_eq!(record["pod"], "page-0");
        record["text"].as_str().unwrap().to_owned()
    };
    let started = next();
    assert!(started.starts_with("INFO page::server: started pod=page-0 "), "{started}");
    assert_eq!(next(), "INFO page::server: ready");
    drop(page);
    assert_eq!(next(), "INFO page::server: ended");
}
