//! What `values.yaml` says about the gateway.

use std::{collections::BTreeMap, time::Duration};

use super::{chart, reader::Reader, rule, service::variable};
use crate::{protocol::Protocol, services::ServiceKind};

/// What every program that can be the gateway reads as the path that it is: nothing encoded, nothing that a pattern
/// would read as more than itself.
const ROUTE: &str = "^(/[A-Za-z0-9_~-]+)+$";
const COOKIE: &str = "^[A-Za-z0-9_-]{0,64}$";

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
    /// What its port takes; HTTP comes over TCP.
    pub protocol: Protocol,
    pub port: u16,
    /// With [`Listener::http`], the one that gets what no route has.
    pub service: String,
    /// `None`: connections and packets are carried as they are.
    pub http: Option<Http>,
    pub rules: Rules,
}

/// How a listener treats HTTP requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Paths differ.
    pub routes: Vec<Route>,
    /// The cookie that keeps a client with its replicas.
    pub sticky_cookie: Option<String>,
}

/// What goes to a service of its own, which does not see the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub path: String,
    pub service: String,
}

/// What a listener speaks, as values have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Spoken {
    #[default]
    Tcp,
    Udp,
    Http,
}

impl Spoken {
    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Http];

    fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Http => "HTTP",
        }
    }

    fn transport(self) -> Protocol {
        match self {
            Self::Tcp | Self::Http => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
        }
    }
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
        chart::ingress(&mut values);
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
        let spoken = values.required("protocol", rule::choice(&Spoken::ALL, Spoken::as_str));
        let listener = Self {
            name: values.required("name", rule::name("a name")),
            protocol: spoken.transport(),
            port: values.port("port"),
            service: values.required("service", service()),
            http: Http::read(&mut values, spoken == Spoken::Http),
            rules: Rules::read(&mut values, Some(rules)),
        };
        values.finish();
        listener
    }

    /// As values and the gateway's environment call it.
    pub fn spoken(&self) -> &'static str {
        if self.http.is_some() { Spoken::Http.as_str() } else { self.protocol.as_str() }
    }

    /// The services behind it, each once; the first is the one without a route.
    pub fn services(&self) -> Vec<&str> {
        let mut services = vec![self.service.as_str()];
        for route in self.http.iter().flat_map(|http| &http.routes) {
            if !services.contains(&route.service.as_str()) {
                services.push(&route.service);
            }
        }
        services
    }
}

impl Http {
    /// `None` if the listener does not speak HTTP; then its keys are problems.
    fn read(values: &mut Reader<'_>, is_spoken: bool) -> Option<Self> {
        let path = values.path_of("routes");
        let routes: Vec<Route> = values.tables("routes").into_iter().map(Route::read).collect();
        let cookie = values.optional("stickyCookie", rule::matching("a cookie's name, or nothing", COOKIE));
        if !is_spoken {
            let expected = "protocol HTTP beside it";
            if !routes.is_empty() {
                values.problems().add(path, None, expected);
            }
            if let Some(cookie) = cookie {
                values.problems().add(values.path_of("stickyCookie"), Some(&cookie.into()), expected);
            }
            return None;
        }
        for (index, route) in routes.iter().enumerate() {
            // No path stands in for one that was reported already.
            if !route.path.is_empty() && routes[..index].iter().any(|other| other.path == route.path) {
                let key = format!("{path}[{index}].path");
                values.problems().add(
                    key,
                    Some(&route.path.clone().into()),
                    "a path that no other route has",
                );
            }
        }
        let sticky_cookie = Some(cookie.unwrap_or_else(|| "route".to_owned()));
        Some(Self { routes, sticky_cookie: sticky_cookie.filter(|cookie| !cookie.is_empty()) })
    }
}

impl Route {
    fn read(mut values: Reader<'_>) -> Self {
        let expected = "a path such as /main, without a / at its end";
        let route = Self {
            path: values.required("path", rule::matching(expected, ROUTE)),
            service: values.required("service", service()),
        };
        values.finish();
        route
    }
}

fn service() -> rule::Rule<String> {
    rule::choice(&ServiceKind::ALL, ServiceKind::name).map(|kind| kind.name().to_owned())
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
