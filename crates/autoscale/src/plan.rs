//! A spec made ready for running: defaulted, validated, quantities resolved, names prepared.

use std::fmt::Write as _;

use crate::{
    amount::Unit,
    calculator::{Metric, Source, Target},
    settings::{ControllerSettings, Tolerances},
    spec::{
        HpaSpec, InvalidSpec, LabelSelector, MetricSpec, MetricTarget, ScalingPolicy, ScalingRules,
        SelectPolicy,
    },
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// As stored by the API server.
    pub(crate) spec: HpaSpec,
    pub(crate) min: i32,
    pub(crate) max: i32,
    pub(crate) metrics: Vec<PlannedMetric>,
    pub(crate) tolerances: Tolerances,
    pub(crate) behavior: Option<Rules>,
    /// The window of scale-downs without a behaviour.
    pub(crate) downscale_stabilization_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedMetric {
    pub(crate) metric: Metric,
    /// The controller's words for it in events, such as `pods metric tcp_state_established`.
    pub(crate) name: String,
    /// Ours, such as `tcp_state_established`.
    pub(crate) label: String,
    /// How its values are written.
    pub(crate) unit: Unit,
}

/// The rules of a behaviour.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rules {
    pub(crate) up: DirectionRules,
    pub(crate) down: DirectionRules,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DirectionRules {
    pub(crate) window_ms: i64,
    pub(crate) select: SelectPolicy,
    pub(crate) policies: Vec<ScalingPolicy>,
}

impl DirectionRules {
    /// `getLongestPolicyPeriod`.
    pub(crate) fn longest_period_ms(&self) -> i64 {
        self.policies.iter().map(|policy| i64::from(policy.period_seconds) * 1000).max().unwrap_or(0)
    }
}

impl Plan {
    pub(crate) fn new(spec: &HpaSpec, settings: &ControllerSettings) -> Result<Self, InvalidSpec> {
        let spec = spec.defaulted();
        let errors = spec.validate(settings.scale_to_zero);
        if !errors.is_empty() {
            return Err(InvalidSpec(errors));
        }
        Ok(Self {
            min: spec.min_replicas.unwrap_or(1),
            max: spec.max_replicas,
            metrics: spec.metrics.iter().filter_map(PlannedMetric::new).collect(),
            tolerances: tolerances(&spec, settings),
            behavior: spec.behavior.as_ref().map(|behavior| {
                // `maybeInitScaleDownStabilizationWindow` narrows the controller's window to whole seconds.
                let down_seconds = settings.downscale_stabilization_ms / 1000;
                Rules {
                    up: direction(behavior.scale_up.as_ref(), 0),
                    down: direction(behavior.scale_down.as_ref(), down_seconds),
                }
            }),
            downscale_stabilization_ms: settings.downscale_stabilization_ms,
            spec,
        })
    }
}

fn direction(rules: Option<&ScalingRules>, default_window_seconds: i64) -> DirectionRules {
    let window = rules.and_then(|rules| rules.stabilization_window_seconds);
    DirectionRules {
        window_ms: window.map_or(default_window_seconds, i64::from) * 1000,
        select: rules.and_then(|rules| rules.select_policy).unwrap_or(SelectPolicy::Max),
        policies: rules.and_then(|rules| rules.policies.clone()).unwrap_or_default(),
    }
}

/// `tolerancesForHpa`.
fn tolerances(spec: &HpaSpec, settings: &ControllerSettings) -> Tolerances {
    let behavior = spec.behavior.as_ref().filter(|_| settings.configurable_tolerance);
    let tolerance = |rules: Option<&ScalingRules>| {
        rules.and_then(|rules| rules.tolerance.as_ref()).map_or(settings.tolerance, crate::Quantity::as_f64)
    };
    Tolerances {
        down: tolerance(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        up: tolerance(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
    }
}

impl PlannedMetric {
    /// `None` only for a spec that was not validated.
    pub(crate) fn new(spec: &MetricSpec) -> Option<Self> {
        let (source, target, name, label, written) = match spec.kind.as_str() {
            "Resource" => {
                let resource = spec.resource.as_ref()?;
                let target = average_first(&resource.target);
                let name = resource_words(&resource.name, target, "resource");
                let source = Source::Resource { name: resource.name.clone() };
                (source, target, name, resource.name.clone(), &resource.target)
            }
            "ContainerResource" => {
                let resource = spec.container_resource.as_ref()?;
                let target = average_first(&resource.target);
                let name = resource_words(&resource.name, target, "container resource");
                let label = format!("{} of container {}", resource.name, resource.container);
                let (name_of_resource, container) = (resource.name.clone(), resource.container.clone());
                let source = Source::ContainerResource { name: name_of_resource, container };
                (source, target, name, label, &resource.target)
            }
            "Pods" => {
                let pods = spec.pods.as_ref()?;
                let target = pods.target.average_value.as_ref().map(|q| Target::AverageValue(q.milli()));
                let label = pods.metric.name.clone();
                (Source::Pods, target, format!("pods metric {label}"), label, &pods.target)
            }
            "Object" => {
                let object = spec.object.as_ref()?;
                let target = by_type(&object.target);
                // Upstream calls an object's average an external metric.
                let name = match target {
                    Some(Target::AverageValue(_)) => {
                        external_words(&object.metric.name, object.metric.selector.as_ref())
                    }
                    _ => format!("{} metric {}", object.described_object.kind, object.metric.name),
                };
                let label = format!(
                    "{} of {} {}",
                    object.metric.name, object.described_object.kind, object.described_object.name
                );
                (Source::Object, target, name, label, &object.target)
            }
            "External" => {
                let external = spec.external.as_ref()?;
                let name = external_words(&external.metric.name, external.metric.selector.as_ref());
                let target = average_first(&external.target);
                (Source::External, target, name, external.metric.name.clone(), &external.target)
            }
            _ => return None,
        };
        let quantity = written.average_value.as_ref().or(written.value.as_ref());
        let unit = Unit::of(&source, target, quantity);
        Some(Self { metric: Metric { source, target }, name, label, unit })
    }
}

/// Resource and External metrics use the member that is set, not the target's type.
fn average_first(target: &MetricTarget) -> Option<Target> {
    let average = target.average_value.as_ref().map(|quantity| Target::AverageValue(quantity.milli()));
    average
        .or(target.value.as_ref().map(|quantity| Target::Value(quantity.milli())))
        .or(target.average_utilization.map(Target::Utilization))
}

/// Object metrics use the type, which must fit.
fn by_type(target: &MetricTarget) -> Option<Target> {
    match target.kind.as_str() {
        "Value" => target.value.as_ref().map(|quantity| Target::Value(quantity.milli())),
        "AverageValue" => {
            target.average_value.as_ref().map(|quantity| Target::AverageValue(quantity.milli()))
        }
        _ => None,
    }
}

/// With an average value, upstream does not mention the container.
fn resource_words(resource: &str, target: Option<Target>, what: &str) -> String {
    match target {
        Some(Target::Utilization(_)) => format!("{resource} {what} utilization (percentage of request)"),
        _ => format!("{resource} resource"),
    }
}

fn external_words(metric: &str, selector: Option<&LabelSelector>) -> String {
    format!("external metric {metric}({})", selector.map_or_else(|| "nil".to_owned(), selector_words))
}

/// A selector as Go prints it (the generated `LabelSelector.String`).
fn selector_words(selector: &LabelSelector) -> String {
    let mut labels = String::new();
    for (key, value) in &selector.match_labels {
        // Writing to a string cannot fail.
        let _ = write!(labels, "{key}: {value},");
    }
    let mut expressions = String::new();
    for requirement in &selector.match_expressions {
        let _ = write!(
            expressions,
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
            requirement.key,
            requirement.operator,
            requirement.values.join(" ")
        );
    }
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
