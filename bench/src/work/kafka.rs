//! Kafka for rows with broadcasts.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::{
    ClientConfig,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
};

/// The topic from which the `tcp` service reads broadcasts.
const TOPIC: &str = "broadcasts";
const PATIENCE: Duration = Duration::from_secs(10);

/// A mock broker in this process: its cost is not measured.
pub(super) struct Kafka {
    brokers: String,
    producer: BaseProducer,
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Kafka {
    pub(super) fn start() -> Result<Self> {
        let cluster = MockCluster::new(1).context("cannot start a mock cluster")?;
        cluster.create_topic(TOPIC, 1, 1)?;
        let brokers = cluster.bootstrap_servers();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("linger.ms", "0")
            .create()
            .context("cannot make a Kafka producer")?;
        Ok(Self { brokers, producer, _cluster: cluster })
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Returns when the broker has it.
    pub(super) fn publish(&self, value: &str) -> Result<()> {
        let record = BaseRecord::to(TOPIC).key("127.0.0.1:1").payload(value);
        if let Err((error, _)) = self.producer.send(record) {
            bail!("cannot publish: {error}");
        }
        self.producer.flush(PATIENCE).context("the broker does not accept the broadcast")
    }
}
