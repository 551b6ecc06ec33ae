//! The parts of our chart, such as Kafka: workloads that are called by their label. Their own names begin with the
//! release's.

use platform::{
    EventKind, PartKind,
    target::{Pick, Subject},
};

use super::{Now, World};
use crate::facts::{PodFacts, WorkloadFacts};

/// A part, or a member of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    /// What it is, such as `StatefulSet playground-kafka`.
    pub(crate) place: String,
    /// Its workload's name in events.
    pub(crate) service: String,
    /// The only pod of a member; `None`: all pods of the workload.
    pub(crate) pod: Option<String>,
    pub(crate) wanted: u32,
    /// Pods that are ready and may stay.
    pub(crate) ready: u32,
    /// All pods that have not ended.
    pub(crate) present: u32,
    pub(crate) restarts: u32,
}

/// What has been reported of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartState {
    /// Since when, ms since the run began.
    Starting(u64),
    Ready,
    Stopping(u64),
    Stopped,
}

impl Part {
    pub(crate) fn is_ready(&self) -> bool {
        self.wanted > 0 && self.ready >= self.wanted
    }

    fn state(&self, now: Now, before: Option<PartState>) -> PartState {
        match (self.wanted, before) {
            (0, _) if self.present == 0 => PartState::Stopped,
            (0, Some(PartState::Stopping(since))) => PartState::Stopping(since),
            (0, _) => PartState::Stopping(now.t_ms),
            _ if self.is_ready() => PartState::Ready,
            (_, Some(PartState::Starting(since))) => PartState::Starting(since),
            _ => PartState::Starting(now.t_ms),
        }
    }

    /// What there is to report about the way from one state to another.
    fn news(&self, now: Now, before: Option<PartState>, present: PartState) -> Option<EventKind> {
        let part = self.name.clone();
        let since = |since: u64| now.t_ms.saturating_sub(since);
        match (before, present) {
            (Some(PartState::Ready), PartState::Ready) | (Some(PartState::Stopped), PartState::Stopped) => {
                None
            }
            (Some(PartState::Starting(began)), PartState::Ready) => {
                Some(EventKind::PartReady { part, detail: self.place.clone(), after_ms: since(began) })
            }
            (_, PartState::Ready) => {
                Some(EventKind::PartReady { part, detail: self.place.clone(), after_ms: 0 })
            }
            (Some(PartState::Stopping(began)), PartState::Stopped) => {
                Some(EventKind::PartStopped { part, after_ms: since(began) })
            }
            (_, PartState::Stopped) => Some(EventKind::PartStopped { part, after_ms: 0 }),
            _ => None,
        }
    }
}

impl World {
    /// All parts, by name. A part that several releases have is none: which one is meant?
    pub(crate) fn parts(&self) -> Vec<Part> {
        let labelled = self.services.iter().filter_map(|(name, service)| {
            let workload = self.workload(service)?;
            Some((workload.part?, name, workload))
        });
        let labelled: Vec<(PartKind, &String, &WorkloadFacts)> = labelled.collect();
        let is_only = |kind: PartKind| labelled.iter().filter(|(other, ..)| *other == kind).count() == 1;
        let only = labelled.iter().filter(|(kind, ..)| is_only(*kind));
        let mut parts: Vec<Part> =
            only.flat_map(|(kind, service, workload)| self.parts_of(*kind, service, workload)).collect();
        parts.sort_by(|one, other| one.name.cmp(&other.name));
        parts
    }

    fn parts_of(&self, kind: PartKind, service: &str, workload: &WorkloadFacts) -> Vec<Part> {
        let part = |name: String, pod: Option<String>, wanted: u32| {
            let is_its = |facts: &&PodFacts| pod.as_ref().is_none_or(|pod| *pod == facts.name);
            let pods = || self.pods_of(service).filter(is_its).filter(|pod| !pod.is_over());
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let place = pod
                .as_ref()
                .map_or_else(|| format!("{} {}", workload.kind, workload.name), |pod| format!("pod {pod}"));
            Part {
                name,
                place,
                service: service.to_owned(),
                wanted,
                ready: count(pods().filter(|pod| pod.is_ready() && pod.deleting.is_none()).count()),
                present: count(pods().count()),
                restarts: pods().map(PodFacts::restarts).sum(),
                pod: pod.clone(),
            }
        };
        if kind != PartKind::Etcd {
            return vec![part(kind.name().to_owned(), None, workload.replicas)];
        }
        // Each member of our own etcd is a part, as on every platform.
        let member = |ordinal: u32| {
            let pod = format!("{}-{ordinal}", workload.name);
            part(format!("{}{:02}", kind.name(), ordinal + 1), Some(pod), 1)
        };
        (0..workload.replicas).map(member).collect()
    }

    /// The same subject by the name of its workload, if it is a part; otherwise itself.
    pub(crate) fn in_full(&self, what: &Subject) -> Subject {
        if self.service(&what.name).is_some() {
            return what.clone();
        }
        let Some(part) = self.parts().into_iter().find(|part| part.name == what.name) else {
            return what.clone();
        };
        let replica = part.pod.map_or_else(|| what.replica.clone(), Pick::Named);
        Subject { name: part.service, replica }
    }

    /// Reports parts that became ready, or have stopped.
    pub(super) fn look_at_parts(&mut self, now: Now) {
        let parts = self.parts();
        self.part_states.retain(|name, _| parts.iter().any(|part| part.name == *name));
        for part in parts {
            let before = self.part_states.get(&part.name).copied();
            let present = part.state(now, before);
            if let Some(event) = part.news(now, before, present) {
                self.tell(now, event);
            }
            self.part_states.insert(part.name, present);
        }
    }
}

#[cfg(test)]
mod tests;
