//! `values.yaml`: the one description of what runs, for Helm and for the platform on this machine.
//!
//! [`helm`] computes values as Helm does; [`Values`] are the typed result. Every key that no type knows is an error
//! that names the key, where it was set and the nearest known key; `global` and the trees of other people's charts are
//! exempt. All mistakes in all files are reported at once.
//!
//! The chart's own `values.yaml` is part of the program ([`Values::builtin`]); `--chart DIR` uses another one.

mod autoscaling;
mod chart;
mod description;
mod difference;
mod error;
mod gateway;
pub mod helm;
mod parts;
mod presets;
mod reader;
mod resources;
mod rule;
mod schema;
mod service;
mod source;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::protocol::Protocol;
pub use difference::{SettingChange, overrides, setting, shown};
pub use error::{Problem, ValuesError};
pub use gateway::{Gateway, GatewayKind, Health, Http, Listener, Policy, Route, Rules};
pub use parts::{
    Cassandra, Elasticsearch, Etcd, Kafka, Memcached, Metrics, MetricsSource, Prometheus, Redis,
};
pub use presets::{preset_of, presets};
pub use resources::Resources;
pub use schema::schema;
pub use service::{Probe, Service};
pub use source::ValuesSource;

use crate::services::{Backend, ServiceKind};
use reader::Reader;

/// The variable that names what the balancer balances.
const BALANCED: &str = "KUBERNETES_APP_LABEL";

/// The values of one platform: merged, checked, typed.
///
/// Serialised as the merged tree; what is read back has been checked again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Values {
    services: Vec<Service>,
    pub gateway: Gateway,
    pub kafka: Kafka,
    pub memcached: Memcached,
    pub elasticsearch: Elasticsearch,
    pub prometheus: Prometheus,
    pub redis: Redis,
    pub etcd: Etcd,
    pub cassandra: Cassandra,
    pub metrics: Metrics,
    merged: helm::Table,
}

impl Values {
    /// The unchanged values of the built-in chart.
    pub fn builtin() -> Self {
        Self::load(&ValuesSource::default()).expect("the chart's own values are checked by a test")
    }

    /// Reads the chart, lays the user's files and settings over it, and checks the result.
    pub fn load(source: &ValuesSource) -> Result<Self, ValuesError> {
        let (merged, origins) = source.merge()?;
        Self::read(merged, &origins)
    }

    /// Checks a tree merged earlier, such as [`Values::merged`] of another process.
    pub fn from_merged(merged: helm::Table) -> Result<Self, ValuesError> {
        Self::read(merged, &source::Origins::default())
    }

    /// All services of the chart, switched on or not.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter()
    }

    /// The services that run.
    pub fn enabled_services(&self) -> impl Iterator<Item = &Service> {
        self.services().filter(|service| service.enabled)
    }

    /// A service by name, switched on or not.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services().find(|service| service.name == name)
    }

    /// Whether there is an Elasticsearch: enabling the logger, which writes there, also enables it.
    pub fn has_elasticsearch(&self) -> bool {
        self.elasticsearch.enabled || self.is_enabled(ServiceKind::Logger)
    }

    /// Whether there is a Redis: enabling a service that keeps sessions or locks there also enables it.
    pub fn has_redis(&self) -> bool {
        // The balancer only reads the sessions of others.
        let uses = |kind: ServiceKind| kind.connects_to(Backend::Redis) && kind != ServiceKind::Balancer;
        self.redis.enabled || ServiceKind::ALL.into_iter().any(|kind| uses(kind) && self.is_enabled(kind))
    }

    /// Whether `profiles` runs without a database: the data are then in its replica's memory.
    pub fn profiles_are_in_memory(&self) -> bool {
        let profiles = self.service(ServiceKind::Profiles.name()).filter(|profiles| profiles.enabled);
        profiles.is_some_and(|profiles| {
            !self.cassandra.enabled && !profiles.env.contains_key("CASSANDRA_CONTACT_POINTS")
        })
    }

    fn is_enabled(&self, kind: ServiceKind) -> bool {
        self.service(kind.name()).is_some_and(|service| service.enabled)
    }

    /// The gateway's listeners whose service runs.
    pub fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.gateway
            .listeners
            .iter()
            .filter(|listener| self.service(&listener.service).is_some_and(|service| service.enabled))
    }

    /// Services that run, and that clients would reach by the listeners of `usual` values, but not by these.
    pub fn unreached<'a>(&self, usual: &'a Self) -> Vec<&'a str> {
        let reached: Vec<&str> = self.listeners().flat_map(Listener::services).collect();
        let runs = |name: &str| self.service(name).is_some_and(|service| service.enabled);
        let mut unreached = Vec::new();
        for name in usual.gateway.listeners.iter().flat_map(Listener::services) {
            if runs(name) && !reached.contains(&name) && !unreached.contains(&name) {
                unreached.push(name);
            }
        }
        unreached
    }

    /// The merged tree, as a chart's templates see it.
    pub fn merged(&self) -> &helm::Table {
        &self.merged
    }

    fn read(merged: helm::Table, origins: &source::Origins) -> Result<Self, ValuesError> {
        let problems = reader::Problems::new(origins);
        let values = Self::read_all(Reader::top(&merged, &problems));
        match problems.into_error() {
            Some(error) => Err(error),
            None => Ok(Self { merged, ..values }),
        }
    }

    /// All but the merged tree.
    fn read_all(mut top: Reader<'_>) -> Self {
        let problems = top.problems();
        let services = ServiceKind::ALL
            .into_iter()
            .filter_map(|kind| Some(Service::read(kind, top.kept_table(kind.name())?)))
            .collect::<Vec<_>>();
        let gateway = Gateway::read(top.required_table("gateway"));
        let kafka = Kafka::read(top.required_table("kafka"));
        let memcached = Memcached::read(top.required_table("memcached"));
        let elasticsearch = Elasticsearch::read(top.required_table("elasticsearch"));
        let prometheus = Prometheus::read(top.required_table("prometheus"));
        let redis = top.kept_table("redis").map(Redis::read).unwrap_or_default();
        let etcd = top.kept_table("etcd").map(Etcd::read).unwrap_or_default();
        let cassandra = top.kept_table("cassandra").map(Cassandra::read).unwrap_or_default();
        let metrics = Metrics::read(top.required_table("metrics"));
        if metrics.source == MetricsSource::Prometheus && !prometheus.enabled {
            let expected = "kernel, or prometheus.enabled=true beside it";
            problems.add("metrics.source".to_owned(), Some(&"prometheus".into()), expected);
        }
        let balancer =
            services.iter().find(|service| service.kind == ServiceKind::Balancer && service.enabled);
        if let Some(balanced) =
            balancer.map(|balancer| balancer.env.get(BALANCED).map_or("ws", String::as_str))
            && services.iter().any(|service| service.name == balanced && !service.enabled)
        {
            let key = format!("balancer.env.{BALANCED}");
            let expected = format!("a service that runs; {balanced}.enabled is false");
            problems.add(key, Some(&balanced.into()), &expected);
        }
        for (index, listener) in gateway.listeners.iter().enumerate() {
            let at = format!("gateway.listeners[{index}]");
            let find = |key: String, name: &str| {
                let found = services.iter().find(|service| service.name == name);
                // No name stands in for one that was reported already, and a service that was taken away was reported, too.
                let is_reported = name.is_empty() || problems.has(name);
                if found.is_none() && !is_reported {
                    let known: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
                    problems.add(key, Some(&name.into()), &format!("one of {}", known.join(", ")));
                }
                found.filter(|service| service.protocol() != listener.protocol)
            };
            if let Some(other) = find(format!("{at}.service"), &listener.service) {
                let expected = format!("{}, as {} speaks", other.protocol().as_str(), other.name);
                problems.add(format!("{at}.protocol"), Some(&listener.spoken().into()), &expected);
            }
            for (index, route) in listener.http.iter().flat_map(|http| &http.routes).enumerate() {
                let key = format!("{at}.routes[{index}].service");
                if let Some(other) = find(key.clone(), &route.service) {
                    let expected = format!("a service over TCP, which {} is not", other.name);
                    problems.add(key, Some(&route.service.clone().into()), &expected);
                }
            }
        }
        // `tags` switch subcharts; Helm reads them, we do not.
        top.known("tags");
        for foreign in problems.foreign_charts() {
            top.known(foreign);
        }
        chart::top(&mut top);
        top.finish();
        let merged = helm::Table::new();
        Self {
            services,
            gateway,
            kafka,
            memcached,
            elasticsearch,
            prometheus,
            redis,
            etcd,
            cassandra,
            metrics,
            merged,
        }
    }
}

impl TryFrom<Value> for Values {
    type Error = ValuesError;

    fn try_from(value: Value) -> Result<Self, ValuesError> {
        match value {
            Value::Object(merged) => Self::from_merged(merged),
            other => Err(ValuesError::Invalid {
                problems: vec![Problem {
                    key: String::new(),
                    value: Some(other.to_string()),
                    message: "expected the table of all values".to_owned(),
                    origin: None,
                }],
            }),
        }
    }
}

impl From<Values> for Value {
    fn from(values: Values) -> Self {
        Self::Object(values.merged)
    }
}

#[cfg(test)]
mod tests;
