//! Where a platform runs, behind one trait: local processes, a Kubernetes cluster, virtual time.
//!
//! Calls block and use no runtime's types, so that engines that act on a platform (load, balancer) depend only on this
//! trait. Implementations that are asynchronous inside hide it.

mod balancing;
mod subject;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::Duration,
};

/// An autoscaler with everything that its next decision depends on.
pub use autoscale::explain::Case;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use balancing::{Balanced, Decided, Shed, Traffic};
pub use subject::{Pick, Subject, SubjectError};

use crate::{
    HostPort,
    event::Event,
    values::{SettingChange, Values},
};

/// A running (or not yet running) platform that can be acted upon.
pub trait Target: Send + Sync {
    /// Whether there is a platform to act upon.
    fn is_up(&self) -> Result<bool, TargetError>;
    /// Brings the platform to the desired state and waits until it is reached; a second call with the same changes nothing.
    ///
    /// `progress` may break off. If the platform was not up before, everything of it is then taken down again before
    /// this returns; on a platform that was up the change continues.
    fn apply(&self, wanted: Wanted<'_>, progress: &mut OnProgress<'_>) -> Result<Applied, TargetError>;
    /// Takes the platform down. `grace`: drain first, for as long as each service's grace period allows;
    /// otherwise at once. Either way it returns only once it has proved that nothing is left.
    fn teardown(&self, grace: bool) -> Result<(), TargetError>;
    /// The present state.
    fn snapshot(&self) -> Result<Snapshot, TargetError>;
    /// The platform's events, in order: those recorded since it came up, then live ones until it goes down.
    fn events(&self, from: EventsFrom) -> Result<EventStream, TargetError>;
    /// Sets the replicas of a service, as `kubectl scale` does. An autoscaler continues from there.
    fn scale(&self, service: &str, replicas: u32) -> Result<Scaled, TargetError>;
    /// Kills one replica or part without notice (SIGKILL). Unless `restart`, it stays dead until
    /// [`start`](Self::start).
    fn kill(&self, what: &Subject, restart: bool) -> Result<Killed, TargetError>;
    /// Stops a part or a service until [`start`](Self::start).
    fn stop(&self, what: &Subject) -> Result<Stopped, TargetError>;
    /// Starts what [`stop`](Self::stop) stopped or [`kill`](Self::kill) left dead.
    fn start(&self, what: &Subject) -> Result<Started, TargetError>;
    /// Tells one replica to end, as deleting its pod does: out of the endpoints at once, SIGTERM, and its grace
    /// period. The number of replicas stays, so that another one takes its place.
    fn drain(&self, what: &Subject) -> Result<Drained, TargetError>;
    /// Log lines, oldest first; with `follow` the stream continues until the platform goes down.
    fn logs(&self, query: &LogQuery) -> Result<LogStream, TargetError>;
    /// Where clients of `service` connect.
    fn endpoint(&self, service: &str) -> Result<Endpoint, TargetError>;
    /// The autoscaler of `service`, what it remembers, and what it would see if it looked now. An error if it has not
    /// looked yet.
    fn autoscaler(&self, service: &str) -> Result<Case, TargetError>;
    /// Adds a node, and waits until it takes replicas and what belongs on every node runs on it.
    fn add_node(&self) -> Result<NodeAdded, TargetError>;
    /// Takes a node away, drained first. `None`: the one that came last.
    fn remove_node(&self, name: Option<&str>) -> Result<NodeRemoved, TargetError>;
    /// What the controller of the autoscaler of `service` last wrote down; `None` where our engine is the controller.
    fn reported(&self, service: &str) -> Result<Option<Reported>, TargetError> {
        let _ = service;
        Ok(None)
    }
    /// Lets a replica take new connections, or none. What is so already stays so.
    fn set_traffic(&self, service: &str, replica: &str, traffic: Traffic) -> Result<(), TargetError> {
        let _ = (service, traffic);
        Err(balancing::unsupported(format_args!("setting the traffic of {replica}")))
    }
    /// Sets a replica's deletion cost: of several, the one with the lowest goes first. A new replica has 0.
    fn set_deletion_cost(&self, service: &str, replica: &str, cost: i32) -> Result<(), TargetError> {
        let _ = (service, cost);
        Err(balancing::unsupported(format_args!("setting the deletion cost of {replica}")))
    }
    /// Asks a replica's most idle connections to move; returns how many were asked. An order that comes twice is carried
    /// out once.
    fn shed(&self, service: &str, replica: &str, order: &Shed) -> Result<u64, TargetError> {
        let _ = (service, order);
        Err(balancing::unsupported(format_args!("shedding connections of {replica}")))
    }
    /// A replica's page of metrics, if only the target reaches it; `None`: anyone can ask at its address.
    fn metrics_page(&self, replica: &ReplicaSnapshot) -> Result<Option<String>, TargetError> {
        let _ = replica;
        Ok(None)
    }
    /// Has a balancer's decision told among the platform's events, where it has any.
    fn tell_balanced(&self, service: &str, balanced: &Balanced) -> Result<(), TargetError> {
        let _ = (service, balanced);
        Ok(())
    }
}

/// Nodes of a platform that makes its own, unless another number is wanted.
pub const NODES: u32 = 2;

/// The desired state of a platform.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub values: &'a Values,
    /// The chart that the values belong to; `None`: the built-in one.
    pub chart: Option<&'a Path>,
    /// How many nodes; `None`: those that there are, or [`NODES`] where the platform makes its own.
    pub nodes: Option<u32>,
}

/// What [`Target::apply`] tells while it waits.
#[derive(Debug)]
pub enum Progress<'a> {
    Event(&'a Event),
    /// Nothing has happened for a while; a chance to break off.
    Waiting,
}

/// Told of progress; may break off.
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// Asked again and again while a call waits for an answer, with how long that is; may break off.
pub type OnWait = Arc<dyn Fn(Duration) -> ControlFlow<()> + Send + Sync>;

/// Where clients of a service connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    At(HostPort),
    /// There is none yet, for a reason that may go away, such as a load balancer that has no address.
    NoneYet {
        why: String,
    },
}

/// A blocking stream of events.
pub type EventStream = Box<dyn Iterator<Item = Result<Event, TargetError>> + Send>;
/// A blocking stream of log lines.
pub type LogStream = Box<dyn Iterator<Item = Result<LogLine, TargetError>> + Send>;

/// Where a stream of events begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventsFrom {
    /// With the first event since the platform came up.
    Start,
    /// With the next event. Before it, the events that describe the present state are repeated: `PlatformStarted`, and
    /// the last `EndpointsChanged` of each service.
    Now,
    /// With the event of this sequence number.
    Seq(u64),
}

/// What an `apply` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// One line per change, in words; empty when nothing had to change.
    pub changes: Vec<String>,
    /// Which settings changed, on a running platform.
    #[serde(default)]
    pub settings: Vec<SettingChange>,
    /// How long it took until everything was ready.
    #[serde(rename = "took_ms", with = "crate::duration::ms")]
    #[schemars(with = "u64")]
    pub took: Duration,
}

/// What a `scale` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scaled {
    pub from: u32,
    pub to: u32,
    /// `Some((min, max))` when an autoscaler owns the service and continues from the new number.
    pub autoscaled: Option<(u32, u32)>,
}

/// What a `kill` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Killed {
    pub replica: String,
    /// Known if the target's processes are this machine's.
    pub pid: Option<u32>,
    /// It had already been told to end and was draining.
    pub draining: bool,
    /// Another replica with another name replaces it at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
    /// When it restarts; `None`: never.
    #[serde(rename = "restart_in_ms", with = "crate::duration::optional_ms")]
    #[schemars(with = "Option<u64>")]
    pub restart_in: Option<Duration>,
}

/// What a `stop` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// The service or part.
    pub name: String,
    /// False: it was already stopped.
    pub was_running: bool,
}

/// What a `start` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The service, part or replica.
    pub name: String,
    /// False: it was already running.
    pub was_stopped: bool,
}

/// What a `drain` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drained {
    pub replica: String,
    /// Connections that it holds; `None` if clients do not connect to it.
    pub connections: Option<u64>,
    /// From SIGTERM to SIGKILL.
    #[serde(rename = "grace_ms", with = "crate::duration::ms")]
    #[schemars(with = "u64")]
    pub grace: Duration,
}

/// What an `add_node` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeAdded {
    pub name: String,
    /// How many there are now.
    pub nodes: u32,
    /// The per-node parts that run on it: gateways, a cluster's `DaemonSet` pods.
    pub follows: Vec<String>,
}

/// What a `remove_node` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeRemoved {
    pub name: String,
    /// How many are left.
    pub nodes: u32,
}

/// The state of a platform at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    pub platform: String,
    /// `local`, `cluster` or `simulated`.
    pub target: String,
    /// Since when it is up; absent where that cannot be seen.
    pub since: Option<jiff::Timestamp>,
    pub nodes: u32,
    /// The nodes one by one.
    #[serde(default)]
    pub node_list: Vec<NodeSnapshot>,
    /// Services in the order of `values.yaml`.
    pub services: Vec<ServiceSnapshot>,
    /// What the services depend on: Kafka, memcached, gateways….
    pub parts: Vec<PartSnapshot>,
    /// When the autoscalers sync next.
    #[serde(default)]
    pub next_sync: Option<jiff::Timestamp>,
    /// What does not work at the moment, in words, such as endpoints that cannot be written.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// A machine, or a simulated one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSnapshot {
    pub name: String,
    /// Its replicas can run.
    pub ready: bool,
    /// It takes new replicas: it is not cordoned.
    pub schedulable: bool,
    /// What it has for replicas, in cores; absent where nodes share the machine.
    pub cpu_cores: Option<f64>,
    /// What it has for replicas, in bytes; absent where nodes share the machine.
    pub memory_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSnapshot {
    pub name: String,
    /// Where clients connect (the gateway), if the service is exposed and has an address by now.
    pub endpoint: Option<HostPort>,
    /// Where clients reach it behind the port of another service: host, port and path, such as `127.77.0.1:8090/main`.
    #[serde(default)]
    pub route: Option<String>,
    pub desired: u32,
    /// Stopped by hand: no replica runs until it is started again, whatever is desired.
    #[serde(default)]
    pub stopped: bool,
    /// `desired` was set by hand, and neither the autoscaler nor a balancer has changed it since.
    #[serde(default)]
    pub set_by_hand: bool,
    /// How many of the desired replicas have no room yet.
    #[serde(default)]
    pub pending: u32,
    /// Notes on how it runs, in words.
    #[serde(default)]
    pub remark: Option<String>,
    /// What a balancer last ordered, if it has ordered anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced: Option<Decided>,
    pub replicas: Vec<ReplicaSnapshot>,
    pub autoscaler: Option<AutoscalerSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaSnapshot {
    pub name: String,
    /// Absent while no node has taken it.
    pub node: Option<String>,
    /// Where the service listens; absent while it has no address.
    pub address: Option<HostPort>,
    /// Where it answers probes and `GET /metrics`, on the same host. `None`: unreported.
    #[serde(default)]
    pub admin_port: Option<u16>,
    /// Known if the target's processes are this machine's.
    pub pid: Option<u32>,
    /// When its current process was started.
    #[serde(default)]
    pub started: Option<jiff::Timestamp>,
    /// What the service calls itself (`tcp`: its answer to `WHERE`); it changes with every start.
    pub server_id: Option<uuid::Uuid>,
    pub phase: ReplicaPhase,
    /// Why it is in this phase, in words, if more is known than the phase says.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it entered this phase.
    pub since: jiff::Timestamp,
    /// Whether it takes new connections, once it is ready.
    #[serde(default, skip_serializing_if = "Traffic::is_active")]
    pub traffic: Traffic,
    /// Of several, the one with the lowest goes first.
    #[serde(default, skip_serializing_if = "balancing::is_zero")]
    pub deletion_cost: i32,
    pub restarts: u32,
    /// Established connections at the last scrape, as the kernel counts them.
    pub connections: Option<u64>,
    /// Packets received per second over the metrics' window, as the service itself counts them (`udp`).
    #[serde(default)]
    pub packets_per_second: Option<f64>,
    /// Packets received so far, as the service itself counts them (`udp`).
    #[serde(default)]
    pub packets_received: Option<u64>,
    /// CPU in cores, over the last scrape interval.
    pub cpu_cores: Option<f64>,
    /// Resident memory in bytes.
    pub memory_bytes: Option<u64>,
}

impl ReplicaSnapshot {
    /// Where it listens, if that takes no lookup.
    pub fn socket(&self) -> Option<SocketAddr> {
        self.address.as_ref()?.socket()
    }
}

/// A replica's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaPhase {
    Starting,
    Ready,
    /// It ran, but its probe fails: out of the endpoints.
    Unready,
    /// Told to end: out of the endpoints, finishing its connections.
    Draining,
    /// Died; waits for its next start.
    BackOff,
    /// Killed with "no restart".
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AutoscalerSnapshot {
    pub min: u32,
    pub max: u32,
    pub current: u32,
    pub desired: u32,
    /// The metrics as last seen, one line each, such as `tcp_state_established 4,210 of 5k per pod`.
    pub metrics: Vec<String>,
    /// The same as numbers.
    #[serde(default)]
    pub values: Vec<crate::event::MetricProposal>,
    /// The last decision in words.
    pub reason: String,
    pub last_scale: Option<jiff::Timestamp>,
}

/// What an autoscaler's controller recorded about its last decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reported {
    pub current: u32,
    pub desired: u32,
    pub last_scale: Option<jiff::Timestamp>,
    /// The metrics as it saw them, one line each.
    pub metrics: Vec<String>,
    /// `type` to `[status, reason, message]`.
    pub conditions: BTreeMap<String, [String; 3]>,
    /// The metrics that we cannot read as the controller does, and why.
    pub unread: Vec<String>,
}

/// What gateways and their log lines are called; the name of each one begins with it.
pub const GATEWAY: &str = "gateway";

/// A part of the platform that is not a replica of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartSnapshot {
    /// `kafka`, `memcached`, `gateway-node-0`….
    pub name: String,
    /// Where it comes from.
    pub origin: PartOrigin,
    /// Reported version; for embedded parts usually playctl's own. `None` if unreported.
    #[serde(default)]
    pub version: Option<String>,
    pub address: Option<String>,
    /// Limits and place in words, such as `in memory, 5 MiB per partition`.
    pub detail: String,
    pub healthy: bool,
    /// How often it was restarted after it died.
    #[serde(default)]
    pub restarts: u32,
    pub pid: Option<u32>,
    /// Of a gateway: from which address it connects to replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connects_from: Option<IpAddr>,
    /// Of a gateway: established connections to replicas, as the kernel counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
}

impl PartSnapshot {
    pub fn is_gateway(&self) -> bool {
        self.name.starts_with(GATEWAY)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartOrigin {
    /// A part of this program.
    Embedded,
    /// A program of this machine that the platform started.
    Found,
    /// It was already running; the values have its address.
    Given,
    /// The platform's chart installed it in the cluster.
    Installed,
}

/// Which log lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    pub service: Option<String>,
    pub replica: Option<String>,
    /// Only lines from this time on.
    pub since: Option<jiff::Timestamp>,
    /// Only lines with this text in them.
    pub text: Option<String>,
    /// Only this many lines: the last that match.
    pub tail: Option<usize>,
    pub follow: bool,
}

/// One line that a replica, or a part, wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When it was written, or arrived from its writer.
    pub time: jiff::Timestamp,
    pub replica: String,
    /// As it was written, without its line end.
    pub text: String,
}

/// Why a target could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetError {
    /// There is no such platform, or it is not running.
    #[error("platform {platform} is not running; start it with: playctl up")]
    NotRunning { platform: String },
    #[error("there is no {service} on this platform{}; it has: {}", written_in_full(service, known), known.join(", "))]
    UnknownService { service: String, known: Vec<String> },
    #[error("{service} has no replica {replica}; it has: {}", known.join(", "))]
    UnknownReplica { service: String, replica: String, known: Vec<String> },
    /// The request makes no sense: a usage error.
    #[error("{message}")]
    Invalid { message: String },
    #[error("{message}")]
    BringUp { message: String },
    #[error("{}", left_message(left))]
    TeardownLeft { left: Vec<String> },
    /// What keeps the platform up is there and does not answer.
    #[error("{message}")]
    NoAnswer { message: String },
    /// What is in the way passes by itself: the same request may succeed in a moment.
    #[error("{message}")]
    Temporary { message: String },
    #[error("{message}")]
    Other { message: String },
    /// The caller did not want to wait any longer.
    #[error("interrupted")]
    Interrupted,
    /// The target cannot do this, for a reason that will not go away.
    #[error("{what} is not possible here: {why}")]
    Unsupported { what: String, why: String },
}

impl TargetError {
    pub fn other(error: impl fmt::Display) -> Self {
        Self::Other { message: error.to_string() }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Temporary { .. })
    }

    /// The exit code that belongs to this error, see [`crate::exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownService { .. } | Self::UnknownReplica { .. } | Self::Invalid { .. } => {
                crate::exit::USAGE
            }
            Self::BringUp { .. } => crate::exit::BRING_UP_FAILED,
            Self::TeardownLeft { .. } => crate::exit::TEARDOWN_LEFT_SOMETHING,
            Self::Interrupted => crate::exit::INTERRUPTED,
            Self::NotRunning { .. }
            | Self::NoAnswer { .. }
            | Self::Temporary { .. }
            | Self::Other { .. }
            | Self::Unsupported { .. } => crate::exit::FAILED,
        }
    }
}

/// How a replica's name is written where one of its service alone was given.
fn written_in_full(name: &str, known: &[String]) -> String {
    let is_of =
        |service: &&String| name.strip_prefix(service.as_str()).is_some_and(|rest| rest.starts_with('-'));
    let service = known.iter().filter(is_of).max_by_key(|service| service.len());
    service.map(|service| format!("; the replica is written {service}/{name}")).unwrap_or_default()
}

fn left_message(left: &[String]) -> String {
    format!("taken down, but this is left: {}", left.join("; "))
}

/// Values by replica name.
pub type ByReplica<T> = BTreeMap<String, T>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_without_its_service_gets_the_full_name_as_a_hint() {
        let known: Vec<String> = ["ws", "ws-client", "stream", "gateway"].map(String::from).to_vec();
        let told = |name: &str| {
            TargetError::UnknownService { service: name.to_owned(), known: known.clone() }.to_string()
        };
        let all = "it has: ws, ws-client, stream, gateway";
        for (name, full) in [
            ("stream-0", "stream/stream-0"),
            ("ws-client-1", "ws-client/ws-client-1"),
            ("ws-7d9f-x2x1p", "ws/ws-7d9f-x2x1p"),
            ("gateway-node-0", "gateway/gateway-node-0"),
        ] {
            let expected =
                format!("there is no {name} on this platform; the replica is written {full}; {all}");
            assert_eq!(told(name), expected);
        }
        for name in ["streams", "strea", "-0", ""] {
            assert_eq!(told(name), format!("there is no {name} on this platform; {all}"));
        }
    }
}
