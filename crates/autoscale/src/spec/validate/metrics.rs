//! Validation of metrics: one source each, with a target that fits it.

use super::{Errors, FieldError, forbidden, path_segment_problems, required};
use crate::names;
use crate::spec::{
    ContainerResourceMetricSource, ExternalMetricSource, MetricIdentifier, MetricSpec, MetricTarget,
    ObjectMetricSource, ObjectReference, PodsMetricSource, ResourceMetricSource,
};

impl MetricSpec {
    pub(super) fn validate(&self, path: &str, errors: &mut Errors) {
        // In upstream's order: only the first source present is checked.
        let mut present: Vec<&str> = Vec::new();
        let mut check = |name: &'static str, source: Option<&dyn Source>| {
            if let Some(source) = source {
                if present.is_empty() {
                    source.validate(&format!("{path}.{name}"), errors);
                }
                present.push(name);
            }
        };
        check("object", self.object.as_ref().map(|source| source as &dyn Source));
        check("external", self.external.as_ref().map(|source| source as &dyn Source));
        check("pods", self.pods.as_ref().map(|source| source as &dyn Source));
        check("resource", self.resource.as_ref().map(|source| source as &dyn Source));
        check("containerResource", self.container_resource.as_ref().map(|source| source as &dyn Source));

        let expected = match self.kind.as_str() {
            "Object" => "object",
            "External" => "external",
            "Pods" => "pods",
            "Resource" => "resource",
            "ContainerResource" => "containerResource",
            "" => {
                errors.push(required(format!("{path}.type"), "must specify a metric source type"));
                return;
            }
            other => {
                let reason = "supported values: ContainerResource, External, Object, Pods, Resource";
                errors.push(FieldError::invalid(format!("{path}.type"), other, reason));
                return;
            }
        };
        if !present.contains(&expected) {
            let reason = "must populate information for the given metric source";
            errors.push(required(format!("{path}.{expected}"), reason));
        }
        if present.len() != 1 {
            for name in present.into_iter().filter(|name| *name != expected) {
                errors
                    .push(forbidden(format!("{path}.{name}"), "must populate the given metric source only"));
            }
        }
    }
}

/// The part of a metric that depends on its type.
trait Source {
    fn validate(&self, path: &str, errors: &mut Errors);
}

impl Source for ObjectMetricSource {
    fn validate(&self, path: &str, errors: &mut Errors) {
        self.described_object.validate(&format!("{path}.describedObject"), Scope::Metric, errors);
        self.metric.validate(path, errors);
        self.target.validate(path, errors);
        if self.target.value.is_none() && self.target.average_value.is_none() {
            let reason = "must set either a target value or averageValue";
            errors.push(required(format!("{path}.target.averageValue"), reason));
        }
    }
}

impl Source for ExternalMetricSource {
    fn validate(&self, path: &str, errors: &mut Errors) {
        self.metric.validate(path, errors);
        self.target.validate(path, errors);
        match (&self.target.value, &self.target.average_value) {
            (None, None) => errors.push(required(
                format!("{path}.target.averageValue"),
                "must set either a target value for metric or a per-pod target",
            )),
            (Some(_), Some(_)) => errors.push(forbidden(
                format!("{path}.target.value"),
                "may not set both a target value for metric and a per-pod target",
            )),
            _ => {}
        }
    }
}

impl Source for PodsMetricSource {
    fn validate(&self, path: &str, errors: &mut Errors) {
        self.metric.validate(path, errors);
        self.target.validate(path, errors);
        if self.target.average_value.is_none() {
            let reason = "must specify a positive target averageValue";
            errors.push(required(format!("{path}.target.averageValue"), reason));
        }
    }
}

impl Source for ResourceMetricSource {
    fn validate(&self, path: &str, errors: &mut Errors) {
        if self.name.is_empty() {
            errors.push(required(format!("{path}.name"), "must specify a resource name"));
        }
        self.target.validate(path, errors);
        self.target.validate_resource(path, errors);
    }
}

impl Source for ContainerResourceMetricSource {
    fn validate(&self, path: &str, errors: &mut Errors) {
        if self.name.is_empty() {
            errors.push(required(format!("{path}.name"), "must specify a resource name"));
        } else if !is_container_resource(&self.name) {
            let reason = if self.name.contains('/') {
                "doesn't follow extended resource name standard"
            } else {
                "must be a standard resource for containers"
            };
            errors.push(FieldError::invalid(format!("{path}.name"), &self.name, reason));
        }
        if self.container.is_empty() {
            errors.push(required(format!("{path}.container"), "must specify a container"));
        } else {
            for reason in names::against_label(&self.container) {
                errors.push(FieldError::invalid(format!("{path}.container"), &self.container, reason));
            }
        }
        self.target.validate(path, errors);
        self.target.validate_resource(path, errors);
    }
}

impl MetricTarget {
    fn validate(&self, source: &str, errors: &mut Errors) {
        let path = format!("{source}.target");
        match self.kind.as_str() {
            "Utilization" | "Value" | "AverageValue" => {}
            "" => errors.push(required(format!("{path}.type"), "must specify a metric target type")),
            other => {
                let reason = "must be either Utilization, Value, or AverageValue";
                errors.push(FieldError::invalid(format!("{path}.type"), other, reason));
            }
        }
        for (name, quantity) in [("value", &self.value), ("averageValue", &self.average_value)] {
            if let Some(quantity) = quantity.as_ref().filter(|quantity| quantity.signum() != 1) {
                errors.push(FieldError::invalid(format!("{path}.{name}"), quantity, "must be positive"));
            }
        }
        if let Some(per_cent) = self.average_utilization.filter(|per_cent| *per_cent < 1) {
            let path = format!("{path}.averageUtilization");
            errors.push(FieldError::invalid(path, per_cent, "must be greater than 0"));
        }
    }

    fn validate_resource(&self, source: &str, errors: &mut Errors) {
        match (self.average_utilization, &self.average_value) {
            (None, None) => errors.push(required(
                format!("{source}.target.averageUtilization"),
                "must set either a target raw value or a target utilization",
            )),
            (Some(_), Some(_)) => errors.push(forbidden(
                format!("{source}.target.averageValue"),
                "may not set both a target raw value and a target utilization",
            )),
            _ => {}
        }
    }
}

impl MetricIdentifier {
    fn validate(&self, source: &str, errors: &mut Errors) {
        let path = format!("{source}.metric.name");
        if self.name.is_empty() {
            errors.push(required(path.clone(), "must specify a metric name"));
        }
        for problem in path_segment_problems(&self.name) {
            errors.push(FieldError::invalid(path.clone(), &self.name, problem));
        }
    }
}

/// What a reference is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What is scaled; its API version needs a group.
    ScaleTarget,
    /// What a metric describes, which may be in the core group.
    Metric,
}

impl ObjectReference {
    /// `ValidateCrossVersionObjectReference`
    pub(crate) fn validate(&self, path: &str, scope: Scope, errors: &mut Errors) {
        for (name, text) in [("kind", &self.kind), ("name", &self.name)] {
            if text.is_empty() {
                errors.push(required(format!("{path}.{name}"), ""));
            }
            for problem in path_segment_problems(text) {
                errors.push(FieldError::invalid(format!("{path}.{name}"), text, problem));
            }
        }
        let version = self.api_version.as_deref().unwrap_or_default();
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let reason = if group.contains('/') {
            format!("unexpected GroupVersion string: {version}")
        } else if group.is_empty() && scope == Scope::ScaleTarget {
            "apiVersion must specify API group".to_owned()
        } else {
            return;
        };
        errors.push(FieldError::invalid(format!("{path}.apiVersion"), version, reason));
    }
}

/// A resource of containers (`ValidateContainerResourceName`): a standard one, a native one with its prefix, or an extended
/// one such as `example.com/gpu`.
fn is_container_resource(name: &str) -> bool {
    match name.split_once('/') {
        None => matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-"),
        Some(_) if name.contains("kubernetes.io/") => names::against_key(name).is_empty(),
        Some(_) => {
            !name.starts_with("requests.") && names::against_key(&format!("requests.{name}")).is_empty()
        }
    }
}
