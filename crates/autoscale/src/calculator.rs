//! From one metric to a number of replicas, without state.
//!
//! The model, per pod metrics: *ratio* = average over the pods that count ÷ target; inside the tolerance nothing
//! changes; otherwise the proposal is ⌈ratio × number of pods⌉. Pods without a sample and pods that are not ready are
//! added afterwards with the value that moves the count least (a full target on the way down, zero on the way up). If
//! that reverses the direction, nothing changes either.
//!
//! Operations and their order follow upstream exactly, because doubles depend on it. Where upstream converts a double
//! that does not fit to an integer (undefined in Go and different per processor), the conversion saturates here.
//!
//! Source: `replica_calculator.go` and `metrics/utilization.go` of Kubernetes 1.34.

mod average;
mod pods;
mod requests;
mod total;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    observation::{MetricReading, Pod},
    settings::{ControllerSettings, Tolerances},
};
pub use pods::{PodTally, PodUse, classify};

/// Where a metric comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A resource of all containers.
    Resource { name: String },
    /// A resource of one container.
    ContainerResource { name: String, container: String },
    /// A metric that every pod has.
    Pods,
    /// A metric of one other object.
    Object,
    /// A metric from outside the cluster.
    External,
}

impl Source {
    /// CPU is the one resource for which the readiness of pods matters.
    fn is_cpu(&self) -> bool {
        self.resource() == Some("cpu")
    }

    /// The resource's name.
    pub(crate) fn resource(&self) -> Option<&str> {
        match self {
            Self::Resource { name } | Self::ContainerResource { name, .. } => Some(name),
            Self::Pods | Self::Object | Self::External => None,
        }
    }

    fn container(&self) -> Option<&str> {
        match self {
            Self::ContainerResource { container, .. } => Some(container),
            _ => None,
        }
    }

    /// Whether the metric has one value per pod.
    pub fn is_per_pod(&self) -> bool {
        !matches!(self, Self::Object | Self::External)
    }
}

/// What a metric should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Per cent of the requests.
    #[serde(rename = "utilization_percent")]
    Utilization(i32),
    /// Milli-units per pod.
    #[serde(rename = "average_value_milli")]
    AverageValue(i64),
    /// Milli-units in total.
    #[serde(rename = "value_milli")]
    Value(i64),
}

/// A metric with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    pub source: Source,
    /// `None`: no target fits the source, which the API server accepts for Object metrics.
    pub target: Option<Target>,
}

impl Metric {
    /// What a pod requests of the metric's resource, in milli-units; `None`: nothing, or the request is missing.
    pub(crate) fn request_of(&self, pod: &Pod, pod_level_resources: bool) -> Option<i64> {
        self.source.resource()?;
        requests::of_pod(&self.source, pod_level_resources, 0, pod).ok()
    }
}

/// What a computation depends on besides the metric, its reading and the pods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Context {
    pub now_ms: i64,
    pub tolerances: Tolerances,
    pub cpu_init_ms: i64,
    pub initial_readiness_delay_ms: i64,
    pub pod_level_resources: bool,
    /// The scale's `spec.replicas`.
    pub spec_replicas: i32,
    /// The scale's `status.replicas`, which average values of Object and External metrics are divided by.
    pub status_replicas: i32,
}

impl Context {
    pub fn new(
        settings: &ControllerSettings,
        tolerances: Tolerances,
        now_ms: i64,
        replicas: (i32, i32),
    ) -> Self {
        Self {
            now_ms,
            tolerances,
            cpu_init_ms: settings.cpu_init_ms,
            initial_readiness_delay_ms: settings.initial_readiness_delay_ms,
            pod_level_resources: settings.pod_level_resources,
            spec_replicas: replicas.0,
            status_replicas: replicas.1,
        }
    }
}

/// What one metric asks for, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Proposal {
    /// Not clamped to any bounds.
    pub replicas: i32,
    /// Per cent of the requests (utilization targets only).
    #[serde(rename = "utilization_percent")]
    pub utilization: Option<i32>,
    /// Milli-units: the average per pod, or the whole for [`Target::Value`]. `None`: an average over no replicas.
    #[serde(rename = "usage_milli")]
    pub usage: Option<i64>,
    /// Current ÷ target.
    pub ratio: f64,
    /// The ratio with unready and missing pods added; `None`: there were none to add.
    pub adjusted_ratio: Option<f64>,
    pub verdict: Verdict,
    /// How the pods were used (per-pod metrics only).
    pub pods: PodTally,
}

/// Why a proposal has its number of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The ratio asks for another number.
    Change,
    /// The ratio is within the tolerance.
    WithinTolerance,
    /// With unready and missing pods added, the ratio points the other way (or their number does): no change.
    DirectionUncertain,
}

/// Why a metric yields no proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MetricError {
    /// The metrics API failed, or gave no reading of the metric's kind.
    Fetch,
    /// The selector matches no pod.
    NoPods,
    /// No sample is left after setting aside the pods that must not count.
    NoUsableMetrics,
    /// A container that counts has no request for the resource, so there is no utilization.
    MissingRequest {
        /// Position in the list of pods.
        pod: usize,
        /// Position in the pod's list of containers; `None`: the request of the pod as a whole is missing.
        container: Option<usize>,
    },
    /// The requests of the sampled pods add up to zero.
    NoMatchingMetrics,
    /// The metric has no target of a kind that its source allows.
    NoTarget,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch => "the metrics API gave no answer",
            Self::NoPods => "no pods returned by selector",
            Self::NoUsableMetrics => "no metrics for the targeted pods (they may be unready)",
            Self::MissingRequest { container: Some(_), .. } => "a container has no request for the resource",
            Self::MissingRequest { container: None, .. } => "a pod has no pod-level request for the resource",
            Self::NoMatchingMetrics => "the requests of the sampled pods add up to zero",
            Self::NoTarget => "neither a value target nor an average value target was set",
        })
    }
}

/// Computes one metric's proposal.
pub fn propose(
    metric: &Metric,
    context: &Context,
    pods: &[Pod],
    reading: &MetricReading,
) -> Result<Proposal, MetricError> {
    let target = metric.target.ok_or(MetricError::NoTarget)?;
    match (reading, metric.source.is_per_pod()) {
        (MetricReading::Pods(samples), true) => match target {
            Target::Utilization(per_cent) => {
                average::utilization(&metric.source, context, pods, samples, per_cent)
            }
            Target::AverageValue(milli) | Target::Value(milli) => {
                average::plain(&metric.source, context, pods, samples, milli)
            }
        },
        (MetricReading::Object(usage), false) if metric.source == Source::Object => match target {
            Target::AverageValue(milli) => Ok(total::object_average(context, *usage, milli)),
            Target::Value(milli) => total::value(context, pods, *usage, milli),
            Target::Utilization(_) => Err(MetricError::NoTarget),
        },
        (MetricReading::External(series), false) if metric.source == Source::External => match target {
            Target::AverageValue(milli) => Ok(total::external_average(context, series, milli)),
            Target::Value(milli) => {
                let usage = series.iter().fold(0_i64, |sum, value| sum.wrapping_add(*value));
                total::value(context, pods, usage, milli)
            }
            Target::Utilization(_) => Err(MetricError::NoTarget),
        },
        _ => Err(MetricError::Fetch),
    }
}

/// ⌈x⌉ as a number of replicas. Out of range saturates; NaN is 0.
fn ceil_to_replicas(replicas: f64) -> i32 {
    replicas.ceil() as i32
}
