//! The table of services: one row each, read by everything that needs to know about a service.
//!
//! Adding a service means adding a variant to [`ServiceKind`] and a row to [`ServiceKind::row`]; every `match` on the
//! kind (`playctl serve`, the metrics pipeline) then fails to compile until it handles the new one.

use std::fmt;

use crate::protocol::Protocol;

/// The services of the platform, in the order of `values.yaml`.
///
/// The order is part of the contract: a service's place in it is the third byte of its replicas' loopback addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    Tcp,
    Udp,
    Ws,
    Stream,
    Directory,
    Logger,
    WsClient,
    Balancer,
    Profiles,
    Page,
}

/// What is known about a service before any values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its key in `values.yaml` and its word on the command line.
    pub name: &'static str,
    /// What its clients speak.
    pub transport: Protocol,
    /// Whether clients connect to it; a service without clients only has its admin port.
    pub has_clients: bool,
    /// The custom metric (`Pods`) by which it is autoscaled, and what is counted for it.
    pub metric: Option<PodsMetric>,
    /// Whether its replicas obey orders to shed connections.
    pub sheds: bool,
    /// What it connects to besides Kafka, memcached and Elasticsearch.
    pub backends: &'static [Backend],
}

/// A server or service that some services connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Redis,
    Etcd,
    Cassandra,
    /// `ws`, through the gateway.
    Ws,
    /// `profiles`, through the gateway.
    Profiles,
}

/// A custom metric that autoscalers of this platform can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodsMetric {
    /// Established connections, the maximum over the metrics' window.
    Connections,
    /// Packets received per second, the rate over the metrics' window.
    Packets,
    /// Sessions, as many as there were at the last scrape.
    Sessions,
    /// Open streams, as many as there were at the last scrape.
    Users,
}

impl PodsMetric {
    pub const ALL: [Self; 4] = [Self::Connections, Self::Packets, Self::Sessions, Self::Users];

    /// As an HPA names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "tcp_state_established",
            Self::Packets => "udp_packets_received",
            Self::Sessions => "ws_sessions",
            Self::Users => "users",
        }
    }

    /// The series that it is read from on the service's own `/metrics`; `None`: the kernel counts it.
    pub fn series(self) -> Option<&'static str> {
        match self {
            Self::Connections => None,
            Self::Packets => Some("udp_packets_received_total"),
            Self::Sessions => Some("ws_sessions"),
            Self::Users => Some("users"),
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

impl ServiceKind {
    pub const ALL: [Self; 10] = [
        Self::Tcp,
        Self::Udp,
        Self::Ws,
        Self::Stream,
        Self::Directory,
        Self::Logger,
        Self::WsClient,
        Self::Balancer,
        Self::Profiles,
        Self::Page,
    ];

    pub fn row(self) -> ServiceRow {
        match self {
            Self::Tcp => ServiceRow {
                name: "tcp",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: Some(PodsMetric::Connections),
                sheds: true,
                backends: &[Backend::Etcd],
            },
            Self::Udp => ServiceRow {
                name: "udp",
                transport: Protocol::Udp,
                has_clients: true,
                metric: Some(PodsMetric::Packets),
                sheds: false,
                backends: &[],
            },
            Self::Ws => ServiceRow {
                name: "ws",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: Some(PodsMetric::Sessions),
                sheds: true,
                backends: &[Backend::Redis],
            },
            Self::Stream => ServiceRow {
                name: "stream",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: Some(PodsMetric::Users),
                sheds: true,
                backends: &[Backend::Redis, Backend::Profiles],
            },
            Self::Directory => ServiceRow {
                name: "directory",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: None,
                sheds: false,
                backends: &[Backend::Redis, Backend::Profiles],
            },
            Self::Logger => ServiceRow {
                name: "logger",
                transport: Protocol::Tcp,
                has_clients: false,
                metric: None,
                sheds: false,
                backends: &[],
            },
            Self::WsClient => ServiceRow {
                name: "ws-client",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: None,
                sheds: false,
                backends: &[Backend::Ws],
            },
            Self::Balancer => ServiceRow {
                name: "balancer",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: None,
                sheds: false,
                backends: &[Backend::Redis],
            },
            Self::Profiles => ServiceRow {
                name: "profiles",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: None,
                sheds: false,
                backends: &[Backend::Cassandra],
            },
            Self::Page => ServiceRow {
                name: "page",
                transport: Protocol::Tcp,
                has_clients: true,
                metric: None,
                sheds: false,
                backends: &[],
            },
        }
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The gauge of its clients on a replica's own `/metrics`, if it has one.
    pub fn gauge(self) -> Option<&'static str> {
        match self {
            Self::Tcp => Some("tcp_connections"),
            Self::Ws => PodsMetric::Sessions.series(),
            Self::Stream => PodsMetric::Users.series(),
            _ => None,
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub fn connects_to(self, backend: Backend) -> bool {
        self.row().backends.contains(&backend)
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_follows_the_enum_and_names_parse_back() {
        assert!(ServiceKind::ALL.is_sorted());
        for kind in ServiceKind::ALL {
            assert_eq!(ServiceKind::by_name(kind.name()), Some(kind));
        }
        assert_eq!(ServiceKind::by_name("tpc"), None);
    }

    #[test]
    fn every_metric_of_a_service_has_a_name_that_parses_back() {
        for metric in ServiceKind::ALL.into_iter().filter_map(|kind| kind.row().metric) {
            assert_eq!(PodsMetric::by_name(metric.name()), Some(metric));
        }
    }
}
