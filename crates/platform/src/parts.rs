//! The parts of a platform that services depend on, by name.

use serde::{Deserialize, Serialize};

/// The name of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    Kafka,
    Memcached,
    Elasticsearch,
    Prometheus,
    Redis,
    /// A given etcd.
    Etcd,
    /// The members of the platform's own etcd, which fails only when two of them fail.
    Etcd01,
    Etcd02,
    Etcd03,
    Cassandra,
}

impl PartKind {
    pub const ALL: [Self; 10] = [
        Self::Kafka,
        Self::Memcached,
        Self::Elasticsearch,
        Self::Prometheus,
        Self::Redis,
        Self::Etcd,
        Self::Etcd01,
        Self::Etcd02,
        Self::Etcd03,
        Self::Cassandra,
    ];
    pub const ETCD_MEMBERS: [Self; 3] = [Self::Etcd01, Self::Etcd02, Self::Etcd03];

    /// As in `values.yaml` and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Memcached => "memcached",
            Self::Elasticsearch => "elasticsearch",
            Self::Prometheus => "prometheus",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
            Self::Etcd01 => "etcd01",
            Self::Etcd02 => "etcd02",
            Self::Etcd03 => "etcd03",
            Self::Cassandra => "cassandra",
        }
    }

    /// The name of the real program.
    pub fn program(self) -> &'static str {
        if Self::ETCD_MEMBERS.contains(&self) { Self::Etcd.name() } else { self.name() }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
