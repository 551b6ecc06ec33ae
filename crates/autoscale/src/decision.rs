//! The outcome of one reconciliation: data first, words on demand.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    calculator::{MetricError, Proposal},
    plan::Plan,
    rate::Cap,
    stabilize::Stabilization,
    status::{ConditionReason, Conditions},
};

/// What one reconciliation found and did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Decision {
    pub now_ms: i64,
    /// The status' `currentReplicas` afterwards.
    pub current: i32,
    /// The status' `desiredReplicas` afterwards.
    pub desired: i32,
    /// The count that was written to the scale; absent: nothing was.
    pub scaled_to: Option<i32>,
    /// What the metrics ask for; absent: they were not looked at or failed.
    pub proposal: Option<i32>,
    /// What stabilization left of it.
    pub stabilized: Option<i32>,
    /// One per metric of the spec, in its order; empty: they were not looked at.
    pub metrics: Vec<MetricOutcome>,
    /// The missing request of each metric that failed because of one.
    pub missing_requests: Vec<MissingRequest>,
    /// Position of the metric whose proposal is the largest.
    pub leading: Option<usize>,
    pub rescale_reason: Option<RescaleReason>,
    pub limits: Limits,
    pub conditions: Conditions,
    /// Why the reconciliation counts as failed. Scaling may have happened nevertheless.
    pub error: Option<ReconcileError>,
    plan: Arc<Plan>,
}

impl Decision {
    pub(crate) fn new(plan: Arc<Plan>, now_ms: i64, current: i32) -> Self {
        Self {
            now_ms,
            current,
            desired: current,
            scaled_to: None,
            proposal: None,
            stabilized: None,
            metrics: Vec::new(),
            missing_requests: Vec::new(),
            leading: None,
            rescale_reason: None,
            limits: Limits::default(),
            conditions: Conditions::default(),
            error: None,
            plan,
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Why the scale was changed, in the controller's words, as in its event: `pods metric NAME above target`. Empty if
    /// it was not, and in the odd case that an old recommendation scales up while the metrics are content.
    pub fn rescale_reason(&self) -> impl fmt::Display + '_ {
        RescaleWords(self)
    }

    /// The decision in the controller's words, as `kubectl describe hpa` shows them: its event if the scale was
    /// changed, else the message of the condition that explains why not.
    pub fn reason(&self) -> impl fmt::Display + '_ {
        ReasonWords(self)
    }

    /// A condition's message, with the particulars of this decision where the controller adds them.
    pub fn condition_message(&self, reason: ConditionReason) -> impl fmt::Display + '_ {
        MessageWords(self, reason)
    }

    /// The label of the metric at a position, such as `tcp_state_established`.
    pub fn metric_label(&self, metric: usize) -> &str {
        self.plan.metrics.get(metric).map_or("", |planned| &planned.label)
    }
}

/// One metric's part in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricOutcome {
    pub result: Result<Proposal, MetricError>,
}

/// A request that a utilization target needs and the pod does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRequest {
    /// Position of the metric.
    pub metric: usize,
    pub pod: Arc<str>,
    /// `None`: the pod's own request is missing.
    pub container: Option<Box<str>>,
}

/// Why the scale changes, as in the controller's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RescaleReason {
    /// The metric at this position asks for more.
    AboveTarget {
        metric: usize,
    },
    AllBelowTarget,
    /// Somebody set more than `maxReplicas`.
    AboveMax,
    /// Somebody set less than `minReplicas`.
    BelowMin,
}

/// What limited the count between the proposal and the result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Limits {
    /// A recommendation of the window held the count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization: Option<Stabilization>,
    /// A policy or a bound cut it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Cap>,
}

/// Why a reconciliation failed, wholly or in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReconcileError {
    /// The scale could not be read.
    GetScale,
    /// The scale names no selector.
    NoSelector,
    /// Metrics failed; if others ask for at least the current count, scaling continues.
    Metrics {
        failed: usize,
        /// The position of the first that failed.
        first: usize,
        error: MetricError,
    },
    /// The scale could not be written.
    UpdateScale { desired: i32 },
}

struct RescaleWords<'a>(&'a Decision);

impl fmt::Display for RescaleWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.rescale_reason {
            None => Ok(()),
            Some(RescaleReason::AboveTarget { metric }) => {
                let name = self.0.plan.metrics.get(metric).map_or("", |planned| &planned.name);
                write!(f, "{name} above target")
            }
            Some(RescaleReason::AllBelowTarget) => f.write_str("All metrics below target"),
            Some(RescaleReason::AboveMax) => f.write_str("Current number of replicas above Spec.MaxReplicas"),
            Some(RescaleReason::BelowMin) => f.write_str("Current number of replicas below Spec.MinReplicas"),
        }
    }
}

struct ReasonWords<'a>(&'a Decision);

impl fmt::Display for ReasonWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = self.0;
        if let Some(replicas) = decision.scaled_to {
            return write!(f, "New size: {replicas}; reason: {}", decision.rescale_reason());
        }
        if let Some(ReconcileError::UpdateScale { desired }) = decision.error {
            return write!(
                f,
                "New size: {desired}; reason: {}; the scale could not be written",
                decision.rescale_reason()
            );
        }
        let conditions = &decision.conditions;
        let telling = conditions
            .scaling_active
            .filter(|condition| !condition.status)
            .or(conditions
                .scaling_limited
                .filter(|condition| condition.status && decision.proposal.is_some()))
            .or(conditions.able_to_scale);
        let reason = telling.map_or(ConditionReason::ReadyForNewScale, |condition| condition.reason);
        write!(f, "{}", decision.condition_message(reason))
    }
}

struct MessageWords<'a>(&'a Decision, ConditionReason);

impl fmt::Display for MessageWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(decision, reason) = self;
        f.write_str(reason.message())?;
        match (reason, decision.leading, decision.scaled_to, decision.error) {
            (ConditionReason::ValidMetricFound, Some(metric), _, _) => {
                write!(f, " from {}", decision.plan.metrics.get(metric).map_or("", |planned| &planned.name))
            }
            (ConditionReason::SucceededRescale, _, Some(replicas), _) => write!(f, " to {replicas}"),
            (reason, _, _, Some(ReconcileError::Metrics { error, .. })) if reason.is_metric_failure() => {
                write!(f, ": {error}")
            }
            _ => Ok(()),
        }
    }
}
