//! What the API server refuses (`pkg/apis/autoscaling/validation`, v1.34), in its own words.

mod metrics;

pub(crate) use metrics::Scope;

use std::fmt;

use super::{HpaSpec, MetricSpec, ScalingPolicy, ScalingRules};

/// The longest period of a policy, in seconds (`MaxPeriodSeconds`).
const MAX_PERIOD_SECONDS: i32 = 1800;
/// The longest stabilization window, in seconds (`MaxStabilizationWindowSeconds`).
const MAX_STABILIZATION_WINDOW_SECONDS: i32 = 3600;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Such as `metrics[0].pods.target.averageValue`, relative to the spec.
    pub path: String,
    /// The offending value; absent if something is missing or must not be there.
    pub value: Option<String>,
    /// The API server's reason, such as `must be greater than 0`.
    pub reason: String,
}

impl FieldError {
    fn invalid(path: impl Into<String>, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { path: path.into(), value: Some(value.to_string()), reason: reason.into() }
    }

    /// The same error seen from outside: `prefix` is put before the path.
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.path = format!("{prefix}.{}", self.path);
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: invalid value `{value}`: {}", self.path, self.reason),
            None => write!(f, "{}: {}", self.path, self.reason),
        }
    }
}

/// A spec that the API server would refuse, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSpec(pub Vec<FieldError>);

impl fmt::Display for InvalidSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidSpec {}

pub(crate) fn required(path: impl Into<String>, reason: &str) -> FieldError {
    let reason = if reason.is_empty() { "required" } else { reason };
    FieldError { path: path.into(), value: None, reason: reason.to_owned() }
}

fn forbidden(path: impl Into<String>, reason: &str) -> FieldError {
    FieldError { path: path.into(), value: None, reason: format!("forbidden: {reason}") }
}

type Errors = Vec<FieldError>;

impl HpaSpec {
    /// Everything that the API server would refuse; empty: the spec is valid. Apply to a defaulted spec, as the API
    /// server does. `scale_to_zero`: the feature gate `HPAScaleToZero`.
    pub fn validate(&self, scale_to_zero: bool) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let lowest = i32::from(!scale_to_zero);
        if let Some(min) = self.min_replicas.filter(|min| *min < lowest) {
            let reason = format!("must be greater than or equal to {lowest}");
            errors.push(FieldError::invalid("minReplicas", min, reason));
        }
        if self.max_replicas < 1 {
            errors.push(FieldError::invalid("maxReplicas", self.max_replicas, "must be greater than 0"));
        }
        if self.min_replicas.is_some_and(|min| self.max_replicas < min) {
            let reason = "must be greater than or equal to `minReplicas`";
            errors.push(FieldError::invalid("maxReplicas", self.max_replicas, reason));
        }
        for (index, metric) in self.metrics.iter().enumerate() {
            metric.validate(&format!("metrics[{index}]"), &mut errors);
        }
        let needs_no_pods = |metric: &MetricSpec| matches!(metric.kind.as_str(), "Object" | "External");
        if self.min_replicas == Some(0) && !self.metrics.iter().any(needs_no_pods) {
            let reason =
                "must specify at least one Object or External metric to support scaling to zero replicas";
            errors.push(forbidden("metrics", reason));
        }
        if let Some(behavior) = &self.behavior {
            let directions =
                [("behavior.scaleUp", &behavior.scale_up), ("behavior.scaleDown", &behavior.scale_down)];
            for (path, rules) in directions {
                if let Some(rules) = rules {
                    rules.validate(path, &mut errors);
                }
            }
        }
        errors
    }
}

impl ScalingRules {
    fn validate(&self, path: &str, errors: &mut Errors) {
        if let Some(window) = self.stabilization_window_seconds {
            let path = format!("{path}.stabilizationWindowSeconds");
            if window < 0 {
                errors.push(FieldError::invalid(path, window, "must be greater than or equal to zero"));
            } else if window > MAX_STABILIZATION_WINDOW_SECONDS {
                let reason = format!("must be less than or equal to {MAX_STABILIZATION_WINDOW_SECONDS}");
                errors.push(FieldError::invalid(path, window, reason));
            }
        }
        let policies = self.policies.as_deref().unwrap_or_default();
        if policies.is_empty() {
            errors.push(required(format!("{path}.policies"), "must specify at least one Policy"));
        }
        for (index, policy) in policies.iter().enumerate() {
            policy.validate(&format!("{path}.policies[{index}]"), errors);
        }
        if let Some(tolerance) = self.tolerance.as_ref().filter(|tolerance| tolerance.signum() < 0) {
            let reason = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("{path}.tolerance"), tolerance, reason));
        }
    }
}

impl ScalingPolicy {
    fn validate(&self, path: &str, errors: &mut Errors) {
        if self.value <= 0 {
            errors.push(FieldError::invalid(
                format!("{path}.value"),
                self.value,
                "must be greater than zero",
            ));
        }
        let period = self.period_seconds;
        if period <= 0 {
            errors.push(FieldError::invalid(
                format!("{path}.periodSeconds"),
                period,
                "must be greater than zero",
            ));
        } else if period > MAX_PERIOD_SECONDS {
            let reason = format!("must be less than or equal to {MAX_PERIOD_SECONDS}");
            errors.push(FieldError::invalid(format!("{path}.periodSeconds"), period, reason));
        }
    }
}

/// Why a name cannot be part of a URL's path (`IsValidPathSegmentName`).
pub(crate) fn path_segment_problems(name: &str) -> Vec<&'static str> {
    match name {
        "." => vec!["may not be '.'"],
        ".." => vec!["may not be '..'"],
        _ => [("/", "may not contain '/'"), ("%", "may not contain '%'")]
            .into_iter()
            .filter(|(part, _)| name.contains(part))
            .map(|(_, problem)| problem)
            .collect(),
    }
}
