//! What `values.yaml` says about the parts that services depend on.

use std::time::Duration;

use super::reader::Reader;

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

const TOPIC: &str = "a topic's name (letters, digits, . _ and -, at most 249)";

impl Kafka {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let topic =
            |value: &serde_json::Value| value.as_str().filter(|topic| is_topic(topic)).map(str::to_owned);
        let kafka = Self {
            enabled: values.bool("enabled", true),
            brokers: values.text("brokers").filter(|brokers| !brokers.is_empty()),
            real: values.bool("real", false),
            broadcast_topic: values.required("broadcastTopic", TOPIC, topic),
            logging_topic: values.required("loggingTopic", TOPIC, topic),
        };
        values.chart_only(&["sasl", "image", "heap", "resources", "storage"]);
        values.finish();
        kafka
    }
}

fn is_topic(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name.bytes().all(allowed)
}

impl Memcached {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let memcached = Self {
            enabled: values.bool("enabled", true),
            host: values.text("host").filter(|host| !host.is_empty()),
            port: values.port("port"),
            real: values.bool("real", false),
        };
        values.chart_only(&["replicas", "image", "megabytes", "resources"]);
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
        values.chart_only(&["operator", "existingSecret", "image", "heap", "resources", "storage", "kibana"]);
        values.finish();
        elasticsearch
    }
}

impl Prometheus {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let prometheus = Self { enabled: values.bool("enabled", false), url: url(&mut values) };
        values.chart_only(&[
            "operator",
            "operatorLabels",
            "image",
            "retention",
            "resources",
            "storage",
            "adapter",
        ]);
        values.finish();
        prometheus
    }
}

/// The key `url`; an empty one counts as absent.
fn url(values: &mut Reader<'_>) -> Option<String> {
    let url = values.optional("url", "a URL that begins with http:// or https://", |value| {
        let known = |url: &&str| url.is_empty() || url.starts_with("http://") || url.starts_with("https://");
        value.as_str().filter(known).map(str::to_owned)
    });
    url.filter(|url| !url.is_empty())
}

impl Metrics {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let source = values.optional("source", "kernel or prometheus", |value| match value.as_str()? {
            "kernel" => Some(MetricsSource::Kernel),
            "prometheus" => Some(MetricsSource::Prometheus),
            _ => None,
        });
        let metrics = Self {
            source: source.unwrap_or_default(),
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
