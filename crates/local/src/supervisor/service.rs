//! One service of the platform: its replicas and how many there should be.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use platform::{target::ReplicaPhase, values};
use uuid::Uuid;

use super::{ProcessKey, autoscaling::Hpa, sample::Series};
use crate::{
    backoff::BackOff,
    deletion::{self, Candidate},
    process::Process,
    slot::Ordinals,
};

/// What a replica is started from; one that was started from another template is replaced.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    /// All variables but those that differ from replica to replica.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) protocol: values::Protocol,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    pub(crate) readiness: values::Probe,
    pub(crate) grace: std::time::Duration,
    pub(crate) resources: values::Resources,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// Its place in `values.yaml`, which makes the third byte of its replicas' addresses.
    pub(crate) index: u8,
    pub(crate) template: Template,
    /// Grows with every change of the template.
    pub(crate) revision: u64,
    pub(crate) desired: u32,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) ordinals: Ordinals,
    pub(crate) hpa: Option<Hpa>,
}

#[derive(Debug)]
pub(crate) struct Replica {
    /// Never used again.
    pub(crate) uid: u64,
    pub(crate) name: String,
    pub(crate) ordinal: u16,
    pub(crate) ip: IpAddr,
    pub(crate) node: u32,
    pub(crate) revision: u64,
    pub(crate) created: Instant,
    pub(crate) phase: ReplicaPhase,
    pub(crate) since: Instant,
    pub(crate) restarts: u32,
    pub(crate) backoff: BackOff,
    /// The present process.
    pub(crate) running: Option<Running>,
    pub(crate) server_id: Option<Uuid>,
    /// When it was told to end.
    pub(crate) told: Option<Instant>,
    /// The grace period ran out.
    pub(crate) forced: bool,
    /// Not to be started again after its death.
    pub(crate) stay_dead: bool,
    pub(crate) series: Series,
}

/// A process of a replica.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) key: ProcessKey,
    pub(crate) process: Process,
    pub(crate) started: Instant,
    pub(crate) ready_since: Option<Instant>,
    pub(crate) probe: tokio::task::AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

impl Replica {
    pub(crate) fn client_address(&self, template: &Template) -> SocketAddr {
        SocketAddr::new(self.ip, template.port)
    }

    pub(crate) fn admin_address(&self, template: &Template) -> SocketAddr {
        SocketAddr::new(self.ip, template.admin_port)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.phase == ReplicaPhase::Ready
    }

    pub(crate) fn enter(&mut self, phase: ReplicaPhase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }
}

impl Service {
    /// Those that count: all but those that were told to end.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.told.is_none())
    }

    /// Whether it is what it should be: as many ready replicas of the present template as desired, and no others.
    pub(crate) fn is_settled(&self) -> bool {
        let current =
            self.active().filter(|replica| replica.is_ready() && replica.revision == self.revision).count();
        current == self.desired as usize && self.active().count() == current
    }

    /// The node for one more replica: the one with the fewest.
    pub(crate) fn next_node(&self, nodes: u32) -> u32 {
        (0..nodes)
            .min_by_key(|node| self.active().filter(|replica| replica.node == *node).count())
            .unwrap_or(0)
    }

    /// What has to be done now; see [`plan`].
    pub(crate) fn plan(&self, now: Instant) -> Plan {
        let views: Vec<View> = self
            .active()
            .map(|replica| View {
                current: replica.revision == self.revision,
                candidate: Candidate {
                    uid: replica.uid,
                    node: replica.node,
                    running: replica.running.is_some(),
                    ready_since: replica
                        .running
                        .as_ref()
                        .filter(|_| replica.is_ready())
                        .and_then(|running| running.ready_since),
                    deletion_cost: self.deletion_cost(),
                    restarts: replica.restarts,
                    created: replica.created,
                },
            })
            .collect();
        plan(self.desired, &views, now)
    }

    fn deletion_cost(&self) -> i32 {
        let annotation = self.template.annotations.get("controller.kubernetes.io/pod-deletion-cost");
        annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
    }
}

/// A replica as the rollout sees it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Of the present template.
    pub(crate) current: bool,
    pub(crate) candidate: Candidate,
}

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// So many replicas of the present template are to be started.
    pub(crate) start: u32,
    /// These are to be drained.
    pub(crate) drain: Vec<u64>,
}

/// Scaling and rolling replacement, as a Deployment with `maxSurge: 1` and `maxUnavailable: 0`: one replica more
/// than desired is started, and an old one goes when the new one is ready.
pub(crate) fn plan(desired: u32, replicas: &[View], now: Instant) -> Plan {
    let desired = desired as usize;
    let (current, old): (Vec<&View>, Vec<&View>) = replicas.iter().partition(|view| view.current);
    let surge = usize::from(!old.is_empty() && current.len() < desired);
    let start = (desired + surge).saturating_sub(replicas.len()).min(desired.saturating_sub(current.len()));

    let mut drain = Vec::new();
    let mut ready = replicas.iter().filter(|view| view.candidate.ready_since.is_some()).count();
    let mut left = replicas.len();
    for candidate in in_order(&old, now) {
        let is_ready = candidate.ready_since.is_some();
        if left > desired && (!is_ready || ready > desired) {
            drain.push(candidate.uid);
            left -= 1;
            ready -= usize::from(is_ready);
        }
    }
    let excess = current.len().saturating_sub(desired);
    drain.extend(in_order(&current, now).into_iter().take(excess).map(|candidate| candidate.uid));
    Plan { start: u32::try_from(start).expect("bounded by the desired number, which is a u32"), drain }
}

fn in_order(views: &[&View], now: Instant) -> Vec<Candidate> {
    let candidates: Vec<Candidate> = views.iter().map(|view| view.candidate.clone()).collect();
    deletion::order(&candidates, now).into_iter().map(|index| candidates[index].clone()).collect()
}

#[cfg(test)]
mod tests;
