//! The parts of API objects that matter here, and nothing else: objects are large, and clusters have many.

mod autoscaler;
mod pod;
mod selector;
mod workload;

pub(crate) use autoscaler::HpaFacts;
#[cfg(test)]
pub(crate) use pod::{ContainerFacts, Ended, Readiness};
pub(crate) use pod::{DELETION_COST, PodFacts, TRAFFIC};
pub(crate) use selector::Selector;
pub(crate) use workload::{WorkloadFacts, Writer};

use autoscale::spec::ObjectReference;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Event, Node},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use crate::kinds;

/// An object's current state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    Hpa(Box<HpaFacts>),
    Pod(Box<PodFacts>),
    Workload(Box<WorkloadFacts>),
    Slice(SliceFacts),
    Node(NodeFacts),
    Event(EventFacts),
}

impl Object {
    /// Its name among the objects of its stream.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Hpa(hpa) => &hpa.name,
            Self::Pod(pod) => &pod.name,
            Self::Workload(workload) => &workload.name,
            Self::Slice(slice) => &slice.name,
            Self::Node(node) => &node.name,
            Self::Event(event) => &event.name,
        }
    }
}

/// The facts of an API object.
pub(crate) trait Facts {
    fn facts(&self) -> Object;
}

pub(crate) fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

/// An `EndpointSlice`: the pods that get the traffic of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SliceFacts {
    pub(crate) name: String,
    pub(crate) endpoints: Vec<EndpointFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointFacts {
    pub(crate) pod: String,
    /// It gets new connections.
    pub(crate) ready: bool,
    /// It is terminating and still serves its connections.
    pub(crate) draining: bool,
}

impl Facts for EndpointSlice {
    fn facts(&self) -> Object {
        let endpoints = self.endpoints.iter().filter_map(|endpoint| {
            let target =
                endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let terminating = conditions.terminating.unwrap_or(false);
            Some(EndpointFacts {
                pod: target.name.clone()?,
                // The API defines that absent means ready.
                ready: conditions.ready.unwrap_or(true) && !terminating,
                draining: terminating && conditions.serving.unwrap_or(true),
            })
        });
        Object::Slice(SliceFacts { name: name(&self.metadata), endpoints: endpoints.collect() })
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) ready: bool,
    /// Why it is not ready.
    pub(crate) reason: String,
    pub(crate) schedulable: bool,
    pub(crate) cpu_cores: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
}

impl Facts for Node {
    fn facts(&self) -> Object {
        let status = self.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
        let reason = ready.map_or_else(
            || "it has not reported yet".to_owned(),
            |ready| ready.message.clone().or(ready.reason.clone()).unwrap_or_default(),
        );
        let milli = |resource: &str| -> Option<i64> {
            let quantity = status?.allocatable.as_ref()?.get(resource)?;
            Some(quantity.0.parse::<autoscale::Quantity>().ok()?.milli())
        };
        Object::Node(NodeFacts {
            name: name(&self.metadata),
            ready: ready.is_some_and(|ready| ready.status == "True"),
            reason,
            schedulable: self.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true),
            cpu_cores: milli("cpu").map(|milli| milli as f64 / 1000.0),
            memory_bytes: milli("memory").and_then(|milli| u64::try_from(milli / 1000).ok()),
        })
    }
}

/// What a controller reported about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventFacts {
    pub(crate) name: String,
    /// How often it was reported: equal events are counted, not repeated.
    pub(crate) count: i32,
    /// The object's kind, as [`id`](crate::kinds::id) has it.
    pub(crate) kind: String,
    /// The object's name.
    pub(crate) about: String,
    pub(crate) reason: String,
    /// The controller that reported it.
    pub(crate) reporter: String,
    pub(crate) message: String,
    pub(crate) is_warning: bool,
    /// When it was last reported, in whole seconds.
    pub(crate) last: Option<Timestamp>,
}

impl Facts for Event {
    fn facts(&self) -> Object {
        let series = self.series.as_ref();
        let last = series
            .and_then(|series| Some(series.last_observed_time.as_ref()?.0))
            .or(time(self.last_timestamp.as_ref()))
            .or(self.event_time.as_ref().map(|at| at.0))
            .or(time(self.metadata.creation_timestamp.as_ref()));
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Object::Event(EventFacts {
            name: name(&self.metadata),
            count: series.and_then(|series| series.count).or(self.count).unwrap_or(1),
            kind: kinds::id_of(&ObjectReference {
                kind: text(&self.involved_object.kind),
                api_version: self.involved_object.api_version.clone(),
                ..ObjectReference::default()
            }),
            about: text(&self.involved_object.name),
            reason: text(&self.reason),
            reporter: text(&self.reporting_component),
            message: text(&self.message),
            is_warning: self.type_.as_deref() == Some("Warning"),
            last,
        })
    }
}

impl EventFacts {
    /// The number of replicas that the autoscaler's controller reports to have set, by `New size: 2; reason: …`.
    pub(crate) fn new_size(&self) -> Option<u32> {
        let said = (self.reason == "SuccessfulRescale").then_some(self.message.as_str())?;
        said.strip_prefix("New size: ")?.split(';').next()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests;
