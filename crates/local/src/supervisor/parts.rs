//! The backends that services lean on: embedded, or somebody else's.

use std::{io, net::SocketAddr};

use ::platform::{
    target::{PartOrigin, PartSnapshot},
    values::{Kafka, Memcached, Values},
};

use crate::{
    embedded::{kafka, memcached},
    slot::Addresses,
};

/// The embedded memcached's place among the parts' addresses.
const MEMCACHED_PART: u8 = 0;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    #[error("the embedded Kafka does not start: {0}")]
    Kafka(rdkafka::error::KafkaError),
    #[error("the embedded memcached does not start on {address}: {source}")]
    Memcached { address: SocketAddr, source: io::Error },
}

#[derive(Debug)]
enum Part<Embedded> {
    Off,
    /// By address.
    Given(String),
    Embedded(Embedded),
}

#[derive(Debug)]
pub(crate) struct Parts {
    kafka_values: Kafka,
    kafka: Part<kafka::Broker>,
    memcached_values: Memcached,
    memcached: Part<memcached::Server>,
}

impl Parts {
    pub(crate) fn start(values: &Values, addresses: Addresses) -> Result<Self, PartError> {
        Ok(Self {
            kafka_values: values.kafka.clone(),
            kafka: start_kafka(&values.kafka)?,
            memcached_values: values.memcached.clone(),
            memcached: start_memcached(&values.memcached, addresses)?,
        })
    }

    /// Takes over changed values; returns what changed, in words.
    pub(crate) fn change(&mut self, values: &Values, addresses: Addresses) -> Result<Vec<String>, PartError> {
        let mut changes = Vec::new();
        if self.kafka_values != values.kafka {
            // A new embedded one would be empty; the old one stays if all that changed are names of topics.
            let (old, new) = (&self.kafka_values, &values.kafka);
            if (old.enabled, &old.brokers) != (new.enabled, &new.brokers) {
                self.kafka = start_kafka(new)?;
            }
            self.kafka_values = new.clone();
            changes.push(format!("kafka: {}", self.kafka_in_words()));
        }
        if self.memcached_values != values.memcached {
            // Its address is taken until it is gone.
            self.memcached = Part::Off;
            self.memcached = start_memcached(&values.memcached, addresses)?;
            self.memcached_values = values.memcached.clone();
            changes.push(format!("memcached: {}", self.memcached_in_words()));
        }
        Ok(changes)
    }

    pub(crate) fn kafka_brokers(&self) -> Option<String> {
        match &self.kafka {
            Part::Off => None,
            Part::Given(brokers) => Some(brokers.clone()),
            Part::Embedded(broker) => Some(broker.bootstrap_servers()),
        }
    }

    /// Host and port.
    pub(crate) fn memcached(&self) -> Option<(String, u16)> {
        match &self.memcached {
            Part::Off => None,
            Part::Given(host) => Some((host.clone(), self.memcached_values.port)),
            Part::Embedded(server) => Some((server.address().ip().to_string(), server.address().port())),
        }
    }

    /// Name and description of each part that is there.
    pub(crate) fn in_words(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if self.kafka_brokers().is_some() {
            all.push(("kafka", self.kafka_in_words()));
        }
        if self.memcached().is_some() {
            all.push(("memcached", self.memcached_in_words()));
        }
        all
    }

    pub(crate) fn snapshot(&self) -> Vec<PartSnapshot> {
        let part = |name: &str, origin, address, detail: &str| PartSnapshot {
            name: name.to_owned(),
            origin,
            address,
            detail: detail.to_owned(),
            healthy: true,
            pid: None,
        };
        let mut all = Vec::new();
        match &self.kafka {
            Part::Off => {}
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
            Part::Off => {}
            Part::Given(host) => {
                let address = format!("{host}:{}", self.memcached_values.port);
                all.push(part("memcached", PartOrigin::Given, Some(address), ""));
            }
            Part::Embedded(server) => {
                let address = Some(server.address().to_string());
                all.push(part("memcached", PartOrigin::Embedded, address, memcached::LIMITS));
            }
        }
        all
    }

    fn kafka_in_words(&self) -> String {
        match &self.kafka {
            Part::Off => "off".to_owned(),
            Part::Given(brokers) => format!("given, {brokers}"),
            Part::Embedded(_) => format!("embedded, {}", kafka::LIMITS),
        }
    }

    fn memcached_in_words(&self) -> String {
        match &self.memcached {
            Part::Off => "off".to_owned(),
            Part::Given(host) => format!("given, {host}:{}", self.memcached_values.port),
            Part::Embedded(_) => format!("embedded, {}", memcached::LIMITS),
        }
    }
}

fn start_kafka(values: &Kafka) -> Result<Part<kafka::Broker>, PartError> {
    Ok(match (&values.brokers, values.enabled) {
        (_, false) => Part::Off,
        (Some(brokers), true) => Part::Given(brokers.clone()),
        (None, true) => {
            let topics = [values.broadcast_topic.as_str(), values.logging_topic.as_str()];
            Part::Embedded(kafka::Broker::start(&topics).map_err(PartError::Kafka)?)
        }
    })
}

fn start_memcached(values: &Memcached, addresses: Addresses) -> Result<Part<memcached::Server>, PartError> {
    Ok(match (&values.host, values.enabled) {
        (_, false) => Part::Off,
        (Some(host), true) => Part::Given(host.clone()),
        (None, true) => {
            let address = SocketAddr::new(addresses.part(MEMCACHED_PART), values.port);
            let server = memcached::Server::bind(address)
                .map_err(|source| PartError::Memcached { address, source })?;
            Part::Embedded(server)
        }
    })
}
