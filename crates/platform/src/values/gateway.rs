//! What `values.yaml` says about the gateway.

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
            kind: choice(&mut values, "kind", &GatewayKind::ALL, GatewayKind::as_str, None),
            admin_port: values.port("adminPort"),
            listeners: values.tables("listeners").into_iter().map(listener).collect(),
            max_connections: values.required("maxConnections", "a number from 1 to 1000000", |value| {
                value.as_f64().filter(|most| (1.0..=1e6).contains(most)).map(|most| most as u32)
            }),
            env: values.texts("env", is_env_name, ENV_NAME),
            rules,
        };
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
        let name = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        let listener = Self {
            name: values.required("name", "a name", name),
            protocol: choice(&mut values, "protocol", &Protocol::ALL, Protocol::as_str, None),
            port: values.port("port"),
            service: values.required("service", "the name of a service", name),
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
        let never = "a duration such as 30s, or 0s for never";
        let stall_timeout = base.map(|base| base.stall_timeout.unwrap_or_default());
        let stall_timeout = with_base(values, "stallTimeout", never, stall_timeout, |value| {
            crate::duration::parse(value.as_str()?).ok()
        });
        Self {
            policy: choice(values, "policy", &Policy::ALL, Policy::as_str, base.map(|base| base.policy)),
            health: health.or_else(|| base.map(|base| base.health.clone())).unwrap_or_default(),
            connect_timeout: duration(values, "connectTimeout", base.map(|base| base.connect_timeout)),
            stall_timeout: Some(stall_timeout).filter(|timeout| !timeout.is_zero()),
            idle_timeout: duration(values, "idleTimeout", base.map(|base| base.idle_timeout)),
        }
    }
}

impl Health {
    fn read(mut values: Reader<'_>, base: Option<&Self>) -> Self {
        let path = |value: &Value| value.as_str().filter(|path| path.starts_with('/')).map(str::to_owned);
        let health = Self {
            path: with_base(
                &mut values,
                "path",
                "a path that begins with /",
                base.map(|base| base.path.clone()),
                path,
            ),
            interval: duration(&mut values, "interval", base.map(|base| base.interval)),
            timeout: duration(&mut values, "timeout", base.map(|base| base.timeout)),
            fall: values.integer("fall", 1..=100).unwrap_or(base.map_or(2, |base| base.fall)),
            rise: values.integer("rise", 1..=100).unwrap_or(base.map_or(1, |base| base.rise)),
        };
        values.finish();
        health
    }
}

fn duration<'a>(values: &mut Reader<'a>, key: &'a str, base: Option<Duration>) -> Duration {
    with_base(values, key, "a duration above zero, such as 7s or 1m30s", base, |value| {
        let read = crate::duration::parse(value.as_str()?).ok()?;
        (read >= Duration::from_millis(1)).then_some(read)
    })
}

/// One of several words.
fn choice<'a, T: Copy + Default>(
    values: &mut Reader<'a>,
    key: &'a str,
    all: &[T],
    word: impl Fn(T) -> &'static str,
    base: Option<T>,
) -> T {
    let words: Vec<_> = all.iter().map(|choice| word(*choice)).collect();
    with_base(values, key, &format!("one of {}", words.join(", ")), base, |value| {
        let text = value.as_str()?;
        all.iter().copied().find(|choice| word(*choice) == text)
    })
}

/// The value of `key`; if absent, `base`; if both are, a problem.
fn with_base<'a, T: Default>(
    values: &mut Reader<'a>,
    key: &'a str,
    expected: &str,
    base: Option<T>,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> T {
    match base {
        Some(base) => values.optional(key, expected, read).unwrap_or(base),
        None => values.required(key, expected, read),
    }
}
