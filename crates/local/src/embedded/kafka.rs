//! Kafka: librdkafka's mock cluster, one broker, in this process, behind a relay that bounds what clients hold.
//!
//! It speaks the real protocol over TCP. It does not wake a waiting fetch, so its consumers need a short
//! `fetch.wait.max.ms`. `docs/real-parts.md` lists its limits and the relay's.

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod relay;
mod requests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use rdkafka::{error::KafkaError, mocking::MockCluster, producer::DefaultProducerContext};

use super::{guests::Limits, server::Server};

/// Partitions of each topic, as a small real cluster would have.
const PARTITIONS: i32 = 3;
/// A client takes three file descriptors: its connection, and both ends of the one to the mock cluster. Half-sent
/// requests and unread answers have 24 MiB in total.
const CLIENTS: Limits = Limits { connections: 2048, bytes: 24 * 1024 * 1024 };
/// A request that takes longer was overlooked.
const NUDGE_AFTER: Duration = Duration::from_millis(5);
/// Its limits, in words.
pub const LIMITS: &str = "in memory, 5 MiB per partition";

/// A broker that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Broker {
    // Dropped first: no client remains when the cluster ends.
    relay: Server,
    _cluster: Cluster,
}

struct Cluster(MockCluster<'static, DefaultProducerContext>);

impl Broker {
    /// Starts it with these topics; others are created on use.
    pub fn start(topics: &[&str]) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        let brokers = cluster.bootstrap_servers();
        while_nudged(&brokers, || {
            topics.iter().try_for_each(|topic| cluster.create_topic(topic, PARTITIONS, 1))
        })?;
        let failed = |error: &dyn std::fmt::Display| KafkaError::ClientCreation(error.to_string());
        let behind: SocketAddr = brokers.parse().map_err(|error| failed(&format!("{brokers}: {error}")))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let relay = Server::bind("kafka", address, CLIENTS, move |client, guest| {
            Box::pin(relay::serve(client, guest, behind))
        });
        Ok(Self { relay: relay.map_err(|error| failed(&error))?, _cluster: Cluster(cluster) })
    }

    /// Cuts all clients off and refuses new ones. The records are kept. Does nothing if it is stopped.
    pub fn stop(&mut self) -> io::Result<()> {
        self.relay.stop();
        Ok(())
    }

    /// Listens again at the same address, with the same records. Does nothing if it runs.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.relay.start()
    }

    /// `host:port` for clients.
    pub fn bootstrap_servers(&self) -> String {
        self.relay.address().to_string()
    }
}

/// Passes requests to the mock cluster's thread without waiting for its sleep.
///
/// That thread clears its wake-up pipe after it has served its queue; a request that arrives in between is only seen at
/// the next wake-up, up to a second later (`rd_kafka_mock_cluster_io_poll`). A connection wakes it.
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

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cluster").field(&self.0.bootstrap_servers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use rdkafka::{
        ClientConfig, Message as _,
        consumer::{BaseConsumer, Consumer as _},
        producer::{BaseRecord, Producer as _, ThreadedProducer},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_restarted_broker_keeps_its_address_and_records() {
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
            // Errors are what clients see meanwhile.
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

    /// The answer to one request without its length.
    fn ask(stream: &mut TcpStream, key: i16, version: i16, body: &[u8]) -> Vec<u8> {
        let header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes(), &[0xff, 0xff]];
        let request = [&header.concat(), body].concat();
        stream.write_all(&[&(request.len() as u32).to_be_bytes(), &request[..]].concat()).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..4], 7_i32.to_be_bytes());
        answer
    }

    #[test]
    fn every_version_of_a_response_names_the_relay_as_the_broker() {
        let broker = Broker::start(&["t"]).unwrap();
        let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let port = u32::from(broker.relay.address().port()).to_be_bytes();
        let told = [b"127.0.0.1", &port[..]].concat();
        let mut names = |key, version, body: &[u8]| {
            let answer = ask(&mut stream, key, version, body);
            let found = answer.windows(told.len()).any(|window| window == told);
            assert!(found, "{key} in version {version}: {}", answer.escape_ascii());
        };
        for version in 0..=8 {
            // Metadata of no topics (in version 0: of all), and flags that later versions added.
            names(3, version, &[0; 7]);
        }
        for version in 9..=12 {
            names(3, version, &[0, 1, 0, 0, 0, 0]);
        }
        for version in 0..=2 {
            names(10, version, b"\0\x05group\0");
        }
        names(10, 3, b"\0\x06group\0\0");
    }

    /// The kinds in an answer about versions, with the oldest and the newest version of each.
    fn versions(answer: &[u8]) -> Vec<[i16; 3]> {
        let count = u32::from_be_bytes(answer[6..10].try_into().unwrap()) as usize;
        let entries = answer[10..10 + count * 6].chunks(6);
        let number = |bytes: &[u8]| i16::from_be_bytes(bytes.try_into().unwrap());
        entries.map(|entry| [number(&entry[..2]), number(&entry[2..4]), number(&entry[4..])]).collect()
    }

    #[test]
    fn clients_newer_than_the_mock_cluster_learn_what_to_ask() {
        let broker = Broker::start(&["t"]).unwrap();
        let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Java's and Python's clients of today begin with 4; the tail is a name and a version, in the new format.
        for version in [3, 4, 5, i16::MAX] {
            let answer = ask(&mut stream, 18, version, b"\0\x05test\x021\0");
            assert_eq!(answer[4..6], 35_i16.to_be_bytes(), "version {version} is not supported");
            assert_eq!((versions(&answer), answer.len()), (vec![[18, 0, 2]], 16), "{version}");
        }
        for version in 0..=2 {
            let answer = ask(&mut stream, 18, version, &[]);
            assert_eq!(answer[4..6], [0, 0]);
            let known = versions(&answer);
            assert_eq!(answer.len(), 10 + 6 * known.len() + if version == 0 { 0 } else { 4 });
            assert!(known.iter().any(|[key, ..]| *key == 3), "{known:?}");
            // What a client finds there must be let through.
            assert!(known.iter().all(|[key, ..]| ![68, 72].contains(key)), "{known:?}");
            for newest in [[11, 0, 5], [13, 0, 2], [14, 0, 3]] {
                assert!(known.contains(&newest), "{newest:?} in {known:?}");
            }
        }
    }

    #[test]
    fn an_invalid_request_ends_only_its_own_connection() {
        let broker = Broker::start(&["t"]).unwrap();
        for bad in [
            &[0xff; 4][..],
            &[0; 4],
            b"GET / HTTP/1.1\r\n\r\n",
            &[0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 7, 0, 0],
            // Each of these ends the process if it reaches the mock cluster.
            &[&[0, 0, 0, 70, 0, 11, 0, 0, 0, 0, 0, 7][..], &[0xff; 62]].concat(),
            &[&[0, 0, 0, 70, 0, 11, 0, 2, 0, 0, 0, 7, 0xff, 0xff][..], &[0x7f; 60]].concat(),
            &[&[0, 0, 0, 70, 0, 68, 0, 1, 0, 0, 0, 7, 0xff, 0xff][..], &[0; 60]].concat(),
            &[&[0, 0, 0, 70, 0, 72, 0, 0, 0, 0, 0, 7, 0xff, 0xff][..], &[0; 60]].concat(),
        ] {
            let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(bad).unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "{}", bad.escape_ascii());
        }
        let mut stream = TcpStream::connect(broker.bootstrap_servers()).unwrap();
        assert!(ask(&mut stream, 18, 0, &[]).len() > 10);
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
        let told = &metadata.brokers()[0];
        assert_eq!(format!("{}:{}", told.host(), told.port()), broker.bootstrap_servers());
        let mut partitions = rdkafka::TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset("broadcasts", partition, rdkafka::Offset::Beginning).unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let record = consumer.poll(PATIENCE).expect("within the time").unwrap();
        assert_eq!(record.payload(), Some(&b"hello"[..]));
    }
}
