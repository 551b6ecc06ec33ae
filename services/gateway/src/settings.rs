//! The gateway's settings, read from its environment.

mod http;
mod sources;

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use platform::values::Policy;
use service::kafka;
use service::settings::{Env, Host, Invalid, Reader, Setting, Variable};

pub use http::{HttpSettings, Route};

/// Open files not used for connections: listeners, polls, the admin port, health checks, pipes for bulk data.
const FILES_RESERVED: u64 = 256;

/// Default maximum number of connections per process.
const CONNECTIONS_MAX: u64 = 50_000;

/// Every variable, with its documentation.
pub mod variables {
    use service::kafka;
    use service::settings::Variable;
    pub use service::settings::common::ADMIN_HOST;

    pub const HOST: Variable =
        Variable::new("HOST", "127.0.0.1", "Address to listen on, unless LISTENERS is set.");
    pub const PROTOCOL: Variable = Variable::new(
        "PROTOCOL",
        "TCP",
        "What it forwards: TCP connections, UDP packets, or HTTP requests. One process forwards one of them.",
    );
    pub const PORT: Variable = Variable::optional(
        "PORT",
        "Port; 0 takes any free one. Unset: 10000 for TCP, 10001 for UDP, 8090 for HTTP.",
    );
    pub const ADMIN_PORT: Variable = Variable::new(
        "ADMIN_PORT",
        "20000",
        "Port of /healthz, /readyz, /metrics and /endpoints; 0 takes any free one.",
    );
    pub const LISTENERS: Variable = Variable::optional(
        "LISTENERS",
        "`stdin` takes listeners over standard input, a Unix socket, instead of binding HOST and PORT.",
    );
    pub const ENDPOINTS_FILE: Variable = Variable::optional(
        "ENDPOINTS_FILE",
        "JSON file of the replicas behind the gateway, replaced by renaming. This or ENDPOINTS_DNS must be set.",
    );
    pub const ENDPOINTS_DNS: Variable = Variable::optional(
        "ENDPOINTS_DNS",
        "NAME:PORT, as in tcp.playground.svc:40000: every address of the name (A and AAAA) is a replica at \
         that port. Instead of ENDPOINTS_FILE. With PROTOCOL=HTTP one for each service in ROUTES, as in \
         directory=directory.playground.svc:8080,stream=stream.playground.svc:8080.",
    );
    pub const DNS_REFRESH: Variable = Variable::new(
        "DNS_REFRESH",
        "1s",
        "Interval between look-ups of ENDPOINTS_DNS, regardless of its records' TTL.",
    );
    pub const DNS_SERVER: Variable = Variable::optional(
        "DNS_SERVER",
        "IP:PORT of the DNS server to query, with the name as it is. Unset: as /etc/resolv.conf says.",
    );
    pub const CLUSTER: Variable = Variable::optional(
        "CLUSTER",
        "The cluster of the endpoints file behind this gateway. Unset: tcp for TCP, udp for UDP; HTTP has ROUTES.",
    );
    pub const ROUTES: Variable = Variable::optional(
        "ROUTES",
        "HTTP only, and required there: PATH=SERVICE,… as in /main=directory,/=stream. A request goes to the \
         service of the longest path that equals or contains its own; the path is removed for the service. Without a match it gets 404. A \
         service is a cluster of the endpoints file or a name in ENDPOINTS_DNS.",
    );
    pub const STICKY_COOKIE: Variable = Variable::new(
        "STICKY_COOKIE",
        "route",
        "HTTP only: the cookie that keeps a client on its replicas, the same in all gateways. `none`: POLICY picks \
         a replica for each request.",
    );
    pub const HEAD_TIMEOUT: Variable = Variable::new(
        "HEAD_TIMEOUT",
        "10s",
        "HTTP only: how long a client may take to send the head of a request, and how long a connection may wait for \
         the next one.",
    );
    pub const POLICY: Variable = Variable::new(
        "POLICY",
        "least-request",
        "How a replica is chosen: least-request, least-request-full-scan, round-robin or random.",
    );
    pub const UPSTREAM_BIND: Variable = Variable::optional(
        "UPSTREAM_BIND",
        "Address that connections to replicas come from; unset lets the kernel choose.",
    );
    pub const MAX_CONNECTIONS: Variable = Variable::optional(
        "MAX_CONNECTIONS",
        "Maximum number of client connections; accepting pauses at the limit. Unset: min(50000, (open files - 256) / 2).",
    );
    pub const ACCEPT_RATE: Variable = Variable::new(
        "ACCEPT_RATE",
        "0",
        "New TCP connections accepted per second; the rest wait in the kernel's queue. 0: no limit.",
    );
    pub const MAX_SESSIONS: Variable = Variable::optional(
        "MAX_SESSIONS",
        "Maximum number of UDP sessions; at the limit the longest idle one is evicted. Unset: min(50000, open files - 256).",
    );
    pub const IDLE_TIMEOUT: Variable = Variable::new(
        "IDLE_TIMEOUT",
        "60s",
        "How long a UDP session lives without a packet from either side.",
    );
    pub const SESSIONS_FILE: Variable = Variable::optional(
        "SESSIONS_FILE",
        "File in which the gateways of a group record each UDP client's replica, so that clients keep theirs when the \
         group changes. Created if missing; unset: each gateway knows only its own sessions.",
    );
    pub const CIRCUIT_MAX_CONNECTIONS: Variable = Variable::new(
        "CIRCUIT_MAX_CONNECTIONS",
        "50000",
        "Maximum number of connections, sessions or requests per replica; a replica at the limit gets no more. If all are, a \
         connection is refused, and the longest idle UDP session is evicted.",
    );
    pub const CONNECT_TIMEOUT: Variable =
        Variable::new("CONNECT_TIMEOUT", "5s", "How long a connect to a replica may take.");
    pub const STALL_TIMEOUT: Variable = Variable::new(
        "STALL_TIMEOUT",
        "30s",
        "How long a client or replica may leave pending data unread before its session is reset; any \
         progress restarts the timer. 0: never, for services that must keep slow readers.",
    );
    pub const TUNNEL_TIMEOUT: Variable = Variable::new(
        "TUNNEL_TIMEOUT",
        "0",
        "How long a TCP or HTTP connection may carry nothing in either direction before it is closed, up to an eighth \
         longer. 0: forever; the service then decides how long a client may be silent.",
    );
    pub const HEALTH_INTERVAL: Variable =
        Variable::new("HEALTH_INTERVAL", "1s", "Interval between checks of a replica's /readyz.");
    pub const HEALTH_TIMEOUT: Variable =
        Variable::new("HEALTH_TIMEOUT", "1s", "How long a check may take before it counts as failed.");
    pub const HEALTH_PORT: Variable = Variable::new(
        "HEALTH_PORT",
        "9100",
        "Port of /readyz of replicas from ENDPOINTS_DNS; 0: they count as healthy. The endpoints file has its own.",
    );
    pub const HEALTH_FALL: Variable =
        Variable::new("HEALTH_FALL", "2", "Consecutive failed checks that make a replica unhealthy.");
    pub const HEALTH_RISE: Variable =
        Variable::new("HEALTH_RISE", "1", "Consecutive passed checks that make a replica healthy again.");
    pub const EJECT_FAILURES: Variable = Variable::new(
        "EJECT_FAILURES",
        "5",
        "Consecutive failed connects that eject a replica, never the last one; 0 ejects none.",
    );
    pub const EJECT_TIME: Variable = Variable::new("EJECT_TIME", "10s", "How long a replica stays ejected.");
    pub const DRAIN_TIMEOUT: Variable = Variable::new(
        "DRAIN_TIMEOUT",
        "60s",
        "How long connections, sessions and requests may continue after SIGTERM.",
    );
    pub const WORKERS: Variable =
        Variable::new("WORKERS", "1", "Event loops. More processes scale better than more loops in one.");

    pub const POD_NAME: Variable =
        Variable::optional("POD_NAME", "Name of this gateway in logs; the host's name if not set.");

    /// All variables, in the order of the documentation.
    pub const ALL: [&Variable; 39] = [
        &PROTOCOL,
        &HOST,
        &PORT,
        &ADMIN_HOST,
        &ADMIN_PORT,
        &LISTENERS,
        &ENDPOINTS_FILE,
        &CLUSTER,
        &ENDPOINTS_DNS,
        &DNS_REFRESH,
        &DNS_SERVER,
        &ROUTES,
        &STICKY_COOKIE,
        &HEAD_TIMEOUT,
        &POLICY,
        &UPSTREAM_BIND,
        &MAX_CONNECTIONS,
        &ACCEPT_RATE,
        &MAX_SESSIONS,
        &IDLE_TIMEOUT,
        &SESSIONS_FILE,
        &CIRCUIT_MAX_CONNECTIONS,
        &CONNECT_TIMEOUT,
        &STALL_TIMEOUT,
        &TUNNEL_TIMEOUT,
        &HEALTH_INTERVAL,
        &HEALTH_TIMEOUT,
        &HEALTH_PORT,
        &HEALTH_FALL,
        &HEALTH_RISE,
        &EJECT_FAILURES,
        &EJECT_TIME,
        &DRAIN_TIMEOUT,
        &WORKERS,
        &POD_NAME,
        &kafka::KAFKA_BROKERS,
        &kafka::KAFKA_LOGGING_TOPIC,
        &kafka::KAFKA_SASL_USER,
        &kafka::KAFKA_SASL_PASSWORD,
    ];
}

/// Where the listeners come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listeners {
    /// The gateway binds its address itself.
    Bind { host: Host, port: u16 },
    /// Handed over on standard input, a Unix socket; see [`service::handover`].
    Stdin,
}

/// The protocol to forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
    Http,
}

impl Setting for Protocol {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            "HTTP" => Ok(Self::Http),
            _ => Err("TCP, UDP or HTTP".into()),
        }
    }
}

/// A service behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub source: Source,
}

/// How the gateway learns which replicas exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The cluster of the service's name in an endpoints file.
    File(PathBuf),
    Dns(DnsSettings),
}

/// A name whose addresses are the replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsSettings {
    pub name: String,
    pub port: u16,
    /// The port of `/readyz` on each replica; `None`: replicas are not checked.
    pub health_port: Option<u16>,
    pub refresh: Duration,
    /// `None`: as `/etc/resolv.conf` says.
    pub server: Option<SocketAddr>,
}

/// Active health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSettings {
    pub interval: Duration,
    pub timeout: Duration,
    /// Consecutive failed checks that make a replica unhealthy.
    pub fall: NonZeroU32,
    /// Consecutive passed checks that make it healthy again.
    pub rise: NonZeroU32,
}

/// Settings for UDP only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSettings {
    /// None: as many as the limit on open files allows, see [`Settings::sessions_max`].
    pub sessions_max: Option<NonZeroUsize>,
    pub idle_timeout: Duration,
    /// Shared by the gateways of a group.
    pub sessions_file: Option<PathBuf>,
}

/// The gateway's settings. [`Settings::from_env`] reads them; [`variables`] documents them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub protocol: Protocol,
    pub listeners: Listeners,
    pub admin_host: Host,
    pub admin_port: u16,
    /// TCP and UDP have one, HTTP has those named by its routes.
    pub services: Vec<Service>,
    pub http: HttpSettings,
    pub policy: Policy,
    pub upstream_bind: Option<IpAddr>,
    /// None: as many as the limit on open files allows, see [`Settings::connections_max`].
    pub connections_max: Option<NonZeroUsize>,
    /// New TCP connections per second; `None`: no limit.
    pub accept_rate: Option<NonZeroU32>,
    pub udp: UdpSettings,
    /// Maximum number of connections to one replica.
    pub circuit_max: NonZeroUsize,
    pub connect_timeout: Duration,
    /// How long a side may leave pending data unread; `None`: forever.
    pub stall_timeout: Option<Duration>,
    /// Maximum silence of a connection; `None`: no limit.
    pub tunnel_timeout: Option<Duration>,
    pub health: HealthSettings,
    /// Consecutive failed connects that eject a replica; 0 ejects none.
    pub eject_failures: u32,
    pub eject_time: Duration,
    pub drain_timeout: Duration,
    pub workers: NonZeroUsize,
    /// This gateway's name in logs.
    pub pod_name: Option<String>,
    /// Where to send log lines in addition to stderr; `None`: nowhere.
    pub kafka: Option<kafka::Settings>,
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    /// Every bad value: the variable, its value and what was expected.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        use variables as v;
        let mut reader = Reader::new(env);
        let host: Host = reader.get(&v::HOST);
        let protocol: Protocol = reader.get(&v::PROTOCOL);
        let (port, cluster) = defaults(protocol);
        let port = reader.optional(&v::PORT).unwrap_or(port);
        let from_stdin = reader.optional(&v::LISTENERS).is_some_and(|FromStdin| true);
        let http = HttpSettings::read(&mut reader, protocol == Protocol::Http);
        let cluster = reader.optional(&v::CLUSTER).unwrap_or_else(|| cluster.to_owned());
        let names = if protocol == Protocol::Http { http.services() } else { vec![cluster] };
        let services = sources::read(&mut reader, names, protocol);
        let settings = Self {
            protocol,
            listeners: if from_stdin { Listeners::Stdin } else { Listeners::Bind { host, port } },
            admin_host: reader.get(&v::ADMIN_HOST),
            admin_port: reader.get(&v::ADMIN_PORT),
            services,
            http,
            policy: reader.get(&v::POLICY),
            upstream_bind: reader.optional(&v::UPSTREAM_BIND).map(|Host(address)| address),
            connections_max: reader.optional(&v::MAX_CONNECTIONS),
            accept_rate: NonZeroU32::new(reader.get(&v::ACCEPT_RATE)),
            udp: UdpSettings {
                sessions_max: reader.optional(&v::MAX_SESSIONS),
                idle_timeout: positive(&mut reader, &v::IDLE_TIMEOUT),
                sessions_file: reader.optional::<String>(&v::SESSIONS_FILE).map(PathBuf::from),
            },
            circuit_max: reader.get(&v::CIRCUIT_MAX_CONNECTIONS),
            connect_timeout: positive(&mut reader, &v::CONNECT_TIMEOUT),
            stall_timeout: Some(reader.duration(&v::STALL_TIMEOUT)).filter(|timeout| !timeout.is_zero()),
            tunnel_timeout: Some(reader.duration(&v::TUNNEL_TIMEOUT)).filter(|timeout| !timeout.is_zero()),
            health: HealthSettings {
                interval: positive(&mut reader, &v::HEALTH_INTERVAL),
                timeout: positive(&mut reader, &v::HEALTH_TIMEOUT),
                fall: threshold(&mut reader, &v::HEALTH_FALL),
                rise: threshold(&mut reader, &v::HEALTH_RISE),
            },
            eject_failures: reader.get(&v::EJECT_FAILURES),
            eject_time: positive(&mut reader, &v::EJECT_TIME),
            drain_timeout: reader.duration(&v::DRAIN_TIMEOUT),
            workers: reader.get(&v::WORKERS),
            pod_name: reader.optional(&v::POD_NAME),
            kafka: kafka::Settings::read(&mut reader),
        };
        reader.finish(settings)
    }

    /// Maximum number of client connections with this limit on open files. A proxied connection takes two.
    pub fn connections_max(&self, open_files: u64) -> usize {
        let fitting = (open_files.saturating_sub(FILES_RESERVED) / 2).clamp(1, CONNECTIONS_MAX);
        self.connections_max.map_or(fitting as usize, NonZeroUsize::get)
    }

    /// Interval between two accepts of one worker, if there is a rate.
    pub fn accept_interval(&self) -> Option<Duration> {
        let workers = u32::try_from(self.workers.get()).unwrap_or(u32::MAX);
        self.accept_rate.map(|rate| Duration::from_secs(1).saturating_mul(workers) / rate.get())
    }

    /// Maximum number of UDP sessions with this limit on open files. A session takes one.
    pub fn sessions_max(&self, open_files: u64) -> usize {
        let fitting = open_files.saturating_sub(FILES_RESERVED).clamp(1, CONNECTIONS_MAX);
        self.udp.sessions_max.map_or(fitting as usize, NonZeroUsize::get)
    }
}

/// The default port, and the default cluster of the endpoints file.
fn defaults(protocol: Protocol) -> (u16, &'static str) {
    match protocol {
        Protocol::Tcp => (10_000, "tcp"),
        Protocol::Udp => (10_001, "udp"),
        // Its routes determine its clusters.
        Protocol::Http => (8_090, ""),
    }
}

struct FromStdin;

impl Setting for FromStdin {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "stdin" { Ok(Self) } else { Err("stdin, or nothing".into()) }
    }
}

/// A duration that is not zero: an interval of zero would spin, a time-out of zero would fail everything.
fn positive(reader: &mut Reader<'_>, variable: &Variable) -> Duration {
    let duration = reader.duration(variable);
    if duration.is_zero() {
        reader.refuse(variable, "0", "a duration above 0");
    }
    duration
}

fn threshold(reader: &mut Reader<'_>, variable: &Variable) -> NonZeroU32 {
    NonZeroU32::new(reader.get(variable)).unwrap_or_else(|| {
        reader.refuse(variable, "0", "a whole number above 0");
        NonZeroU32::MIN
    })
}

#[cfg(test)]
mod tests;
