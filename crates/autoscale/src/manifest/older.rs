//! Versions before `autoscaling/v2`, brought into its form.
//!
//! `autoscaling/v1` knows a target for CPU only. An API server that prints a v2 object as v1 puts the rest into
//! annotations, and reads them back from there (`pkg/apis/autoscaling/v1/conversion.go`), in the form that v2beta1 had.
//! `autoscaling/v2beta1` (served until Kubernetes 1.24) has that form itself, `autoscaling/v2beta2` (until 1.25) is
//! like v2.

use serde_json::{Map, Value, json};
use yaml::TypeError;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2Beta1,
    V2Beta2,
}

impl Version {
    pub(super) fn of(api_version: &str) -> Option<Self> {
        match api_version {
            "autoscaling/v1" => Some(Self::V1),
            "autoscaling/v2beta1" => Some(Self::V2Beta1),
            "autoscaling/v2beta2" => Some(Self::V2Beta2),
            _ => None,
        }
    }

    /// Rewrites an object's spec and status.
    pub(super) fn modernise(self, object: &mut Value) -> Result<(), TypeError> {
        match self {
            Self::V1 => modernise_v1(object),
            Self::V2Beta1 => {
                for (part, key) in [("spec", "metrics"), ("status", "currentMetrics")] {
                    if let Some(metrics) = object.get_mut(part).and_then(|part| part.get_mut(key))
                        && metrics.is_array()
                    {
                        *metrics = Value::Array(metrics_of(Some(metrics.take())));
                    }
                }
                Ok(())
            }
            Self::V2Beta2 => Ok(()),
        }
    }
}

fn modernise_v1(object: &mut Value) -> Result<(), TypeError> {
    // Ignore what is not JSON, as the API server does.
    let annotation = |object: &Value, name: &str| {
        let text = object["metadata"]["annotations"][name].as_str()?;
        serde_json::from_str::<Value>(text).ok()
    };
    let mut metrics = metrics_of(annotation(object, METRICS));
    let mut current = metrics_of(annotation(object, CURRENT_METRICS));
    let behavior = annotation(object, BEHAVIOR).map(with_small_initials);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(key) = ["metrics", "behavior"].into_iter().find(|key| spec.contains_key(*key)) {
            let message = format!("unknown key in autoscaling/v1; {key} needs apiVersion: autoscaling/v2");
            return Err(TypeError { path: format!("spec.{key}"), message, got: None });
        }
        if let Some(per_cent) = spec.remove("targetCPUUtilizationPercentage").filter(|value| !value.is_null())
        {
            let target = json!({"type": "Utilization", "averageUtilization": per_cent});
            metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
        }
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), Value::Array(metrics));
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let per_cent = status.remove("currentCPUUtilizationPercentage").filter(|value| !value.is_null());
        if let (Some(per_cent), true) = (per_cent, current.is_empty()) {
            let now = json!({"averageUtilization": per_cent});
            current.push(json!({"type": "Resource", "resource": {"name": "cpu", "current": now}}));
        }
        if !current.is_empty() {
            status.insert("currentMetrics".to_owned(), Value::Array(current));
        }
    }
    Ok(())
}

/// The behaviour uses Go's names of the fields (`ScaleUp`).
fn with_small_initials(value: Value) -> Value {
    let small = |key: String| key[..1].to_ascii_lowercase() + &key[1..];
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, _)| key.is_char_boundary(1) && !key.is_empty())
            .map(|(key, value)| (small(key), with_small_initials(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(with_small_initials).collect(),
        other => other,
    }
}

/// The metrics of an annotation in v2's form: `targetAverageValue: 5` becomes `target: {averageValue: 5}`, and so on.
fn metrics_of(annotation: Option<Value>) -> Vec<Value> {
    let Some(Value::Array(metrics)) = annotation else {
        return Vec::new();
    };
    metrics.into_iter().map(modern_metric).collect()
}

fn modern_metric(mut metric: Value) -> Value {
    for member in ["object", "pods", "resource", "containerResource", "external"] {
        if let Some(Value::Object(source)) = metric.get_mut(member) {
            *source = modern_source(member, std::mem::take(source));
        }
    }
    metric
}

fn modern_source(member: &str, source: Map<String, Value>) -> Map<String, Value> {
    let (mut modern, mut metric, mut target, mut current) = (Map::new(), Map::new(), Map::new(), Map::new());
    for (key, value) in source {
        match key.as_str() {
            "target" if member == "object" => drop(modern.insert("describedObject".to_owned(), value)),
            "metricName" => drop(metric.insert("name".to_owned(), value)),
            "selector" | "metricSelector" => drop(metric.insert("selector".to_owned(), value)),
            "targetValue" => drop(target.insert("value".to_owned(), value)),
            "targetAverageValue" => drop(target.insert("averageValue".to_owned(), value)),
            // For an object, next to a `targetValue` that must be there but is zero.
            "averageValue" => {
                target.remove("value");
                target.insert("averageValue".to_owned(), value);
            }
            "targetAverageUtilization" => drop(target.insert("averageUtilization".to_owned(), value)),
            "currentValue" => drop(current.insert("value".to_owned(), value)),
            "currentAverageValue" => drop(current.insert("averageValue".to_owned(), value)),
            "currentAverageUtilization" => drop(current.insert("averageUtilization".to_owned(), value)),
            _ => drop(modern.insert(key, value)),
        }
    }
    if target.contains_key("averageValue") && member == "object" {
        target.remove("value");
    }
    let kind = [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
    if let Some((_, kind)) = kind.into_iter().find(|(key, _)| target.contains_key(*key)) {
        target.insert("type".to_owned(), kind.into());
    }
    for (key, part) in [("metric", metric), ("target", target), ("current", current)] {
        if !part.is_empty() {
            modern.insert(key.to_owned(), Value::Object(part));
        }
    }
    modern
}
