//! The embedded parts of this platform: started, stopped, and where they are.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use ::platform::values::Protocol;
use controller::{PartKind, RunId, Started};

use crate::{
    embedded::{elasticsearch, kafka, memcached},
    kernel::port::Unusable,
    slot::Addresses,
};

/// Their places among the parts' addresses.
const MEMCACHED_PART: u8 = 0;
const ELASTICSEARCH_PART: u8 = 1;
const ELASTICSEARCH_PORT: u16 = 9200;

/// The version of everything that is part of this program.
pub(crate) const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Default)]
pub(crate) struct Embedded {
    running: BTreeMap<RunId, Server>,
}

/// Dropping one stops it.
#[derive(Debug)]
#[expect(dead_code, reason = "they only have to be kept")]
enum Server {
    Kafka(kafka::Broker),
    Memcached(memcached::Server),
    Elasticsearch(elasticsearch::Server),
}

/// What an embedded part is started from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) kind: PartKind,
    /// Where the values name one.
    pub(crate) port: Option<u16>,
    /// Kafka's.
    pub(crate) topics: &'a [String],
    pub(crate) addresses: Addresses,
    /// Where Elasticsearch keeps its documents.
    pub(crate) documents: &'a Path,
}

impl Embedded {
    pub(crate) fn start(&mut self, run: RunId, wanted: Wanted<'_>) -> Result<Started, String> {
        let at = |part, port| SocketAddr::new(wanted.addresses.part(part), port);
        let unusable = |name, address, error| {
            format!("the embedded {name} does not start: {}", Unusable::new(Protocol::Tcp, address, error))
        };
        let (server, address, detail) = match wanted.kind {
            PartKind::Kafka => {
                let topics: Vec<&str> = wanted.topics.iter().map(String::as_str).collect();
                let broker = kafka::Broker::start(&topics)
                    .map_err(|error| format!("the embedded Kafka does not start: {error}"))?;
                let address = broker.bootstrap_servers();
                (Server::Kafka(broker), address, kafka::LIMITS)
            }
            PartKind::Memcached => {
                let address = at(MEMCACHED_PART, wanted.port.unwrap_or_default());
                let server = memcached::Server::bind(address)
                    .map_err(|error| unusable("memcached", address, error))?;
                let address = server.address().to_string();
                (Server::Memcached(server), address, memcached::LIMITS)
            }
            PartKind::Elasticsearch => {
                let address = at(ELASTICSEARCH_PART, ELASTICSEARCH_PORT);
                let server = elasticsearch::Server::bind(address, wanted.documents.to_owned())
                    .map_err(|error| unusable("Elasticsearch", address, error))?;
                let url = server.url();
                (Server::Elasticsearch(server), url, elasticsearch::LIMITS)
            }
            PartKind::Prometheus => return Err("there is no embedded Prometheus".to_owned()),
        };
        self.running.insert(run, server);
        Ok(Started { address: Some(address), detail: detail.to_owned() })
    }

    pub(crate) fn stop(&mut self, run: RunId) {
        self.running.remove(&run);
    }
}

/// The embedded Kafka is librdkafka's.
pub(crate) fn version(kind: PartKind) -> String {
    match kind {
        PartKind::Kafka => rdkafka::util::get_rdkafka_version().1,
        _ => OWN_VERSION.to_owned(),
    }
}
