//! Parts of a spec that have no effect.

use crate::{
    calculator::Target,
    engine::Autoscaler,
    spec::{MetricSpec, MetricTarget},
};

/// All of it, in the spec's order.
pub(super) fn notes(autoscaler: &Autoscaler) -> Vec<String> {
    let metrics = autoscaler.spec().metrics.iter().zip(&autoscaler.plan().metrics).enumerate();
    let mut notes: Vec<String> =
        metrics.flat_map(|(index, (spec, planned))| of_metric(index, spec, planned.metric.target)).collect();
    notes.extend(tolerances(autoscaler));
    notes
}

/// A target has a type and up to three values, and which of them counts depends on the type of the metric: Object
/// metrics go by the target's type, all others by which value is set.
fn of_metric(index: usize, spec: &MetricSpec, effective: Option<Target>) -> Vec<String> {
    let Some((member, target)) = target_of(spec) else {
        return Vec::new();
    };
    let path = format!("metrics[{index}].{member}.target");
    let (used, kind) = match effective {
        Some(Target::Utilization(_)) => ("averageUtilization", "Utilization"),
        Some(Target::AverageValue(_)) => ("averageValue", "AverageValue"),
        Some(Target::Value(_)) => ("value", "Value"),
        None => {
            return vec![format!(
                "{path}: type {} needs a value of that kind; without one the metric has no target and always fails",
                target.kind
            )];
        }
    };
    let given = [
        ("value", target.value.is_some()),
        ("averageValue", target.average_value.is_some()),
        ("averageUtilization", target.average_utilization.is_some()),
    ];
    let unused = given.into_iter().filter(|(name, is_given)| *is_given && *name != used);
    let mut notes: Vec<String> = unused
        .map(|(name, _)| format!("{path}.{name} has no effect: {used} is what counts for this metric"))
        .collect();
    if target.kind != kind {
        let unit = if kind == "Value" { "a target for the whole" } else { "a target per pod" };
        notes.push(format!(
            "{path}.type {} has no effect: {} metrics go by which value is set, and {used} is {unit}",
            target.kind, spec.kind
        ));
    }
    notes
}

fn target_of(spec: &MetricSpec) -> Option<(&'static str, &MetricTarget)> {
    match spec.kind.as_str() {
        "Resource" => spec.resource.as_ref().map(|source| ("resource", &source.target)),
        "ContainerResource" => {
            spec.container_resource.as_ref().map(|source| ("containerResource", &source.target))
        }
        "Pods" => spec.pods.as_ref().map(|source| ("pods", &source.target)),
        "Object" => spec.object.as_ref().map(|source| ("object", &source.target)),
        "External" => spec.external.as_ref().map(|source| ("external", &source.target)),
        _ => None,
    }
}

/// If the gate is off, the API server drops `behavior.*.tolerance` and the controller ignores it.
fn tolerances(autoscaler: &Autoscaler) -> Vec<String> {
    if autoscaler.settings().configurable_tolerance {
        return Vec::new();
    }
    let behavior = autoscaler.spec().behavior.as_ref();
    let rules = behavior.into_iter().flat_map(|behavior| {
        [("scaleUp", behavior.scale_up.as_ref()), ("scaleDown", behavior.scale_down.as_ref())]
    });
    let given = rules.filter_map(|(direction, rules)| Some((direction, rules?.tolerance.as_ref()?)));
    given
        .map(|(direction, tolerance)| {
            format!(
                "behavior.{direction}.tolerance {tolerance} is not read: the feature gate HPAConfigurableTolerance is off, \
                 as by default in Kubernetes 1.34 (settings: {{configurableTolerance: true}})"
            )
        })
        .collect()
}
