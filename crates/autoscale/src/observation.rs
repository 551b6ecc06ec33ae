//! The autoscaler's observations in one reconciliation: the scale, the pods, the metrics.
//!
//! Instants are milliseconds on an axis of the caller's choice; only differences matter. Values are milli-units
//! (5,000 connections = 5,000,000). Samples belong to pods by position, so a step looks up no names.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// The zero time of the API's JSON (year 1), used if a condition has no transition time.
pub const ZERO_TIME_MS: i64 = -64_029_052_800_000;

/// Everything one reconciliation reads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    /// The scale target's `spec.replicas`.
    pub spec_replicas: i32,
    /// The scale target's `status.replicas`.
    pub status_replicas: i32,
    /// Every pod that the selector matches, whatever its state.
    pub pods: Vec<Pod>,
    /// One per metric of the (defaulted) spec, in its order. A metric without a reading counts as failed.
    pub metrics: Vec<MetricReading>,
    /// What fails this time.
    pub faults: Faults,
}

/// Failures in a reconciliation, except for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Faults {
    /// Reading the scale fails.
    pub get_scale: bool,
    /// Writing the scale fails, if it comes to that.
    pub update_scale: bool,
    /// The scale names no selector.
    pub no_selector: bool,
    /// How long writing the scale takes: its entry in the memory is stamped that much later.
    pub update_latency_ms: i64,
}

/// The properties of a pod that matter to the autoscaler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    pub name: Arc<str>,
    pub phase: Phase,
    /// The Ready condition; absent: the pod has none yet.
    pub ready: Option<Ready>,
    /// The pod's start time; absent: not started.
    pub started_ms: Option<i64>,
    /// Has a deletion timestamp.
    pub deleting: bool,
    /// Shared between the pods of one template.
    pub containers: Arc<[Container]>,
    /// Requests of the pod as a whole; empty: none.
    pub requests: Requests,
}

impl Default for Pod {
    /// A running pod that has been ready for ever.
    fn default() -> Self {
        Self {
            name: Arc::from(""),
            phase: Phase::Running,
            ready: Some(Ready { status: ReadyStatus::True, since_ms: ZERO_TIME_MS }),
            started_ms: Some(ZERO_TIME_MS),
            deleting: false,
            containers: Arc::from([]),
            requests: Requests::default(),
        }
    }
}

impl Pod {
    /// `IsPodReady`: the Ready condition is there and true.
    pub fn is_ready(&self) -> bool {
        self.ready.is_some_and(|ready| ready.status == ReadyStatus::True)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Pending,
    #[default]
    Running,
    Succeeded,
    Failed,
    Unknown,
}

/// A pod's Ready condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ready {
    pub status: ReadyStatus,
    /// When the status last changed.
    pub since_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadyStatus {
    True,
    False,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    pub name: Box<str>,
    #[serde(default)]
    pub kind: ContainerKind,
    #[serde(default)]
    pub requests: Requests,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerKind {
    #[default]
    Regular,
    /// An init container that is always restarted: it runs alongside the regular ones.
    Sidecar,
    /// An init container that ends before the regular ones start.
    Init,
}

/// Requests by resource name, in milli-units. A missing resource is not the same as a request of 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Requests(std::collections::BTreeMap<Box<str>, i64>);

impl Requests {
    pub fn get(&self, resource: &str) -> Option<i64> {
        self.0.get(resource).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The resources that are requested.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }
}

impl<S: Into<Box<str>>> FromIterator<(S, i64)> for Requests {
    fn from_iter<I: IntoIterator<Item = (S, i64)>>(requests: I) -> Self {
        Self(requests.into_iter().map(|(resource, milli)| (resource.into(), milli)).collect())
    }
}

/// What the metrics API answered for one metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum MetricReading {
    /// It failed.
    Failed,
    /// Per-pod samples (Resource, `ContainerResource`, Pods).
    Pods(PodSamples),
    /// The value of the object.
    Object(i64),
    /// The values of all series that matched.
    External(Vec<i64>),
}

/// Samples of pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSamples {
    /// By the position of the pod in [`Observation::pods`]; shorter: the rest has none.
    pub listed: Vec<Option<Sample>>,
    /// Values of pods that are not in the list, such as pods that the metrics pipeline still remembers. Surprisingly,
    /// they count: upstream averages over everything the metrics API returns.
    pub unlisted: Vec<i64>,
}

impl PodSamples {
    /// Puts named samples at their pods' positions. If a sample's name occurs twice, the last sample counts, as in
    /// upstream's map; if a pod's name does, the first pod gets the sample.
    pub fn matching<'a>(pods: &[Pod], samples: impl IntoIterator<Item = (&'a str, Sample)>) -> Self {
        let mut positions = HashMap::with_capacity(pods.len());
        for (position, pod) in pods.iter().enumerate() {
            positions.entry(pod.name.as_ref()).or_insert(position);
        }
        let mut listed = vec![None; pods.len()];
        // Ordered, so that equal input gives equal output.
        let mut unlisted = std::collections::BTreeMap::new();
        for (name, sample) in samples {
            match positions.get(name) {
                Some(position) => listed[*position] = Some(sample),
                None => {
                    unlisted.insert(name, sample.milli);
                }
            }
        }
        Self { listed, unlisted: unlisted.into_values().collect() }
    }

    pub(crate) fn of(&self, pod: usize) -> Option<Sample> {
        self.listed.get(pod).copied().flatten()
    }
}

/// One pod's value of a metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    pub milli: i64,
    /// When it was taken. Only CPU metrics use it.
    #[serde(default)]
    pub at_ms: i64,
    /// The length of its window. Only CPU metrics use it.
    #[serde(default)]
    pub window_ms: i64,
}
