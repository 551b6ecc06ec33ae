//! The controller's own settings: what `kube-controller-manager` takes as flags and feature gates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings that apply to all autoscalers of one controller. The defaults are upstream's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllerSettings {
    /// How far a metric's ratio may be off 1 before anything happens, both directions.
    /// `--horizontal-pod-autoscaler-tolerance`
    pub tolerance: f64,
    /// How far back recommendations hold up a scale-down, if the spec does not say.
    /// `--horizontal-pod-autoscaler-downscale-stabilization`
    pub downscale_stabilization_ms: i64,
    /// After its start a pod's CPU sample counts only if the pod is ready and the sample's window lies wholly after
    /// it became so. `--horizontal-pod-autoscaler-cpu-initialization-period`
    pub cpu_init_ms: i64,
    /// An unready pod whose readiness last changed within this time of its start was never ready, and its CPU is
    /// ignored. `--horizontal-pod-autoscaler-initial-readiness-delay`
    pub initial_readiness_delay_ms: i64,
    /// Gate `HPAConfigurableTolerance` (alpha in 1.34): `behavior.*.tolerance` is read.
    pub configurable_tolerance: bool,
    /// Gate `PodLevelResources` (beta in 1.34): requests of the whole pod replace those of its containers.
    pub pod_level_resources: bool,
    /// Gate `HPAScaleToZero` (alpha in 1.34): `minReplicas: 0` is valid.
    pub scale_to_zero: bool,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            tolerance: 0.1,
            downscale_stabilization_ms: 300_000,
            cpu_init_ms: 300_000,
            initial_readiness_delay_ms: 30_000,
            configurable_tolerance: false,
            pod_level_resources: true,
            scale_to_zero: false,
        }
    }
}

/// How far a ratio may be off 1 without consequence, per direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tolerances {
    /// 0.1: ratios from 0.9 on are near enough.
    pub down: f64,
    /// 0.1: ratios up to 1.1 are near enough.
    pub up: f64,
}

impl Tolerances {
    /// Whether nothing needs to be done. Both ends belong to the tolerance; NaN does not.
    pub fn contain(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}
