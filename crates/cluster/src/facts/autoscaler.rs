//! `HorizontalPodAutoscaler`s.

use autoscale::{
    manifest::Manifest,
    spec::{HpaSpec, ObjectReference},
};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;

use super::{Facts, Object, name, time};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HpaFacts {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) target: ObjectReference,
    /// `Err`: why our engine cannot read it.
    pub(crate) spec: Result<HpaSpec, String>,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// What the controller last reported, as in the API.
    pub(crate) status: Value,
    pub(crate) current: u32,
    pub(crate) desired: u32,
    pub(crate) last_scale: Option<Timestamp>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) created: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) kind: String,
    pub(crate) status: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl HpaFacts {
    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// The most informative condition: why it does nothing, what limits it, or that all is well.
    pub(crate) fn telling(&self) -> Option<&Condition> {
        let inactive = self.condition("ScalingActive").filter(|condition| !condition.status);
        let limited = || self.condition("ScalingLimited").filter(|condition| condition.status);
        inactive.or_else(limited).or_else(|| self.condition("AbleToScale"))
    }

    /// The controller's own description of its state.
    pub(crate) fn words(&self) -> String {
        self.telling()
            .map_or_else(|| "the controller has not looked at it yet".to_owned(), |one| one.message.clone())
    }

    /// As a manifest that can be explained.
    pub(crate) fn manifest(&self) -> Result<Manifest, String> {
        Ok(Manifest {
            name: self.name.clone(),
            namespace: None,
            target: self.target.clone(),
            spec: self.spec.clone()?,
            status: Some(self.status.clone()).filter(Value::is_object),
        })
    }
}

impl Facts for HorizontalPodAutoscaler {
    fn facts(&self) -> Object {
        let spec = self.spec.as_ref();
        let status = self.status.as_ref();
        let target = spec.map(|spec| &spec.scale_target_ref);
        let unsigned = |count: i32| u32::try_from(count).unwrap_or(0);
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        Object::Hpa(Box::new(HpaFacts {
            name: name(&self.metadata),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            target: target.map_or_else(ObjectReference::default, |target| ObjectReference {
                kind: target.kind.clone(),
                name: target.name.clone(),
                api_version: target.api_version.clone(),
            }),
            spec: self.engine_spec(),
            min: spec.and_then(|spec| spec.min_replicas).map_or(1, unsigned),
            max: spec.map_or(0, |spec| unsigned(spec.max_replicas)),
            status: serde_json::to_value(status).unwrap_or(Value::Null),
            current: status.and_then(|status| status.current_replicas).map_or(0, unsigned),
            desired: status.map_or(0, |status| unsigned(status.desired_replicas)),
            last_scale: time(status.and_then(|status| status.last_scale_time.as_ref())),
            conditions: conditions
                .map(|condition| Condition {
                    kind: condition.type_.clone(),
                    status: condition.status == "True",
                    reason: condition.reason.clone().unwrap_or_default(),
                    message: condition.message.clone().unwrap_or_default(),
                })
                .collect(),
            created: time(self.metadata.creation_timestamp.as_ref()),
        }))
    }
}

trait EngineSpec {
    fn engine_spec(&self) -> Result<HpaSpec, String>;
}

impl EngineSpec for HorizontalPodAutoscaler {
    fn engine_spec(&self) -> Result<HpaSpec, String> {
        let mut spec = serde_json::to_value(&self.spec).map_err(|error| error.to_string())?;
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("scaleTargetRef");
        }
        serde_json::from_value(spec).map_err(|error| error.to_string())
    }
}
