//! An autoscaler's target: anything with `spec.replicas`, such as a Deployment.

use kube::core::DynamicObject;
use platform::PartKind;
use serde_json::Value;

use super::{Facts, Object, Selector, name};
use crate::kinds;

/// The user agent of the autoscaler's controller.
const CONTROLLER: &str = "kube-controller-manager";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkloadFacts {
    /// As [`id`](crate::kinds::id) has it.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// `spec.replicas`; the API's default is 1.
    pub(crate) replicas: u32,
    /// Its scale is not where a Deployment has it, as with some custom resources: ask the API server for it.
    pub(crate) needs_scale: bool,
    /// `status.replicas`.
    pub(crate) present: u32,
    pub(crate) selector: Option<Selector>,
    pub(crate) writer: Writer,
    pub(crate) created: Option<jiff::Timestamp>,
    /// The part of our chart that it is.
    pub(crate) part: Option<PartKind>,
}

/// Who last set `spec.replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The autoscaler's controller.
    Autoscaler,
    /// Something else, such as `kubectl`.
    Other(String),
    /// The object does not say.
    Unknown,
}

impl Facts for DynamicObject {
    fn facts(&self) -> Object {
        let (spec, status) = (&self.data["spec"], &self.data["status"]);
        let count = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
        let selector =
            Selector::read(&spec["selector"]).or_else(|| Selector::parse(status["selector"].as_str()?));
        let kind = self.types.as_ref().map(|types| kinds::named(&types.api_version, &types.kind));
        Object::Workload(Box::new(WorkloadFacts {
            kind: kind.map(|kind| kinds::id(&kind.group, &kind.kind)).unwrap_or_default(),
            name: name(&self.metadata),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            replicas: count(&spec["replicas"]).unwrap_or(1),
            present: count(&status["replicas"]).unwrap_or(0),
            needs_scale: spec["replicas"].is_null() || selector.is_none(),
            selector,
            writer: writer(self),
            created: super::time(self.metadata.creation_timestamp.as_ref()),
            part: part(self),
        }))
    }
}

/// By the labels of our chart; other charts label their Kafka by the same names.
fn part(object: &DynamicObject) -> Option<PartKind> {
    let labels = object.metadata.labels.as_ref()?;
    let is_ours = labels.get("app.kubernetes.io/part-of").is_some_and(|whole| whole == "playground");
    PartKind::by_name(labels.get("app.kubernetes.io/name")?).filter(|_| is_ours)
}

/// The writer is the owner of the field: a change takes it from all others. There are several if they agree on the
/// value; then the one that used the scale subresource counts, whose entry has no time. Through a scale nothing else
/// can be written, wherever the field is.
fn writer(object: &DynamicObject) -> Writer {
    let entries = object.metadata.managed_fields.as_ref().into_iter().flatten();
    let owners = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        entry.subresource.as_deref() == Some("scale")
            || fields.is_some_and(|fields| fields["f:spec"].get("f:replicas").is_some())
    });
    let last = owners.max_by_key(|entry| {
        (entry.subresource.as_deref() == Some("scale"), entry.time.as_ref().map(|time| time.0))
    });
    match last.map(|entry| (entry.manager.as_deref().unwrap_or_default(), entry.subresource.as_deref())) {
        None => Writer::Unknown,
        Some((CONTROLLER, Some("scale"))) => Writer::Autoscaler,
        Some((manager, _)) => Writer::Other(manager.to_owned()),
    }
}
