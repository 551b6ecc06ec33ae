//! Pods.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};
use platform::target::Traffic;

use super::{Facts, Object, name, time};

/// The label by which Services select the pods that take new connections.
pub(crate) const TRAFFIC: &str = "traffic";
/// The annotation by which a `ReplicaSet` chooses which pod to delete first.
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The name of the port for probes, metrics and orders.
const ADMIN: &str = "admin";

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) node: Option<String>,
    pub(crate) ip: Option<String>,
    /// The port that its first container declares.
    pub(crate) port: Option<u16>,
    /// The port that is called `admin`.
    pub(crate) admin_port: Option<u16>,
    pub(crate) traffic: Traffic,
    pub(crate) deletion_cost: i32,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub(crate) phase: String,
    /// Why it is in this phase, such as `Evicted: The node was low on resource: memory.`
    pub(crate) phase_reason: String,
    pub(crate) ready: Option<Readiness>,
    /// Why it is not scheduled.
    pub(crate) unschedulable: Option<String>,
    pub(crate) created: Option<Timestamp>,
    /// When its node accepted it.
    pub(crate) started: Option<Timestamp>,
    /// It is terminating and has this many seconds left.
    pub(crate) deleting: Option<i64>,
    pub(crate) containers: Vec<ContainerFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) is_ready: bool,
    pub(crate) since: Option<Timestamp>,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerFacts {
    pub(crate) name: String,
    pub(crate) restarts: u32,
    pub(crate) running: Option<Timestamp>,
    /// Reason and message of its waiting state, such as `CrashLoopBackOff`.
    pub(crate) waiting: Option<(String, String)>,
    /// How its last run ended.
    pub(crate) ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Distinguishes this end from others.
    pub(crate) id: String,
    pub(crate) exit_code: i32,
    pub(crate) words: String,
}

impl PodFacts {
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.is_ready)
    }

    /// It has ended and will not be restarted.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == "Failed" || self.phase == "Succeeded"
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.containers.iter().map(|container| container.restarts).sum()
    }

    /// Why it is not ready, as far as the pod itself tells.
    pub(crate) fn why_not_ready(&self) -> String {
        if let Some(why) = &self.unschedulable {
            return format!("no node takes it: {why}");
        }
        if self.is_over() {
            return self.phase_reason.clone();
        }
        for container in &self.containers {
            if let Some((reason, message)) = &container.waiting {
                return format!("{} waits: {}", container.name, joined(reason, message));
            }
            if let (None, Some(ended)) = (container.running, &container.ended) {
                return format!("{} ended: {}", container.name, ended.words);
            }
        }
        match &self.ready {
            Some(ready) if !ready.is_ready && !ready.reason.is_empty() => ready.reason.clone(),
            _ if self.node.is_none() => "no node has taken it yet".to_owned(),
            _ => "its readiness probe has not succeeded yet".to_owned(),
        }
    }
}

fn joined(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (_, true) => reason.to_owned(),
        (true, _) => message.to_owned(),
        _ => format!("{reason}: {message}"),
    }
}

impl Facts for Pod {
    fn facts(&self) -> Object {
        let (spec, status) = (self.spec.as_ref(), self.status.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let condition = |kind: &str| conditions.into_iter().flatten().find(|one| one.type_ == kind);
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        let text = |text: Option<&String>| text.cloned().unwrap_or_default();
        let because = |condition: &PodCondition| {
            joined(&text(condition.reason.as_ref()), &text(condition.message.as_ref()))
        };
        let unscheduled = condition("PodScheduled").filter(|one| one.status == "False");
        let ports = spec.and_then(|spec| spec.containers.first()?.ports.as_ref()?.first());
        let mut all_ports =
            spec.into_iter().flat_map(|spec| &spec.containers).flat_map(|one| one.ports.iter().flatten());
        let admin = all_ports.find(|port| port.name.as_deref() == Some(ADMIN));
        let meta = &self.metadata;
        let labelled = |key: &str| meta.labels.as_ref()?.get(key).map(String::as_str);
        let annotated = |key: &str| meta.annotations.as_ref()?.get(key).map(String::as_str);
        Object::Pod(Box::new(PodFacts {
            name: name(meta),
            uid: meta.uid.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty()),
            ip: status.and_then(|status| status.pod_ip.clone()),
            port: ports.and_then(|port| u16::try_from(port.container_port).ok()),
            admin_port: admin.and_then(|port| u16::try_from(port.container_port).ok()),
            traffic: if labelled(TRAFFIC) == Some("inactive") { Traffic::Inactive } else { Traffic::Active },
            // Anything but a number counts as 0, as for the controller.
            deletion_cost: annotated(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
            phase: status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Pending".to_owned()),
            phase_reason: status.map_or_else(String::new, |status| {
                joined(&text(status.reason.as_ref()), &text(status.message.as_ref()))
            }),
            ready: condition("Ready").map(|ready| Readiness {
                is_ready: ready.status == "True",
                since: time(ready.last_transition_time.as_ref()),
                reason: because(ready),
            }),
            unschedulable: unscheduled
                .map(|condition| text(condition.message.as_ref().or(condition.reason.as_ref()))),
            created: time(meta.creation_timestamp.as_ref()),
            started: time(status.and_then(|status| status.start_time.as_ref())),
            deleting: meta
                .deletion_timestamp
                .as_ref()
                .map(|_| meta.deletion_grace_period_seconds.unwrap_or_default()),
            containers: containers.into_iter().flatten().map(container).collect(),
        }))
    }
}

fn container(status: &ContainerStatus) -> ContainerFacts {
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    ContainerFacts {
        name: status.name.clone(),
        restarts: u32::try_from(status.restart_count).unwrap_or(0),
        running: state
            .and_then(|state| state.running.as_ref())
            .and_then(|running| time(running.started_at.as_ref())),
        waiting: waiting.map(|waiting| {
            (waiting.reason.clone().unwrap_or_default(), waiting.message.clone().unwrap_or_default())
        }),
        ended: ended(state).or_else(|| ended(status.last_state.as_ref())),
    }
}

fn ended(state: Option<&ContainerState>) -> Option<Ended> {
    let ended = state?.terminated.as_ref()?;
    let finished = ended.finished_at.as_ref().map(|at| at.0.to_string()).unwrap_or_default();
    let reason = ended.reason.as_deref().filter(|reason| !["Error", "Completed", ""].contains(reason));
    let code = ended.exit_code;
    let how = match (ended.signal, code) {
        (Some(signal), _) if signal > 0 => format!("signal {signal}"),
        // The way in which shells and runtimes report a signal.
        (_, 129..=192) => format!("signal {}", code - 128),
        _ => format!("exit status {code}"),
    };
    Some(Ended {
        id: format!("{} {finished}", ended.container_id.as_deref().unwrap_or_default()),
        exit_code: code,
        words: reason.map_or_else(|| how.clone(), |reason| format!("{reason} ({how})")),
    })
}
