//! What `values.yaml` says about the parts that services depend on.

use std::time::Duration;

use super::{
    chart::{self, image, resources},
    reader::Reader,
    rule::{self, REPLICAS_MAX, Rule},
};

/// `kafka:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    pub enabled: bool,
    /// `host:port,…` of an existing Kafka; absent: the platform starts one.
    pub brokers: Option<String>,
    /// On this machine: start a real server instead of the embedded one.
    pub real: bool,
    /// Topic of the broadcasts between clients.
    pub broadcast_topic: String,
    /// Topic that every service logs to.
    pub logging_topic: String,
}

/// `memcached:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memcached {
    pub enabled: bool,
    /// Host of an existing memcached; absent: the platform starts one.
    pub host: Option<String>,
    pub port: u16,
    /// Start a real server instead of the embedded one.
    pub real: bool,
}

/// `elasticsearch:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elasticsearch {
    pub enabled: bool,
    /// `http://…` of an existing one; absent: the platform starts one.
    pub url: Option<String>,
    /// Start a real server instead of the embedded one.
    pub real: bool,
}

/// `prometheus:`; there is no embedded one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prometheus {
    pub enabled: bool,
    /// `http://…` of an existing one; absent: the platform starts one.
    pub url: Option<String>,
}

/// `redis:`; a chart from before there was one has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redis {
    pub enabled: bool,
    /// `host:port` of an existing Redis; absent: the platform starts one.
    pub address: Option<String>,
    /// Start a real server instead of the embedded one.
    pub real: bool,
}

/// `etcd:`; there is no embedded one, and a chart from before there was one has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Etcd {
    pub enabled: bool,
    /// `http://host:port,…` of the members of an existing one; absent: the platform starts three.
    pub endpoints: Option<String>,
}

/// `cassandra:`; there is no embedded one, and a chart from before there was one has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cassandra {
    pub enabled: bool,
    /// `host:port,…` of nodes of an existing one; absent: the platform starts one.
    pub contact_points: Option<String>,
}

/// Where the autoscaler's custom metrics come from; CPU and memory always come from the kernel, as metrics-server gets
/// them from the kubelet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetricsSource {
    /// Read by the platform itself.
    #[default]
    Kernel,
    /// Queried from the Prometheus under `prometheus:`, as prometheus-adapter does.
    Prometheus,
}

impl MetricsSource {
    const ALL: [Self; 2] = [Self::Kernel, Self::Prometheus];

    fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Prometheus => "prometheus",
        }
    }
}

/// `metrics:`: the delays between what happens and what the autoscaler sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    pub source: MetricsSource,
    /// Time between two scrapes of the replicas.
    pub scrape_interval: Duration,
    /// The autoscaler sees the maximum over this window.
    pub window: Duration,
    /// Time between two reconciliations of the autoscaler.
    pub sync_period: Duration,
}

fn topic() -> Rule<String> {
    rule::matching("a topic's name (letters, digits, . _ and -, at most 249)", r"^[A-Za-z0-9._-]{1,249}$")
}

impl Kafka {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let kafka = Self {
            enabled: values.bool("enabled", true),
            brokers: values.text("brokers").filter(|brokers| !brokers.is_empty()),
            real: values.bool("real", false),
            broadcast_topic: values.required("broadcastTopic", topic()),
            logging_topic: values.required("loggingTopic", topic()),
        };
        chart::kafka(&mut values);
        values.finish();
        kafka
    }
}

impl Memcached {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let memcached = Self {
            enabled: values.bool("enabled", true),
            host: values.text("host").filter(|host| !host.is_empty()),
            port: values.port("port"),
            real: values.bool("real", false),
        };
        values.integer("replicas", 1..=REPLICAS_MAX);
        values.integer("megabytes", 1..=1_000_000);
        image(&mut values);
        resources(&mut values);
        values.finish();
        memcached
    }
}

impl Elasticsearch {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let elasticsearch = Self {
            enabled: values.bool("enabled", false),
            url: url(&mut values),
            real: values.bool("real", false),
        };
        chart::elasticsearch(&mut values);
        values.finish();
        elasticsearch
    }
}

impl Prometheus {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let prometheus = Self { enabled: values.bool("enabled", false), url: url(&mut values) };
        if chart::prometheus(&mut values) && prometheus.url.is_none() {
            let expected = "the address of the operator's Prometheus, or operator=false beside it";
            values.problems().add(values.path_of("url"), Some(&"".into()), expected);
        }
        values.finish();
        prometheus
    }
}

impl Redis {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let redis = Self {
            enabled: values.bool("enabled", false),
            address: values.optional("address", host_and_port()).filter(|address| !address.is_empty()),
            real: values.bool("real", false),
        };
        values.integer("megabytes", 1..=1_000_000);
        chart::existing_secret(&mut values);
        image(&mut values);
        resources(&mut values);
        chart::storage(&mut values);
        values.finish();
        redis
    }
}

impl Etcd {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let endpoints = values.optional("endpoints", endpoints()).filter(|text| !text.is_empty());
        let etcd = Self { enabled: values.bool("enabled", false), endpoints };
        chart::etcd(&mut values);
        values.finish();
        etcd
    }
}

impl Cassandra {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let contact_points =
            values.optional("contactPoints", contact_points()).filter(|points| !points.is_empty());
        let cassandra = Self { enabled: values.bool("enabled", false), contact_points };
        values.integer("replicas", 1..=REPLICAS_MAX);
        chart::cassandra(&mut values);
        values.finish();
        cassandra
    }
}

/// Neither user nor password: others can read command lines.
fn contact_points() -> Rule<String> {
    rule::matching(
        "host:port of a node, or several with commas between them",
        r"^$|^([^\[\]:@/, ]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}(,([^\[\]:@/, ]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5})*$",
    )
}

fn endpoints() -> Rule<String> {
    rule::matching(
        "http://host:port of a member, or several with commas between them",
        r"^$|^http://([^\[\]:@/, ]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}(,http://([^\[\]:@/, ]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5})*$",
    )
}

/// Neither user nor password: others can read command lines.
fn host_and_port() -> Rule<String> {
    rule::matching(
        "host:port of a Redis, without user and password",
        r"^$|^([^\[\]:@/ ]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$",
    )
}

/// The key `url`; an empty one counts as absent.
fn url(values: &mut Reader<'_>) -> Option<String> {
    let url =
        values.optional("url", rule::matching("a URL that begins with http:// or https://", "^$|^https?://"));
    url.filter(|url| !url.is_empty())
}

impl Metrics {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let sources = rule::choice(&MetricsSource::ALL, MetricsSource::as_str);
        let source = Rule { expected: "kernel or prometheus".to_owned(), ..sources };
        let metrics = Self {
            source: values.optional("source", source).unwrap_or_default(),
            scrape_interval: values.duration("scrapeInterval"),
            window: values.duration("window"),
            sync_period: values.duration("syncPeriod"),
        };
        if metrics.window < metrics.scrape_interval {
            let key = values.path_of("window");
            let found = values.get("window").cloned();
            values.problems().add(key, found.as_ref(), "at least the scrape interval");
        }
        values.finish();
        metrics
    }
}
