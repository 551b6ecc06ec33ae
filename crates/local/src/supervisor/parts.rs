//! The backends that services lean on: embedded, real ones that the platform starts, or somebody else's.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, path::Path};

use ::platform::{
    target::{PartOrigin, PartSnapshot},
    values::{Elasticsearch, Kafka, Memcached, Prometheus, Protocol, Values},
};

use super::servers::Spec;
use crate::{
    embedded::{elasticsearch, kafka, memcached},
    kernel::port::Unusable,
    programs::{Found, Program},
    slot::Addresses,
};

/// The embedded memcached's place among the parts' addresses.
const MEMCACHED_PART: u8 = 0;
/// That of the embedded Elasticsearch.
const ELASTICSEARCH_PART: u8 = 1;
/// Those of the real servers. None has that of an embedded part, so that one can take over from the other.
const REAL_KAFKA_PART: u8 = 10;
const REAL_ELASTICSEARCH_PART: u8 = 11;
const REAL_PROMETHEUS_PART: u8 = 12;
const REAL_MEMCACHED_PART: u8 = 13;
/// The usual ports of those whose values do not say one.
const KAFKA_PORT: u16 = 9092;
const ELASTICSEARCH_PORT: u16 = 9200;
const PROMETHEUS_PORT: u16 = 9090;

/// Of all embedded parts but Kafka.
pub(crate) const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    #[error("the embedded Kafka does not start: {0}")]
    Kafka(rdkafka::error::KafkaError),
    #[error("the embedded memcached does not start: {0}")]
    Memcached(Unusable),
    #[error("the embedded Elasticsearch does not start: {0}")]
    Elasticsearch(Unusable),
    #[error("{} is wanted, and was not looked for", .0.name())]
    NotLookedFor(Program),
}

/// The programs that were found for what the values ask for.
pub(crate) type Programs = BTreeMap<Program, Found>;

/// What parts are made of, beside their values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) addresses: Addresses,
    pub(crate) programs: &'a Programs,
    /// Where the embedded Elasticsearch keeps its documents.
    pub(crate) documents: &'a Path,
}

impl Ground<'_> {
    /// A real server, to be started by whoever looks after [`Parts::servers`].
    fn server(&self, program: Program, part: u8, port: u16) -> Result<Spec, PartError> {
        let found = self.programs.get(&program).cloned().ok_or(PartError::NotLookedFor(program))?;
        Ok(Spec { program, found, ip: self.addresses.part(part), port, topics: Vec::new() })
    }
}

#[derive(Debug)]
enum Part<Embedded> {
    Off,
    /// By address.
    Given(String),
    Embedded(Embedded),
    /// A process of its own, of a program that was found.
    Found(Spec),
}

impl<Embedded> Part<Embedded> {
    fn server(&self) -> Option<&Spec> {
        match self {
            Self::Found(spec) => Some(spec),
            Self::Off | Self::Given(_) | Self::Embedded(_) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Parts {
    kafka_values: Kafka,
    kafka: Part<kafka::Broker>,
    memcached_values: Memcached,
    memcached: Part<memcached::Server>,
    elasticsearch_values: Elasticsearch,
    elasticsearch: Part<elasticsearch::Server>,
    prometheus_values: Prometheus,
    prometheus: Part<Infallible>,
}

impl Parts {
    pub(crate) fn start(values: &Values, ground: Ground<'_>) -> Result<Self, PartError> {
        Ok(Self {
            kafka_values: values.kafka.clone(),
            kafka: start_kafka(&values.kafka, ground)?,
            memcached_values: values.memcached.clone(),
            memcached: start_memcached(&values.memcached, ground)?,
            elasticsearch_values: wanted_elasticsearch(values),
            elasticsearch: start_elasticsearch(&wanted_elasticsearch(values), ground)?,
            prometheus_values: values.prometheus.clone(),
            prometheus: start_prometheus(&values.prometheus, ground)?,
        })
    }

    /// Takes over changed values; returns what changed, in words.
    pub(crate) fn change(&mut self, values: &Values, ground: Ground<'_>) -> Result<Vec<String>, PartError> {
        let mut changes = Vec::new();
        if self.kafka_values != values.kafka {
            // A new embedded one would be empty; the old one stays if all that changed are names of topics.
            let (old, new) = (&self.kafka_values, &values.kafka);
            if (old.enabled, &old.brokers, old.real) != (new.enabled, &new.brokers, new.real) {
                self.kafka = start_kafka(new, ground)?;
            }
            self.kafka_values = new.clone();
            changes.push(format!("kafka: {}", self.kafka_in_words()));
        }
        if self.memcached_values != values.memcached {
            // If the new one cannot be had, the old one goes on. Only another port makes one embedded one another.
            self.memcached = start_memcached(&values.memcached, ground)?;
            self.memcached_values = values.memcached.clone();
            changes.push(format!("memcached: {}", self.memcached_in_words()));
        }
        let wanted = wanted_elasticsearch(values);
        if self.elasticsearch_values != wanted {
            self.elasticsearch = start_elasticsearch(&wanted, ground)?;
            self.elasticsearch_values = wanted;
            changes.push(format!("elasticsearch: {}", in_words(&self.elasticsearch)));
        }
        if self.prometheus_values != values.prometheus {
            self.prometheus = start_prometheus(&values.prometheus, ground)?;
            self.prometheus_values = values.prometheus.clone();
            changes.push(format!("prometheus: {}", in_words(&self.prometheus)));
        }
        Ok(changes)
    }

    /// The real servers that there should be.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Spec> {
        let all = [
            self.kafka.server(),
            self.memcached.server(),
            self.elasticsearch.server(),
            self.prometheus.server(),
        ];
        all.into_iter().flatten()
    }

    pub(crate) fn prometheus_url(&self) -> Option<String> {
        url(&self.prometheus)
    }

    pub(crate) fn elasticsearch_url(&self) -> Option<String> {
        url(&self.elasticsearch)
    }

    pub(crate) fn kafka_brokers(&self) -> Option<String> {
        match &self.kafka {
            Part::Off => None,
            Part::Given(brokers) => Some(brokers.clone()),
            Part::Embedded(broker) => Some(broker.bootstrap_servers()),
            Part::Found(spec) => Some(spec.url()),
        }
    }

    /// Host and port.
    pub(crate) fn memcached(&self) -> Option<(String, u16)> {
        match &self.memcached {
            Part::Off => None,
            Part::Given(host) => Some((host.clone(), self.memcached_values.port)),
            Part::Embedded(server) => Some((server.address().ip().to_string(), server.address().port())),
            Part::Found(spec) => Some((spec.ip.to_string(), spec.port)),
        }
    }

    /// Name and description of each part that is there already; real servers are when they answer.
    pub(crate) fn in_words(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if self.kafka_brokers().is_some() && self.kafka.server().is_none() {
            all.push(("kafka", self.kafka_in_words()));
        }
        if self.memcached().is_some() && self.memcached.server().is_none() {
            all.push(("memcached", self.memcached_in_words()));
        }
        if matches!(self.elasticsearch, Part::Given(_) | Part::Embedded(_)) {
            all.push(("elasticsearch", in_words(&self.elasticsearch)));
        }
        if matches!(self.prometheus, Part::Given(_)) {
            all.push(("prometheus", in_words(&self.prometheus)));
        }
        all
    }

    /// All but the real servers, which know more of themselves.
    pub(crate) fn snapshot(&self) -> Vec<PartSnapshot> {
        let part = |name: &str, origin, address, detail: &str| PartSnapshot {
            name: name.to_owned(),
            origin,
            // What is given is asked for its own.
            version: (origin == PartOrigin::Embedded).then(|| embedded_version(name)),
            address,
            detail: detail.to_owned(),
            healthy: true,
            pid: None,
        };
        let mut all = Vec::new();
        match &self.kafka {
            Part::Off | Part::Found(_) => {}
            Part::Given(brokers) => all.push(part("kafka", PartOrigin::Given, Some(brokers.clone()), "")),
            Part::Embedded(broker) => {
                all.push(part(
                    "kafka",
                    PartOrigin::Embedded,
                    Some(broker.bootstrap_servers()),
                    kafka::LIMITS,
                ));
            }
        }
        match &self.memcached {
            Part::Off | Part::Found(_) => {}
            Part::Given(host) => {
                let address = format!("{host}:{}", self.memcached_values.port);
                all.push(part("memcached", PartOrigin::Given, Some(address), ""));
            }
            Part::Embedded(server) => {
                let address = Some(server.address().to_string());
                all.push(part("memcached", PartOrigin::Embedded, address, memcached::LIMITS));
            }
        }
        if let Part::Embedded(server) = &self.elasticsearch {
            let address = Some(server.url());
            all.push(part("elasticsearch", PartOrigin::Embedded, address, elasticsearch::LIMITS));
        }
        if let Part::Given(url) = &self.elasticsearch {
            all.push(part("elasticsearch", PartOrigin::Given, Some(url.clone()), ""));
        }
        if let Part::Given(url) = &self.prometheus {
            all.push(part("prometheus", PartOrigin::Given, Some(url.clone()), ""));
        }
        all
    }

    fn kafka_in_words(&self) -> String {
        match &self.kafka {
            Part::Off => "off".to_owned(),
            Part::Given(brokers) => format!("given, {brokers}"),
            Part::Embedded(_) => format!("embedded, {}", kafka::LIMITS),
            Part::Found(spec) => found_in_words(spec),
        }
    }

    fn memcached_in_words(&self) -> String {
        match &self.memcached {
            Part::Off => "off".to_owned(),
            Part::Given(host) => format!("given, {host}:{}", self.memcached_values.port),
            Part::Embedded(_) => format!("embedded, {}", memcached::LIMITS),
            Part::Found(spec) => found_in_words(spec),
        }
    }
}

/// The embedded Kafka is librdkafka's.
fn embedded_version(name: &str) -> String {
    if name == "kafka" { rdkafka::util::get_rdkafka_version().1 } else { OWN_VERSION.to_owned() }
}

fn found_in_words(spec: &Spec) -> String {
    format!("found, {}", spec.in_words())
}

/// What is reached by a URL, if it is embedded.
trait ByUrl {
    const LIMITS: &str;

    fn url(&self) -> String;
}

impl ByUrl for elasticsearch::Server {
    const LIMITS: &str = elasticsearch::LIMITS;

    fn url(&self) -> String {
        self.url()
    }
}

/// Of what is never embedded.
impl ByUrl for Infallible {
    const LIMITS: &str = "";

    fn url(&self) -> String {
        match *self {}
    }
}

fn in_words<Embedded: ByUrl>(part: &Part<Embedded>) -> String {
    match part {
        Part::Off => "off".to_owned(),
        Part::Given(url) => format!("given, {url}"),
        Part::Embedded(_) => format!("embedded, {}", Embedded::LIMITS),
        Part::Found(spec) => found_in_words(spec),
    }
}

fn url<Embedded: ByUrl>(part: &Part<Embedded>) -> Option<String> {
    match part {
        Part::Off => None,
        Part::Given(url) => Some(url.clone()),
        Part::Embedded(server) => Some(server.url()),
        Part::Found(spec) => Some(spec.url()),
    }
}

fn start_kafka(values: &Kafka, ground: Ground<'_>) -> Result<Part<kafka::Broker>, PartError> {
    let topics = [&values.broadcast_topic, &values.logging_topic];
    Ok(match (&values.brokers, values.enabled, values.real) {
        (_, false, _) => Part::Off,
        (Some(brokers), true, _) => Part::Given(brokers.clone()),
        (None, true, true) => {
            let mut spec = ground.server(Program::Kafka, REAL_KAFKA_PART, KAFKA_PORT)?;
            spec.topics = topics.map(Clone::clone).to_vec();
            Part::Found(spec)
        }
        (None, true, false) => {
            Part::Embedded(kafka::Broker::start(&topics.map(String::as_str)).map_err(PartError::Kafka)?)
        }
    })
}

fn start_memcached(values: &Memcached, ground: Ground<'_>) -> Result<Part<memcached::Server>, PartError> {
    Ok(match (&values.host, values.enabled, values.real) {
        (_, false, _) => Part::Off,
        (Some(host), true, _) => Part::Given(host.clone()),
        (None, true, true) => {
            Part::Found(ground.server(Program::Memcached, REAL_MEMCACHED_PART, values.port)?)
        }
        (None, true, false) => {
            let address = SocketAddr::new(ground.addresses.part(MEMCACHED_PART), values.port);
            let server = memcached::Server::bind(address)
                .map_err(|source| PartError::Memcached(Unusable::new(Protocol::Tcp, address, source)))?;
            Part::Embedded(server)
        }
    })
}

fn wanted_elasticsearch(values: &Values) -> Elasticsearch {
    Elasticsearch { enabled: values.has_elasticsearch(), ..values.elasticsearch.clone() }
}

fn start_elasticsearch(
    values: &Elasticsearch,
    ground: Ground<'_>,
) -> Result<Part<elasticsearch::Server>, PartError> {
    Ok(match (&values.url, values.enabled, values.real) {
        (_, false, _) => Part::Off,
        (Some(url), true, _) => Part::Given(url.clone()),
        (None, true, true) => {
            Part::Found(ground.server(Program::Elasticsearch, REAL_ELASTICSEARCH_PART, ELASTICSEARCH_PORT)?)
        }
        (None, true, false) => {
            let address = SocketAddr::new(ground.addresses.part(ELASTICSEARCH_PART), ELASTICSEARCH_PORT);
            let server = elasticsearch::Server::bind(address, ground.documents.to_owned())
                .map_err(|source| PartError::Elasticsearch(Unusable::new(Protocol::Tcp, address, source)))?;
            Part::Embedded(server)
        }
    })
}

fn start_prometheus(values: &Prometheus, ground: Ground<'_>) -> Result<Part<Infallible>, PartError> {
    Ok(match (&values.url, values.enabled) {
        (_, false) => Part::Off,
        (Some(url), true) => Part::Given(url.clone()),
        (None, true) => {
            Part::Found(ground.server(Program::Prometheus, REAL_PROMETHEUS_PART, PROMETHEUS_PORT)?)
        }
    })
}
