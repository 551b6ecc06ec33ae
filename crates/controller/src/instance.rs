//! An instance: a replica of a service, a gateway, or a part.

use std::{sync::Arc, time::Duration};

use platform::{
    PartKind, ServiceKind,
    target::{ReplicaPhase, Traffic},
    values::Protocol,
};
use uuid::Uuid;

use crate::{
    RunId, Time,
    backoff::BackOff,
    probe::{ProbeSettings, Prober},
    series::Series,
    template::{ServiceTemplate, Source, Template},
};

/// The readiness probe of parts and gateways.
const PART_PROBE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
const GATEWAY_PROBE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));
/// This many consecutive failures make a ready instance unready.
const FAILURES: u32 = 3;

/// From SIGTERM to SIGKILL: Kafka and Elasticsearch flush their data.
const PART_GRACE: Duration = Duration::from_secs(10);
/// A draining gateway keeps its connections for its own `DRAIN_TIMEOUT`; this is for one that does not end then.
const GATEWAY_GRACE: Duration = Duration::from_secs(90);

/// The kind of an instance, in the order of the bring-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    Part(PartKind),
    Service(ServiceKind),
    Gateway(Port),
}

/// A port of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    is_udp: bool,
    number: u16,
}

impl Port {
    pub(crate) fn new(protocol: Protocol, number: u16) -> Self {
        Self { is_udp: protocol == Protocol::Udp, number }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    /// Never reused; grows with time.
    pub(crate) uid: u64,
    pub(crate) workload: Workload,
    pub(crate) name: Arc<str>,
    pub(crate) ordinal: u16,
    pub(crate) node: u32,
    pub(crate) template: Template,
    pub(crate) created: Time,
    pub(crate) phase: ReplicaPhase,
    /// When it entered this phase.
    pub(crate) since: Time,
    pub(crate) run: Option<Run>,
    pub(crate) restarts: u32,
    pub(crate) backoff: BackOff,
    /// When the back-off ends.
    pub(crate) restart_at: Option<Time>,
    /// When it was told to end.
    pub(crate) draining_since: Option<Time>,
    /// When the grace period ends.
    pub(crate) kill_at: Option<Time>,
    /// The grace period is over.
    pub(crate) forced: bool,
    /// It is not started again after its death.
    pub(crate) stay_dead: bool,
    /// Whether it takes new connections; its next process keeps this setting.
    pub(crate) traffic: Traffic,
    /// Set for this replica; `None`: the template's.
    pub(crate) deletion_cost: Option<i32>,
    /// The server's name for itself.
    pub(crate) server_id: Option<Uuid>,
    /// The version of the endpoints that a gateway has applied.
    pub(crate) endpoints_version: u64,
    /// Its description, as of its last start.
    pub(crate) detail: String,
    /// Its address for others, as of its last start.
    pub(crate) address: Option<String>,
    pub(crate) series: Series,
}

/// The current run of an instance.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) began: Time,
    /// The outcome of the start is known.
    pub(crate) started: bool,
    pub(crate) ready_since: Option<Time>,
    pub(crate) prober: Prober,
}

impl Instance {
    /// Whether it gets new connections when it is ready.
    pub(crate) fn takes_connections(&self) -> bool {
        self.is_active() && self.traffic.is_active()
    }

    pub(crate) fn deletion_cost(&self, template: &ServiceTemplate) -> i32 {
        self.deletion_cost.unwrap_or_else(|| template.deletion_cost())
    }

    /// Whether it counts: it has not been told to end.
    pub(crate) fn is_active(&self) -> bool {
        self.draining_since.is_none()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase == ReplicaPhase::Ready
    }

    pub(crate) fn is_of(&self, workload: Workload) -> bool {
        self.workload == workload
    }

    pub(crate) fn runs_as(&self, run: RunId) -> bool {
        self.run.as_ref().is_some_and(|present| present.id == run)
    }

    pub(crate) fn enter(&mut self, phase: ReplicaPhase, now: Time) {
        (self.phase, self.since) = (phase, now);
    }

    /// From being told to end to being killed.
    pub(crate) fn grace(&self) -> Duration {
        match &self.template {
            Template::Service(template) => template.grace,
            Template::Gateway(_) => GATEWAY_GRACE,
            Template::Part(_) => PART_GRACE,
        }
    }

    /// How its readiness is probed; `None`: it is ready as soon as it runs.
    pub(crate) fn readiness(&self) -> Option<ProbeSettings> {
        let fixed = |(period, timeout)| ProbeSettings { period, timeout, failures: FAILURES, successes: 1 };
        match &self.template {
            Template::Service(template) => Some(ProbeSettings::from(&template.readiness)),
            Template::Gateway(_) => Some(fixed(GATEWAY_PROBE)),
            Template::Part(part) => (part.source != Source::Embedded).then(|| fixed(PART_PROBE)),
        }
    }

    /// When something is due for it if nothing else happens.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let probe = self.run.as_ref().and_then(|run| run.prober.next_due());
        earlier(probe, earlier(self.restart_at, self.kill_at))
    }
}

/// The earlier of two times, if there is any.
pub(crate) fn earlier(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (at, None) | (None, at) => at,
    }
}
