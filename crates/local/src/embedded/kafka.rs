//! Kafka: librdkafka's mock cluster, one broker, in this process.
//!
//! It speaks the real protocol over TCP. Limits: everything is in memory; a partition keeps 5 MiB or 100,000 records
//! and drops older ones silently; no SASL; record timestamps mean nothing; its port is random. It does not wake a
//! fetch that waits, so its consumers need a short `fetch.wait.max.ms`.

use std::{io, net::TcpStream, sync::mpsc, thread, time::Duration};

use rdkafka::{error::KafkaError, mocking::MockCluster, producer::DefaultProducerContext};

/// Partitions of each topic, as a small real cluster would have.
const PARTITIONS: i32 = 3;
/// What the mock cluster takes for all brokers.
const ALL: i32 = -1;
/// A request that takes longer has been overlooked.
const NUDGE_AFTER: Duration = Duration::from_millis(5);
/// What it can and cannot do, in words.
pub const LIMITS: &str = "in memory, 5 MiB per partition";

/// A broker that runs until it is dropped.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts it with these topics; others are created on use.
    pub fn start(topics: &[&str]) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        while_nudged(&cluster.bootstrap_servers(), || {
            topics.iter().try_for_each(|topic| cluster.create_topic(topic, PARTITIONS, 1))
        })?;
        Ok(Self { cluster })
    }

    /// Cuts all clients off and refuses new ones. The records are kept. Does nothing if it is stopped.
    pub fn stop(&mut self) -> io::Result<()> {
        while_nudged(&self.bootstrap_servers(), || self.cluster.broker_down(ALL)).map_err(io::Error::other)
    }

    /// Listens again at the same address, with the same records. Does nothing if it runs.
    pub fn start_again(&mut self) -> io::Result<()> {
        while_nudged(&self.bootstrap_servers(), || self.cluster.broker_up(ALL)).map_err(io::Error::other)
    }

    /// `host:port` for clients.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

/// Runs requests to the mock cluster's thread without waiting for its sleep.
///
/// That thread clears its wake-up pipe after it has served its queue; a request that comes in between is seen only
/// when it wakes the next time, up to a second later (`rd_kafka_mock_cluster_io_poll`). A connection wakes it.
fn while_nudged<T>(broker: &str, requests: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(NUDGE_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
                drop(TcpStream::connect(broker));
            }
        });
        let result = requests();
        drop(done);
        result
    })
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("bootstrap_servers", &self.bootstrap_servers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        ClientConfig, Message as _,
        consumer::{BaseConsumer, Consumer as _},
        producer::{BaseRecord, Producer as _, ThreadedProducer},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn it_stops_and_goes_on_at_the_same_address_with_its_records() {
        let mut broker = Broker::start(&["broadcasts"]).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap_servers()).set("group.id", "test");
        config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "20");
        config.set("reconnect.backoff.max.ms", "200");
        let producer: ThreadedProducer<_> = config.create_with_context(DefaultProducerContext).unwrap();
        let send = |text: &'static str| {
            let record = BaseRecord::<(), str>::to("broadcasts").partition(0).payload(text);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        };
        let consumer: BaseConsumer = config.create().unwrap();
        let mut partitions = rdkafka::TopicPartitionList::new();
        partitions.add_partition_offset("broadcasts", 0, rdkafka::Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let next = || loop {
            // Errors are what clients get meanwhile.
            if let Ok(record) = consumer.poll(PATIENCE).expect("within the time") {
                return String::from_utf8(record.payload().unwrap().to_vec()).unwrap();
            }
        };
        send("before");
        producer.flush(PATIENCE).unwrap();
        assert_eq!(next(), "before");

        let address = broker.bootstrap_servers();
        for text in ["during", "during the second"] {
            broker.stop().unwrap();
            broker.stop().unwrap();
            let refused = TcpStream::connect(&address).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            send(text);
            broker.start_again().unwrap();
            broker.start_again().unwrap();
            assert_eq!(next(), text);
        }
        assert_eq!(broker.bootstrap_servers(), address);
        assert_eq!(consumer.fetch_watermarks("broadcasts", 0, PATIENCE).unwrap(), (0, 3));
    }

    #[test]
    fn a_record_goes_from_a_producer_to_a_consumer() {
        let broker = Broker::start(&["broadcasts", "general-logs"]).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap_servers()).set("group.id", "test");
        config.set("auto.offset.reset", "earliest").set("fetch.wait.max.ms", "20");

        let producer: ThreadedProducer<_> = config.create_with_context(DefaultProducerContext).unwrap();
        producer
            .send(BaseRecord::to("broadcasts").key("k").payload("hello"))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(PATIENCE).unwrap();

        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some("broadcasts"), PATIENCE).unwrap();
        assert_eq!(metadata.topics()[0].partitions().len(), 3);
        let mut partitions = rdkafka::TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset("broadcasts", partition, rdkafka::Offset::Beginning).unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let record = consumer.poll(PATIENCE).expect("within the time").unwrap();
        assert_eq!(record.payload(), Some(&b"hello"[..]));
    }
}
