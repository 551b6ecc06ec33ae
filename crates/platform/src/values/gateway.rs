//! What `values.yaml` says about the gateway.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{chart, reader::Reader, rule, service::variable};
use crate::services::ServiceKind;

/// `gateway:`; one gateway runs per node, as a DaemonSet does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub kind: GatewayKind,
    /// Never exposed outside.
    pub admin_port: u16,
    pub listeners: Vec<Listener>,
    /// The default for listeners.
    pub rules: Rules,
    /// Most connections of one gateway process, and most to one replica (the circuit breaker).
    pub max_connections: u32,
    /// Environment of the embedded gateway, for settings that have no key here.
    pub env: BTreeMap<String, String>,
}

/// Which program is the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GatewayKind {
    /// The embedded one.
    #[default]
    Playctl,
    Envoy,
    Haproxy,
}

/// How a replica is chosen for a new connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// The emptier of two drawn at random, as Envoy does.
    #[default]
    LeastRequest,
    /// The emptiest of all.
    LeastRequestFullScan,
    RoundRobin,
    Random,
}

/// A port of the gateway and the service behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub service: String,
    pub rules: Rules,
}

/// How a listener treats its clients and replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub policy: Policy,
    pub health: Health,
    pub connect_timeout: Duration,
    /// How long a side may leave waiting data unread; `None`: for ever.
    pub stall_timeout: Option<Duration>,
    /// How long a UDP session lives without a packet.
    pub idle_timeout: Duration,
    /// How long a TCP connection may carry nothing in either direction; `None`: for ever.
    pub tunnel_timeout: Option<Duration>,
}

/// What is spoken with clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    /// As it is written before an address (`udp://127.0.0.1:10001`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(format!("`{text}` is neither tcp nor udp")),
        }
    }
}

/// Active health checks: `GET path` on each replica's admin port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// How many failures in a row take a replica out.
    pub fall: u32,
    /// How many successes in a row bring it back.
    pub rise: u32,
}

impl GatewayKind {
    const ALL: [Self; 3] = [Self::Playctl, Self::Envoy, Self::Haproxy];

    /// As written in values and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Playctl => "playctl",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
        }
    }
}

impl Policy {
    pub const ALL: [Self; 4] =
        [Self::LeastRequest, Self::LeastRequestFullScan, Self::RoundRobin, Self::Random];

    /// As written in values and in the gateway's environment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastRequest => "least-request",
            Self::LeastRequestFullScan => "least-request-full-scan",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
        }
    }

    /// As printed in a time line.
    pub fn words(self) -> &'static str {
        match self {
            Self::LeastRequest => "least request",
            Self::LeastRequestFullScan => "least request of all",
            Self::RoundRobin => "round robin",
            Self::Random => "random",
        }
    }
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

impl Gateway {
    pub(super) fn read(mut values: Reader<'_>) -> Self {
        let rules = Rules::read(&mut values, None);
        let listener = |listener| Listener::read(listener, &rules);
        let gateway = Self {
            kind: values.required("kind", rule::choice(&GatewayKind::ALL, GatewayKind::as_str)),
            admin_port: values.port("adminPort"),
            listeners: values.tables("listeners").into_iter().map(listener).collect(),
            max_connections: values.required("maxConnections", rule::integer(1..=1_000_000)),
            env: values.texts("env", &variable()),
            rules,
        };
        chart::resources(&mut values);
        for (index, listener) in gateway.listeners.iter().enumerate() {
            // Port 0 stands in for one that was reported already.
            let same = |other: &Listener| {
                listener.port != 0 && (other.port, other.protocol) == (listener.port, listener.protocol)
            };
            if gateway.listeners[..index].iter().any(same) {
                let key = format!("{}[{index}].port", values.path_of("listeners"));
                let expected = format!("a {} port that no other listener has", listener.protocol.as_str());
                values.problems().add(key, Some(&listener.port.into()), &expected);
            }
        }
        values.finish();
        gateway
    }
}

impl Listener {
    fn read(mut values: Reader<'_>, rules: &Rules) -> Self {
        let services = rule::choice(&ServiceKind::ALL, ServiceKind::name);
        let listener = Self {
            name: values.required("name", rule::name("a name")),
            protocol: values.required("protocol", rule::choice(&Protocol::ALL, Protocol::as_str)),
            port: values.port("port"),
            service: values.required("service", services.map(|kind| kind.name().to_owned())),
            rules: Rules::read(&mut values, Some(rules)),
        };
        values.finish();
        listener
    }
}

impl Rules {
    /// Absent keys are taken from `base`; without a `base` they are problems.
    fn read(values: &mut Reader<'_>, base: Option<&Self>) -> Self {
        let health = match base {
            None => Some(values.required_table("health")),
            Some(_) => values.table("health"),
        };
        let health = health.map(|health| Health::read(health, base.map(|base| &base.health)));
        let health = health.or_else(|| base.map(|base| base.health.clone())).unwrap_or_default();
        let policy = base.map(|base| base.policy);
        let mut or_never = |key, base: Option<Option<Duration>>| {
            let never = rule::duration_or_zero("a duration such as 30s, or 0s for never");
            let timeout = values.with_base(key, base.map(Option::unwrap_or_default), never);
            Some(timeout).filter(|timeout| !timeout.is_zero())
        };
        let stall_timeout = or_never("stallTimeout", base.map(|base| base.stall_timeout));
        // A chart from before there was one has none.
        let tunnel_timeout = or_never("tunnelTimeout", Some(base.and_then(|base| base.tunnel_timeout)));
        let base = |of: fn(&Self) -> Duration| base.map(of);
        Self {
            policy: values.with_base("policy", policy, rule::choice(&Policy::ALL, Policy::as_str)),
            health,
            connect_timeout: values.with_base(
                "connectTimeout",
                base(|base| base.connect_timeout),
                rule::duration(),
            ),
            stall_timeout,
            idle_timeout: values.with_base("idleTimeout", base(|base| base.idle_timeout), rule::duration()),
            tunnel_timeout,
        }
    }
}

impl Health {
    fn read(mut values: Reader<'_>, base: Option<&Self>) -> Self {
        let health = Self {
            path: values.with_base("path", base.map(|base| base.path.clone()), rule::path()),
            interval: values.with_base("interval", base.map(|base| base.interval), rule::duration()),
            timeout: values.with_base("timeout", base.map(|base| base.timeout), rule::duration()),
            fall: values.integer("fall", 1..=100).unwrap_or(base.map_or(2, |base| base.fall)),
            rise: values.integer("rise", 1..=100).unwrap_or(base.map_or(1, |base| base.rise)),
        };
        values.finish();
        health
    }
}
