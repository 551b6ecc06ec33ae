//! Events of controllers, each reported once.

use std::collections::BTreeMap;

use platform::{
    EventKind,
    target::{Balanced, Decided},
};

use super::{Now, World};
use crate::{balance::told::told, facts::EventFacts};

/// Reasons worth reporting; the objects themselves show the rest better.
const WORTH_A_LINE: [&str; 6] =
    ["FailedCreate", "FailedMount", "FailedAttachVolume", "Failed", "Evicted", "FailedCreatePodSandBox"];

/// How often each event was seen. Bounded by what the API server keeps of them, an hour by default.
#[derive(Debug, Default)]
pub(super) struct Said {
    counts: BTreeMap<String, i32>,
}

impl Said {
    /// Whether the event is new.
    fn is_new(&mut self, event: &EventFacts) -> bool {
        self.counts.insert(event.name.clone(), event.count).is_none_or(|count| count < event.count)
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.counts.remove(name);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.counts.keys()
    }
}

impl World {
    pub(super) fn said(&mut self, now: Now, event: &EventFacts) {
        if !self.said.is_new(event) {
            return;
        }
        // Earlier ones belong to the present state.
        self.last_balanced(event);
        if !self.live {
            return;
        }
        if event.kind == "HorizontalPodAutoscaler" {
            if let (Some(to), Some(service)) = (event.new_size(), self.service_of_hpa(&event.about)) {
                self.desired_of(&service).announce(now, to, &event.message, event.last);
            }
            return;
        }
        if event.kind == "Pod" && event.reason == "Unhealthy" {
            if let Some(pod) = self.pods.get_mut(&event.about)
                && event.message.starts_with("Readiness")
            {
                pod.probe = Some(event.message.trim().to_owned());
            }
            return;
        }
        if let Some(balanced) = told(event) {
            if let Some(service) = self.service_of(&(event.kind.clone(), event.about.clone())) {
                let Balanced { orders, reason } = balanced;
                self.tell(now, EventKind::Balanced { service, orders, reason });
            }
            return;
        }
        if event.is_warning && WORTH_A_LINE.contains(&event.reason.as_str()) && self.is_ours(event) {
            let EventFacts { kind, about, reason, message, .. } = event;
            let message = format!("{} {about}: {reason}: {}", kind.to_lowercase(), message.trim());
            self.tell(now, EventKind::Warning { message });
        }
    }

    fn last_balanced(&mut self, event: &EventFacts) {
        let Some((Balanced { orders, reason }, at)) = told(event).zip(event.last) else { return };
        // Its workload may not be known yet, and a list has no order.
        let workload = (event.kind.clone(), event.about.clone());
        if self.balanced.get(&workload).is_none_or(|last| last.at <= at) {
            self.balanced.insert(workload, Decided { at, orders, reason });
        }
    }

    fn is_ours(&self, event: &EventFacts) -> bool {
        let is_workload = |name: &str| self.services.values().any(|service| service.workload.1 == name);
        match event.kind.as_str() {
            "Pod" => self.pods.get(&event.about).is_some_and(|pod| pod.service.is_some()),
            // A Deployment's: its name, a hyphen, and a hash.
            "ReplicaSet" => {
                event.about.rsplit_once('-').is_some_and(|(deployment, _)| is_workload(deployment))
                    || is_workload(&event.about)
            }
            _ => is_workload(&event.about),
        }
    }
}
