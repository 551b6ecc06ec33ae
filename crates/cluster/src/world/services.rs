//! Which pods belong to which service, which pods get traffic, and how many replicas are desired.

use platform::EventKind;

use super::{Desired, Now, Service, World};
use crate::{
    facts::{SliceFacts, WorkloadFacts},
    kinds,
};

impl World {
    pub(super) fn workload_is(&mut self, now: Now, workload: WorkloadFacts) {
        let key = (workload.kind.clone(), workload.name.clone());
        let before = self.workloads.get(&key);
        let (replicas, writer) = (workload.replicas, workload.writer.clone());
        let is_another =
            before.is_none_or(|before| before.uid != workload.uid || before.selector != workload.selector);
        let had = before.filter(|before| before.uid == workload.uid).map(|before| before.replicas);
        self.workloads.insert(key.clone(), workload);
        if is_another {
            self.name_services();
        }
        let Some(service) = self.service_of(&key) else { return };
        if let Some(had) = had.filter(|had| self.live && *had != replicas) {
            self.desired_of(&service).set(now, had, replicas, writer);
        }
    }

    pub(super) fn workload_gone(&mut self, now: Now, kind: &str, name: &str) {
        let key = (kind.to_owned(), name.to_owned());
        if let Some(service) = self.service_of(&key) {
            self.warn(now, format!("{kind} {service} was deleted"));
        }
        self.workloads.remove(&key);
        self.name_services();
    }

    pub(super) fn service_of(&self, workload: &(String, String)) -> Option<String> {
        let mut services = self.services.iter();
        services.find(|(_, service)| service.workload == *workload).map(|(name, _)| name.clone())
    }

    pub(super) fn desired_of(&mut self, service: &str) -> &mut Desired {
        self.desired.entry(service.to_owned()).or_default()
    }

    /// The service that an autoscaler belongs to.
    pub(super) fn service_of_hpa(&self, hpa: &str) -> Option<String> {
        let mut services = self.services.iter();
        services.find(|(_, service)| service.hpa.as_deref() == Some(hpa)).map(|(name, _)| name.clone())
    }

    /// Names the scalable workloads by their own names, as far as these are unique, with the autoscaler of each.
    ///
    /// While the present state is being read, this is left to [`complete`](World::complete).
    pub(super) fn name_services(&mut self) {
        if self.complete {
            self.name_all();
        }
    }

    /// The present state has been read.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
        self.name_all();
    }

    fn name_all(&mut self) {
        let mut services: Vec<Service> = self
            .hpas
            .values()
            .map(|watched| &watched.facts)
            .map(|hpa| Service {
                workload: (kinds::id_of(&hpa.target), hpa.target.name.clone()),
                hpa: Some(hpa.name.clone()),
            })
            .collect();
        if self.scope.hpa.is_none() {
            for workload in self.workloads.keys() {
                if !services.iter().any(|service| service.workload == *workload) {
                    services.push(Service { workload: workload.clone(), hpa: None });
                }
            }
        }
        self.services.clear();
        for service in services {
            let (kind, name) = &service.workload;
            // Two kinds with the same name, or two autoscalers of one workload, are rare but distinguished.
            let free = |name: &String| !self.services.contains_key(name);
            let by_hpa = service.hpa.clone().filter(free);
            let name = Some(name.clone()).filter(free).or(by_hpa);
            let name = name.unwrap_or_else(|| format!("{}.{}", service.workload.1, kind.to_lowercase()));
            self.services.insert(name, service);
        }
        self.desired.retain(|name, _| self.services.contains_key(name));
        self.endpoints.retain(|name, _| self.services.contains_key(name));
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in names {
            let service = self.pods.get(&name).and_then(|pod| self.service_of_labels(&pod.facts.labels));
            if let Some(pod) = self.pods.get_mut(&name) {
                pod.service = service;
            }
        }
    }

    /// The service whose selector matches, as autoscalers and controllers find their pods.
    pub(super) fn service_of_labels(
        &self,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> Option<String> {
        let matches = |service: &Service| {
            let selector = self.workload(service).and_then(|workload| workload.selector.as_ref());
            selector.is_some_and(|selector| selector.matches(labels))
        };
        self.services.iter().find(|(_, service)| matches(service)).map(|(name, _)| name.clone())
    }

    pub(super) fn slice_is(&mut self, now: Now, slice: SliceFacts) {
        let moved: Vec<String> = slice.endpoints.iter().map(|endpoint| endpoint.pod.clone()).collect();
        let before = self.slices.insert(slice.name.clone(), slice);
        self.endpoints_moved(now, before.as_ref(), &moved);
    }

    pub(super) fn slice_gone(&mut self, now: Now, name: &str) {
        let before = self.slices.remove(name);
        self.endpoints_moved(now, before.as_ref(), &[]);
    }

    fn endpoints_moved(&mut self, now: Now, before: Option<&SliceFacts>, pods: &[String]) {
        let before = before.into_iter().flat_map(|slice| &slice.endpoints).map(|endpoint| &endpoint.pod);
        let mut services: Vec<String> =
            before.chain(pods).filter_map(|pod| self.pods.get(pod)?.service.clone()).collect();
        services.sort_unstable();
        services.dedup();
        for service in services {
            self.endpoints_of(now, &service);
        }
    }

    /// Reports which pods of a service get traffic, if that has changed.
    pub(super) fn endpoints_of(&mut self, now: Now, service: &str) {
        if !self.live {
            return;
        }
        let is_ours =
            |pod: &str| self.pods.get(pod).is_some_and(|pod| pod.service.as_deref() == Some(service));
        let (mut ready, mut draining) = (Vec::new(), Vec::new());
        for endpoint in self.slices.values().flat_map(|slice| &slice.endpoints) {
            if !is_ours(&endpoint.pod) {
                continue;
            }
            if endpoint.ready {
                ready.push(endpoint.pod.clone());
            } else if endpoint.draining {
                draining.push(endpoint.pod.clone());
            }
        }
        for pods in [&mut ready, &mut draining] {
            pods.sort_unstable();
            pods.dedup();
        }
        let present = (ready, draining);
        let known = self.endpoints.get(service);
        if known == Some(&present) || (known.is_none() && present.0.is_empty() && present.1.is_empty()) {
            return;
        }
        let (ready, draining) = present.clone();
        self.endpoints.insert(service.to_owned(), present);
        self.tell(now, EventKind::EndpointsChanged { service: service.to_owned(), ready, draining });
    }
}
