//! What the API server fills in (`SetDefaults_HorizontalPodAutoscaler`).

use super::{Behavior, HpaSpec, MetricSpec, MetricTarget, PolicyKind, ResourceMetricSource};
use super::{ScalingPolicy, ScalingRules, SelectPolicy};

/// Per cent of the CPU request that is aimed at when no metric is named.
const DEFAULT_CPU_UTILIZATION: i32 = 80;

impl HpaSpec {
    /// The spec as stored: defaults filled in. Defaulting twice changes nothing.
    ///
    /// `behavior.scaleDown.stabilizationWindowSeconds` stays unset, since its default is the controller's setting and
    /// not the API server's. A missing `behavior` stays missing.
    #[must_use]
    pub fn defaulted(&self) -> Self {
        let mut spec = self.clone();
        spec.min_replicas.get_or_insert(1);
        if spec.metrics.is_empty() {
            spec.metrics.push(cpu_utilization());
        }
        if let Some(behavior) = spec.behavior.take() {
            spec.behavior = Some(Behavior {
                scale_up: Some(behavior.scale_up.unwrap_or_default().or(default_scale_up())),
                scale_down: Some(behavior.scale_down.unwrap_or_default().or(default_scale_down())),
            });
        }
        spec
    }
}

impl ScalingRules {
    /// Fills what is unset from `defaults` (`copyHPAScalingRules`). An empty list of policies counts as set.
    fn or(self, defaults: Self) -> Self {
        Self {
            stabilization_window_seconds: self
                .stabilization_window_seconds
                .or(defaults.stabilization_window_seconds),
            select_policy: self.select_policy.or(defaults.select_policy),
            policies: self.policies.or(defaults.policies),
            tolerance: self.tolerance.or(defaults.tolerance),
        }
    }
}

fn cpu_utilization() -> MetricSpec {
    MetricSpec {
        kind: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                kind: "Utilization".to_owned(),
                average_utilization: Some(DEFAULT_CPU_UTILIZATION),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

fn default_scale_up() -> ScalingRules {
    ScalingRules {
        stabilization_window_seconds: Some(0),
        select_policy: Some(SelectPolicy::Max),
        policies: Some(vec![
            ScalingPolicy { kind: PolicyKind::Pods, value: 4, period_seconds: 15 },
            ScalingPolicy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 },
        ]),
        tolerance: None,
    }
}

fn default_scale_down() -> ScalingRules {
    ScalingRules {
        stabilization_window_seconds: None,
        select_policy: Some(SelectPolicy::Max),
        policies: Some(vec![ScalingPolicy { kind: PolicyKind::Percent, value: 100, period_seconds: 15 }]),
        tolerance: None,
    }
}
