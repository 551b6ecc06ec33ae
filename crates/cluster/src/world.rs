//! What is known about a namespace, and what changed: API objects in, events out.
//!
//! Events come from comparing the known state with the observed one. So a list after a lost watch reports exactly what
//! happened in between, once, and memory is bounded by the objects that exist. There is no clock and no I/O here; the
//! caller says when something was observed.

mod autoscaling;
mod desired;
mod nodes;
mod outbox;
mod parts;
mod pods;
mod said;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use platform::{EventKind, event::ServiceInfo, target::Decided};

use crate::facts::{HpaFacts, NodeFacts, Object, PodFacts, SliceFacts, WorkloadFacts};
use autoscaling::Watched;
pub(crate) use autoscaling::{proposals, trouble};
use desired::Desired;
use outbox::Outbox;
pub(crate) use parts::Part;
use parts::PartState;
use pods::PodState;
use said::Said;

/// When something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Milliseconds since the run began.
    pub(crate) t_ms: u64,
    pub(crate) wall: Timestamp,
}

/// One stream of objects; each has its own names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Hpas,
    Pods,
    /// By the objects' kind, as [`id`](crate::kinds::id) has it.
    Workloads(String),
    Slices,
    Nodes,
    Events,
}

/// A change in a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// A list of all objects starts.
    Listing,
    /// An object in the list, or a changed one.
    Is(Object),
    /// The list is complete: objects that were not in it are gone.
    Listed,
    Gone(Object),
    /// The connection was lost and is being restored.
    Broken,
}

/// The part of the namespace to watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// Only this autoscaler, and what it scales.
    pub(crate) hpa: Option<String>,
}

/// A scalable workload, by its name in events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Kind, as [`id`](crate::kinds::id) has it, and name of the workload.
    pub(crate) workload: (String, String),
    pub(crate) hpa: Option<String>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scope: Scope,
    hpas: BTreeMap<String, Watched>,
    workloads: BTreeMap<(String, String), WorkloadFacts>,
    pods: BTreeMap<String, PodState>,
    slices: BTreeMap<String, SliceFacts>,
    nodes: BTreeMap<String, NodeFacts>,
    services: BTreeMap<String, Service>,
    desired: BTreeMap<String, Desired>,
    /// Ready and draining pods by service, as last reported.
    endpoints: BTreeMap<String, (Vec<String>, Vec<String>)>,
    /// Parts, as last reported.
    part_states: BTreeMap<String, PartState>,
    said: Said,
    /// What balancers last ordered, by kind and name of the workload. Bounded as [`Said`] is.
    balanced: BTreeMap<(String, String), Decided>,
    /// Objects listed since the stream's list started.
    listing: BTreeMap<Stream, BTreeSet<String>>,
    broken: BTreeSet<Stream>,
    /// When all watches were last restored, ms since the run began.
    mended_ms: u64,
    /// Streams that this account may not read.
    denied: BTreeSet<Stream>,
    /// The present state has been read.
    complete: bool,
    /// Changes from now on are news.
    live: bool,
    out: Outbox,
}

impl World {
    pub(crate) fn new(scope: Scope) -> Self {
        Self {
            scope,
            hpas: BTreeMap::new(),
            workloads: BTreeMap::new(),
            pods: BTreeMap::new(),
            slices: BTreeMap::new(),
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            desired: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            part_states: BTreeMap::new(),
            said: Said::default(),
            balanced: BTreeMap::new(),
            listing: BTreeMap::new(),
            broken: BTreeSet::new(),
            mended_ms: 0,
            denied: BTreeSet::new(),
            complete: false,
            live: false,
            out: Outbox::default(),
        }
    }

    /// Marks a stream as denied.
    pub(crate) fn deny(&mut self, stream: Stream) {
        self.denied.insert(stream);
    }

    /// Whether workloads of this kind may not be read.
    pub(crate) fn is_denied(&self, kind: &str) -> bool {
        self.denied.contains(&Stream::Workloads(kind.to_owned()))
    }

    pub(crate) fn hpa(&self, name: &str) -> Option<&HpaFacts> {
        Some(&self.hpas.get(name)?.facts)
    }

    pub(crate) fn pods_of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a PodFacts> {
        let of = move |state: &&PodState| state.service.as_deref() == Some(service);
        self.pods.values().filter(of).map(|state| &state.facts)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeFacts> {
        self.nodes.values()
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.services.iter()
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    pub(crate) fn workload(&self, service: &Service) -> Option<&WorkloadFacts> {
        self.workloads.get(&service.workload)
    }

    /// Reports that the namespace has nothing to follow, or does not exist.
    pub(crate) fn nothing_to_follow(&self, namespace: &str) -> Option<String> {
        let is_read = |stream: &Stream| !self.denied.contains(stream);
        let workloads = ["Deployment", "StatefulSet"];
        let mut read: Vec<&str> = workloads
            .into_iter()
            .filter(|kind| is_read(&Stream::Workloads((*kind).to_owned())))
            .chain(is_read(&Stream::Hpas).then_some("autoscaler"))
            .collect();
        let last = read.pop().filter(|_| self.services.is_empty())?;
        let kinds = if read.is_empty() { last.to_owned() } else { format!("{} or {last}", read.join(", ")) };
        Some(format!("namespace {namespace} has no {kinds}, or does not exist"))
    }

    /// Why the pods of a service are not known, if they are not.
    pub(crate) fn pods_unseen(&self, service: &Service) -> Option<&'static str> {
        if self.denied.contains(&Stream::Pods) {
            return Some("its pods may not be read");
        }
        let is_target_unseen = self.workload(service).is_none() && self.is_denied(&service.workload.0);
        is_target_unseen.then_some("what says which pods are its own may not be read")
    }

    /// Processes a change in a stream.
    pub(crate) fn take(&mut self, now: Now, stream: &Stream, change: Change) {
        match change {
            Change::Listing => {
                self.listing.insert(stream.clone(), BTreeSet::new());
            }
            Change::Is(object) => {
                if let Some(names) = self.listing.get_mut(stream) {
                    names.insert(object.name().to_owned());
                }
                self.broken.remove(stream);
                // It can be read after all.
                self.denied.remove(stream);
                self.is(now, object);
            }
            Change::Listed => {
                self.broken.remove(stream);
                if let Some(listed) = self.listing.remove(stream) {
                    self.forget_all_but(now, stream, &listed);
                }
            }
            Change::Gone(object) => {
                self.broken.remove(stream);
                self.gone(now, stream, object.name(), Some(&object));
            }
            Change::Broken => {
                self.broken.insert(stream.clone());
            }
        }
        if self.live && matches!(stream, Stream::Pods | Stream::Workloads(_)) {
            self.look_at_parts(now);
        }
    }

    /// All watches have been restored.
    pub(crate) fn mended(&mut self, now: Now) {
        self.broken.clear();
        self.mended_ms = now.t_ms;
    }

    fn is(&mut self, now: Now, object: Object) {
        match object {
            Object::Hpa(hpa) => self.hpa_is(now, *hpa),
            Object::Pod(pod) => self.pod_is(now, *pod),
            Object::Workload(workload) => self.workload_is(now, *workload),
            Object::Slice(slice) => self.slice_is(now, slice),
            Object::Node(node) => self.node_is(now, node),
            Object::Event(event) => self.said(now, &event),
        }
    }

    fn gone(&mut self, now: Now, stream: &Stream, name: &str, last: Option<&Object>) {
        match stream {
            Stream::Hpas => self.hpa_gone(now, name),
            Stream::Pods => {
                let last = match last {
                    Some(Object::Pod(pod)) => Some(&**pod),
                    _ => None,
                };
                self.pod_gone(now, name, last);
            }
            Stream::Workloads(kind) => self.workload_gone(now, kind, name),
            Stream::Slices => self.slice_gone(now, name),
            Stream::Nodes => self.node_gone(now, name),
            Stream::Events => self.said.forget(name),
        }
    }

    fn forget_all_but(&mut self, now: Now, stream: &Stream, listed: &BTreeSet<String>) {
        let known: Vec<String> = match stream {
            Stream::Hpas => self.hpas.keys().cloned().collect(),
            Stream::Pods => self.pods.keys().cloned().collect(),
            Stream::Workloads(kind) => {
                let of = self.workloads.keys().filter(|(one, _)| one == kind);
                of.map(|(_, name)| name.clone()).collect()
            }
            Stream::Slices => self.slices.keys().cloned().collect(),
            Stream::Nodes => self.nodes.keys().cloned().collect(),
            Stream::Events => self.said.names().cloned().collect(),
        };
        for name in known.iter().filter(|name| !listed.contains(*name)) {
            self.gone(now, stream, name, None);
        }
    }

    /// From now on changes are reported.
    pub(crate) fn go_live(&mut self, now: Now) {
        self.complete();
        // What they are now is no news.
        self.look_at_parts(now);
        self.live = true;
        for (name, service) in self.services.clone() {
            let scaled = service.hpa.and_then(|hpa| self.hpa(&hpa)?.last_scale);
            self.desired_of(&name).begin(scaled);
        }
        for service in self.services.keys().cloned().collect::<Vec<_>>() {
            self.endpoints_of(now, &service);
        }
        for name in self.hpas.keys().cloned().collect::<Vec<_>>() {
            self.synced(now, &name);
        }
    }

    /// Decides changes that had to wait for their reason, and returns the events that are due, each with its time.
    pub(crate) fn events(&mut self, now: Now) -> Vec<(u64, EventKind)> {
        self.settle(now);
        let pending = self.desired.values().filter_map(Desired::waits_since).min();
        self.out.due(now.t_ms, pending)
    }

    fn tell(&mut self, now: Now, event: EventKind) {
        if self.live {
            self.out.push(now.t_ms, event);
        }
    }

    pub(crate) fn warn(&mut self, now: Now, message: String) {
        self.tell(now, EventKind::Warning { message });
    }

    /// What readers need to know about each service.
    pub(crate) fn service_infos(&self) -> Vec<ServiceInfo> {
        let info = |(name, service): (&String, &Service)| {
            let watched = service.hpa.as_ref().and_then(|hpa| self.hpas.get(hpa));
            ServiceInfo {
                name: name.clone(),
                replicas: self.replicas(service),
                endpoint: None,
                autoscaled: watched.map(|watched| [watched.facts.min, watched.facts.max]),
                targets_milli: watched.map(Watched::targets_milli).unwrap_or_default(),
                policy: None,
            }
        };
        self.services.iter().map(info).collect()
    }

    /// What a balancer last ordered, as far as the API server still has it.
    pub(crate) fn balanced(&self, service: &Service) -> Option<&Decided> {
        self.balanced.get(&service.workload)
    }

    /// The desired number of replicas.
    pub(crate) fn replicas(&self, service: &Service) -> u32 {
        let hpa = || service.hpa.as_ref().and_then(|hpa| self.hpa(hpa));
        // While it is inactive, the number that it desires means nothing, and is 0.
        let of_hpa = |hpa: &HpaFacts| match hpa.condition("ScalingActive") {
            Some(active) if active.status => hpa.desired,
            _ => hpa.current,
        };
        self.workload(service)
            .map(|workload| workload.replicas)
            .or_else(|| hpa().map(of_hpa))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
