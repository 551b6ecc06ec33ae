//! What `values.yaml` says of the gateway.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    reader::Reader,
    service::{ENV_NAME, is_env_name},
};

/// `gateway:`; one gateway runs per node, as a DaemonSet does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub kind: GatewayKind,
    pub policy: Policy,
    /// Never exposed outside.
    pub admin_port: u16,
    pub listeners: Vec<Listener>,
    pub health: Health,
    pub connect_timeout: Duration,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many failures in a row take a replica out.
    pub fall: u32,
    /// So many successes in a row take it in again.
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
    const ALL: [Self; 4] = [Self::LeastRequest, Self::LeastRequestFullScan, Self::RoundRobin, Self::Random];

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
    const ALL: [Self; 2] = [Self::Tcp, Self::Udp];

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
        let gateway = Self {
            kind: choice(&mut values, "kind", &GatewayKind::ALL, GatewayKind::as_str),
            policy: choice(&mut values, "policy", &Policy::ALL, Policy::as_str),
            admin_port: values.port("adminPort"),
            listeners: values.tables("listeners").into_iter().map(Listener::read).collect(),
            health: Health::read(values.required_table("health")),
            connect_timeout: values.duration("connectTimeout"),
            max_connections: values.required("maxConnections", "a number from 1 to 1000000", |value| {
                value.as_f64().filter(|most| (1.0..=1e6).contains(most)).map(|most| most as u32)
            }),
            env: values.texts("env", is_env_name, ENV_NAME),
        };
        for (index, listener) in gateway.listeners.iter().enumerate() {
            let same = |other: &Listener| (other.port, other.protocol) == (listener.port, listener.protocol);
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
    fn read(mut values: Reader<'_>) -> Self {
        let name = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        let listener = Self {
            name: values.required("name", "a name", name),
            protocol: choice(&mut values, "protocol", &Protocol::ALL, Protocol::as_str),
            port: values.port("port"),
            service: values.required("service", "the name of a service", name),
        };
        values.finish();
        listener
    }
}

impl Health {
    fn read(mut values: Reader<'_>) -> Self {
        let health = Self {
            path: values.required("path", "a path that begins with /", |value| {
                value.as_str().filter(|path| path.starts_with('/')).map(str::to_owned)
            }),
            interval: values.duration("interval"),
            timeout: values.duration("timeout"),
            fall: values.integer("fall", 1..=100).unwrap_or(2),
            rise: values.integer("rise", 1..=100).unwrap_or(1),
        };
        values.finish();
        health
    }
}

/// One of several words.
fn choice<'a, T: Copy + Default>(
    values: &mut Reader<'a>,
    key: &'a str,
    all: &[T],
    word: impl Fn(T) -> &'static str,
) -> T {
    let words: Vec<_> = all.iter().map(|choice| word(*choice)).collect();
    values.required(key, &format!("one of {}", words.join(", ")), |value| {
        let text = value.as_str()?;
        all.iter().copied().find(|choice| word(*choice) == text)
    })
}
