//! What `values.yaml` says of the parts that services lean on.

use std::time::Duration;

use super::reader::Reader;

/// `kafka:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    pub enabled: bool,
    /// `host:port,…` of an existing Kafka; absent: the platform brings one.
    pub brokers: Option<String>,
    /// Topic of the broadcasts between clients.
    pub broadcast_topic: String,
    /// Topic that every service logs to.
    pub logging_topic: String,
}

/// `memcached:`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memcached {
    pub enabled: bool,
    /// Host of an existing memcached; absent: the platform brings one.
    pub host: Option<String>,
    pub port: u16,
}

/// `metrics:`: the delays between what happens and what the autoscaler sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Between two looks at the replicas.
    pub scrape_interval: Duration,
    /// The autoscaler sees the maximum of so long.
    pub window: Duration,
    /// Between two looks of the autoscaler.
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
            broadcast_topic: values.required("broadcastTopic", TOPIC, topic),
            logging_topic: values.required("loggingTopic", TOPIC, topic),
        };
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
        };
        values.finish();
        memcached
    }
}

impl Metrics {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let metrics = Self {
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
