//! What can happen.

use std::{collections::BTreeMap, net::SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LoadPlan, LoadSummary, LoadTick};
use crate::{HostPort, target::Traffic};

/// The kinds of events, by the field `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
#[expect(
    clippy::large_enum_variant,
    reason = "events are few and short-lived; a box would only burden readers"
)]
#[non_exhaustive]
pub enum EventKind {
    // === the platform ===
    /// Bring-up began.
    PlatformStarted {
        platform: String,
        /// Where: `this machine`, a cluster's context, `virtual time`.
        target: String,
        nodes: u32,
        gateway: GatewayInfo,
        services: Vec<ServiceInfo>,
    },
    /// A part (embedded Kafka, a gateway, …) is up.
    PartReady {
        part: String,
        detail: String,
        after_ms: u64,
    },
    /// A part has ended as requested: it was stopped or replaced. `after_ms`: since it was told to end.
    PartStopped {
        part: String,
        after_ms: u64,
    },
    /// Everything is ready.
    PlatformReady {
        platform: String,
        after_ms: u64,
    },
    /// Teardown began.
    PlatformStopping {
        platform: String,
        grace: bool,
    },
    /// Nothing is left.
    PlatformStopped {
        platform: String,
    },

    // === replicas ===
    PodStarting {
        service: String,
        pod: String,
        node: String,
        restarts: u32,
    },
    PodReady {
        service: String,
        pod: String,
        after_ms: u64,
    },
    /// The readiness probe of a ready replica failed.
    PodUnready {
        service: String,
        pod: String,
        reason: String,
    },
    /// A replica was told to end. `connections`: how many it holds.
    PodDraining {
        service: String,
        pod: String,
        connections: Option<u64>,
    },
    /// A replica ended as requested. `after_ms`: since it was told to end; `forced`: the grace period ran out.
    PodGone {
        service: String,
        pod: String,
        after_ms: u64,
        forced: bool,
    },
    /// A replica ended unasked or was killed. `restart_in_ms`: kubelet's back-off; absent: it will not
    /// restart.
    PodCrashed {
        service: String,
        pod: String,
        exit: String,
        restart_in_ms: Option<u64>,
    },
    /// The gateways have new endpoints.
    EndpointsChanged {
        service: String,
        ready: Vec<String>,
        draining: Vec<String>,
    },

    /// A replica stops taking new connections and keeps existing ones, or takes new ones again.
    TrafficChanged {
        service: String,
        pod: String,
        traffic: Traffic,
    },
    /// A balancer decided something. `orders`: what it ordered, one line each.
    Balanced {
        service: String,
        orders: Vec<String>,
        /// In words.
        reason: String,
    },

    /// A node joined, left, or changed its state. `reason`: why it is not ready.
    NodeChanged {
        node: String,
        state: NodeState,
        reason: String,
    },

    // === metrics and autoscaling ===
    /// One scrape: values per replica, in milli-units (5,000 connections = 5,000,000).
    MetricScraped {
        service: String,
        metric: String,
        values_milli: BTreeMap<String, i64>,
    },
    /// A metric's average crossed the threshold at which the autoscaler acts, in either direction.
    MetricCrossed {
        service: String,
        metric: String,
        /// Per replica, milli-units.
        average_milli: i64,
        target_milli: i64,
        /// True: now above target + tolerance; false: no longer.
        above: bool,
        /// When the autoscaler syncs next, ms since the run began.
        next_sync_ms: u64,
        /// Where the autoscaler acted before anybody observed the crossing: the earliest moment of it, ms since the run
        /// began. Absent: it was observed at the event's time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before_ms: Option<u64>,
    },
    /// One reconciliation of the autoscaler, whatever its outcome.
    HpaSynced {
        service: String,
        current: u32,
        desired: u32,
        metrics: Vec<MetricProposal>,
        /// The decision in words.
        reason: String,
        /// `type` to `[status, reason]`, as in the HPA's status.
        conditions: BTreeMap<String, [String; 2]>,
    },
    /// The autoscaler changed the number of replicas.
    DesiredChanged {
        service: String,
        from: u32,
        to: u32,
        /// The controller's own words, as in `kubectl describe hpa`.
        reason: String,
        /// Our words: which metric, and what limited it, in one sentence.
        explanation: String,
        metrics: Vec<MetricProposal>,
    },
    /// The recommendation is to scale down, but the stabilisation window still holds a higher one. `until_ms`: when
    /// that one leaves the window, ms since the run began.
    ScaleDownHeld {
        service: String,
        recommended: u32,
        held_at: u32,
        until_ms: u64,
    },
    /// Somebody set the number of replicas by hand.
    ReplicasSet {
        service: String,
        from: u32,
        to: u32,
    },

    // === load ===
    LoadStarted {
        plan: LoadPlan,
    },
    /// A phase of the plan began: `ramp`, `hold`, `close`, `wait`….
    PhaseStarted {
        phase: String,
        detail: String,
    },
    /// Aggregates since the last tick.
    LoadTick(LoadTick),
    /// All connections of the ramp were started.
    RampDone {
        open: u64,
        refused: u64,
        lost: u64,
        after_ms: u64,
    },
    /// The client closed its connections.
    LoadClosed {
        closed: u64,
    },
    LoadFinished {
        summary: Box<LoadSummary>,
    },
    ExpectationChecked(ExpectationResult),
    /// The scenario did something to the platform, or had a client send something.
    ActionTaken {
        /// What, such as `stop kafka` or `client 1 sends brd:{token}:hello`.
        action: String,
        /// Why now, such as `at 30s` or `2s after tcp 1 → 2`.
        because: String,
        /// The outcome, in words.
        outcome: String,
        /// It could not be done.
        failed: bool,
    },
    /// The outcome of the log lines that a service's replicas had to ship since they started. Lines neither shipped
    /// nor dropped are still waiting.
    LogLinesCounted {
        service: String,
        written: u64,
        shipped: u64,
        dropped: u64,
    },

    // === connections, only on request ===
    ConnectionOpened {
        id: u64,
        local: SocketAddr,
        connect_us: u64,
        replica: Option<String>,
    },
    ConnectionClosed {
        id: u64,
        reason: String,
    },

    /// Something a user should know that is not a failure.
    Warning {
        message: String,
    },
}

impl EventKind {
    /// The same event with its times shifted so that `from_ms` becomes `to_ms`.
    pub(super) fn moved(mut self, from_ms: u64, to_ms: u64) -> Self {
        let times = match &mut self {
            Self::MetricCrossed { next_sync_ms, not_before_ms, .. } => {
                [Some(next_sync_ms), not_before_ms.as_mut()]
            }
            Self::ScaleDownHeld { until_ms, .. } => [Some(until_ms), None],
            _ => [None, None],
        };
        for at in times.into_iter().flatten() {
            // An earliest moment lies before the event.
            *at = if *at < from_ms {
                to_ms.saturating_sub(from_ms - *at)
            } else {
                to_ms.saturating_add(*at - from_ms)
            };
        }
        self
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayInfo {
    /// `playctl`, `envoy`, `haproxy`; `none` if the gateway is unknown, as for another application.
    pub kind: String,
    /// `least request`, `round robin`…; empty without a gateway.
    pub policy: String,
}

impl GatewayInfo {
    const NONE: &str = "none";

    pub fn none() -> Self {
        Self { kind: Self::NONE.to_owned(), policy: String::new() }
    }

    pub fn is_none(&self) -> bool {
        self.kind == Self::NONE
    }
}

/// What a reader needs to know about a service to draw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceInfo {
    pub name: String,
    pub replicas: u32,
    /// Where clients connect; absent where they do not, or where there is no address yet.
    pub endpoint: Option<HostPort>,
    /// `[min, max]` if it is autoscaled.
    pub autoscaled: Option<[u32; 2]>,
    /// Metric name to target in milli-units (average per replica) or, for utilisation, per cent × 1000.
    pub targets_milli: BTreeMap<String, i64>,
    /// How the gateway chooses its replicas, if its port has its own policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// What a node can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    Ready,
    NotReady,
    /// It keeps its replicas and takes no new ones.
    Cordoned,
    Gone,
}

/// One metric of one reconciliation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricProposal {
    pub metric: String,
    /// What was seen, in the unit of the target (milli-units, or per cent × 1000); absent: could not be computed.
    pub value_milli: Option<i64>,
    pub target_milli: i64,
    /// The target is a utilisation in per cent.
    pub utilization: bool,
    /// How many replicas this metric asks for.
    pub proposal: Option<u32>,
    /// In words, such as `7,012 per pod of 5k: wants 2`.
    pub words: String,
}

/// The verdict on one expectation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectationResult {
    /// Such as `lost = 0` or `tcp 1 → 2`.
    pub expectation: String,
    /// What was seen.
    pub seen: String,
    pub met: bool,
}
