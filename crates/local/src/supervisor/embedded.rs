//! The embedded parts of this platform: starting, stopping, and their addresses.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path};

use ::platform::values::Protocol;
use controller::{PartKind, RunId, Started};
use rdkafka::error::KafkaError;

use crate::{
    embedded::{elasticsearch, kafka, memcached, redis},
    kernel::port::Unusable,
    slot::Addresses,
};

/// Their positions among the parts' addresses.
const MEMCACHED_PART: u8 = 0;
const ELASTICSEARCH_PART: u8 = 1;
const ELASTICSEARCH_PORT: u16 = 9200;
const REDIS_PART: u8 = 2;
const REDIS_PORT: u16 = 6379;

/// The version of all parts of this program.
pub(crate) const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Default)]
pub(crate) struct Embedded {
    running: BTreeMap<RunId, Server>,
    /// Stopped ones: they keep their address, and their data on disk or in memory, for their next start.
    parked: BTreeMap<PartKind, Server>,
}

/// Dropping one frees its address.
#[derive(Debug)]
enum Server {
    Kafka(kafka::Broker),
    Memcached(memcached::Server),
    Elasticsearch(elasticsearch::Server),
    Redis(redis::Server),
}

impl Server {
    fn kind(&self) -> PartKind {
        match self {
            Self::Kafka(_) => PartKind::Kafka,
            Self::Memcached(_) => PartKind::Memcached,
            Self::Elasticsearch(_) => PartKind::Elasticsearch,
            Self::Redis(_) => PartKind::Redis,
        }
    }

    /// The description for clients, with its limits in words.
    fn described(&self) -> Started {
        let (address, detail) = match self {
            Self::Kafka(broker) => (broker.bootstrap_servers(), kafka::LIMITS),
            Self::Memcached(server) => (server.address().to_string(), memcached::LIMITS),
            Self::Elasticsearch(server) => (server.url(), elasticsearch::LIMITS),
            Self::Redis(server) => (server.address().to_string(), redis::LIMITS),
        };
        Started { address: Some(address), detail: detail.to_owned() }
    }

    fn stop(&mut self) -> io::Result<()> {
        match self {
            Self::Kafka(broker) => broker.stop(),
            Self::Memcached(server) => server.stop(),
            Self::Elasticsearch(server) => server.stop(),
            Self::Redis(server) => server.stop(),
        }
    }

    fn start_again(&mut self) -> io::Result<()> {
        match self {
            Self::Kafka(broker) => broker.start_again(),
            Self::Memcached(server) => server.start_again(),
            Self::Elasticsearch(server) => server.start_again(),
            Self::Redis(server) => server.start_again(),
        }
    }
}

/// Why an embedded part does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("cannot start the embedded {name}: {reason}")]
    Address { name: &'static str, reason: Unusable },
    #[error("cannot start the embedded Kafka: {0}")]
    Kafka(KafkaError),
    #[error("cannot restart the embedded {name}: {source}")]
    Again { name: &'static str, source: io::Error },
    #[error("there is no embedded {0}")]
    Unknown(&'static str),
}

/// Inputs for starting an embedded part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) kind: PartKind,
    /// From the values, if they name one.
    pub(crate) port: Option<u16>,
    /// Kafka's.
    pub(crate) topics: &'a [String],
    pub(crate) addresses: Addresses,
    /// The file of Elasticsearch's documents.
    pub(crate) documents: &'a Path,
}

impl Embedded {
    pub(crate) fn start(&mut self, run: RunId, wanted: Wanted<'_>) -> Result<Started, NotStarted> {
        let server = match self.parked.remove(&wanted.kind).filter(|parked| wanted.is_met_by(parked)) {
            Some(mut parked) => {
                let name = wanted.kind.name();
                parked.start_again().map_err(|source| NotStarted::Again { name, source })?;
                parked
            }
            None => wanted.make()?,
        };
        let started = server.described();
        self.running.insert(run, server);
        Ok(started)
    }

    pub(crate) fn stop(&mut self, run: RunId) {
        let Some(mut server) = self.running.remove(&run) else { return };
        match server.stop() {
            Ok(()) => drop(self.parked.insert(server.kind(), server)),
            // Dropping it stops it too.
            Err(error) => tracing::warn!(%error, part = server.kind().name(), "an embedded part is not kept"),
        }
    }
}

impl Wanted<'_> {
    fn make(self) -> Result<Server, NotStarted> {
        let unusable = |name, address, error| {
            let reason = Unusable::new(Protocol::Tcp, address, error);
            NotStarted::Address { name, reason }
        };
        let address = self.address();
        Ok(match self.kind {
            PartKind::Kafka => {
                let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
                Server::Kafka(kafka::Broker::start(&topics).map_err(NotStarted::Kafka)?)
            }
            PartKind::Memcached => {
                let server = memcached::Server::bind(address);
                Server::Memcached(server.map_err(|error| unusable("memcached", address, error))?)
            }
            PartKind::Elasticsearch => {
                let server = elasticsearch::Server::bind(address, self.documents.to_owned());
                Server::Elasticsearch(server.map_err(|error| unusable("Elasticsearch", address, error))?)
            }
            PartKind::Redis => {
                let server = redis::Server::bind(address);
                Server::Redis(server.map_err(|error| unusable("Redis", address, error))?)
            }
            PartKind::Prometheus
            | PartKind::Etcd
            | PartKind::Etcd01
            | PartKind::Etcd02
            | PartKind::Etcd03
            | PartKind::Cassandra => return Err(NotStarted::Unknown(self.kind.program())),
        })
    }

    /// Kafka chooses its own port.
    fn address(&self) -> SocketAddr {
        let (part, port) = match self.kind {
            PartKind::Memcached => (MEMCACHED_PART, self.port.unwrap_or_default()),
            PartKind::Redis => (REDIS_PART, REDIS_PORT),
            _ => (ELASTICSEARCH_PART, ELASTICSEARCH_PORT),
        };
        SocketAddr::new(self.addresses.part(part), port)
    }

    /// Whether a stopped part matches the wanted one.
    fn is_met_by(&self, parked: &Server) -> bool {
        match parked {
            Server::Memcached(server) => server.address() == self.address(),
            Server::Kafka(_) | Server::Elasticsearch(_) | Server::Redis(_) => true,
        }
    }
}

/// The embedded Kafka is librdkafka's.
pub(crate) fn version(kind: PartKind) -> String {
    match kind {
        PartKind::Kafka => rdkafka::util::get_rdkafka_version().1,
        _ => OWN_VERSION.to_owned(),
    }
}
