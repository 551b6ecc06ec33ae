//! The HPA object's status: what the controller reports, and what survives its restart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of one autoscaler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Status {
    pub current_replicas: i32,
    pub desired_replicas: i32,
    /// When the scale was last changed; absent: never.
    pub last_scale_ms: Option<i64>,
    /// One per metric; an entry is absent if that metric could not be computed. Absent as a whole if the metrics were
    /// not looked at.
    pub current_metrics: Option<Vec<Option<CurrentMetric>>>,
    pub conditions: Conditions,
}

/// A metric's current value, as far as it is defined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CurrentMetric {
    /// Per cent of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_milli: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_milli: Option<i64>,
}

/// All conditions. One that was never set is absent; one that does not come up stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub able_to_scale: Option<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling_active: Option<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling_limited: Option<Condition>,
}

impl Conditions {
    /// The conditions that are present, by the names of their types.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Condition)> {
        [
            ("AbleToScale", self.able_to_scale),
            ("ScalingActive", self.scaling_active),
            ("ScalingLimited", self.scaling_limited),
        ]
        .into_iter()
        .filter_map(|(name, condition)| Some((name, condition?)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    pub status: bool,
    pub reason: ConditionReason,
    /// When the status (not the reason) last changed.
    pub since_ms: i64,
}

impl Condition {
    /// `True` or `False`, as in the API.
    pub fn status_word(self) -> &'static str {
        if self.status { "True" } else { "False" }
    }
}

/// Sets a condition; its time moves only with its status.
pub(crate) fn set(place: &mut Option<Condition>, status: bool, reason: ConditionReason, now_ms: i64) {
    let since_ms = match place {
        Some(before) if before.status == status => before.since_ms,
        _ => now_ms,
    };
    *place = Some(Condition { status, reason, since_ms });
}

/// The reasons of all conditions, named as in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionReason {
    // AbleToScale
    SucceededGetScale,
    FailedGetScale,
    ReadyForNewScale,
    ScaleUpStabilized,
    ScaleDownStabilized,
    SucceededRescale,
    FailedUpdateScale,
    // ScalingActive
    ValidMetricFound,
    ScalingDisabled,
    InvalidSelector,
    FailedGetResourceMetric,
    FailedGetContainerResourceMetric,
    FailedGetPodsMetric,
    FailedGetObjectMetric,
    FailedGetExternalMetric,
    // ScalingLimited
    DesiredWithinRange,
    ScaleUpLimit,
    ScaleDownLimit,
    TooManyReplicas,
    TooFewReplicas,
}

impl ConditionReason {
    /// Whether it means that a metric could not be computed.
    pub(crate) fn is_metric_failure(self) -> bool {
        matches!(
            self,
            Self::FailedGetResourceMetric
                | Self::FailedGetContainerResourceMetric
                | Self::FailedGetPodsMetric
                | Self::FailedGetObjectMetric
                | Self::FailedGetExternalMetric
        )
    }

    /// The controller's message for `kubectl describe hpa`, as far as it is fixed.
    pub fn message(self) -> &'static str {
        match self {
            Self::SucceededGetScale => "the HPA controller was able to get the target's current scale",
            Self::FailedGetScale => "the HPA controller was unable to get the target's current scale",
            Self::ReadyForNewScale => "recommended size matches current size",
            Self::ScaleUpStabilized => {
                "recent recommendations were lower than current one, applying the lowest recent recommendation"
            }
            Self::ScaleDownStabilized => {
                "recent recommendations were higher than current one, applying the highest recent recommendation"
            }
            Self::SucceededRescale => "the HPA controller was able to update the target scale",
            Self::FailedUpdateScale => "the HPA controller was unable to update the target scale",
            Self::ValidMetricFound => "the HPA was able to successfully calculate a replica count",
            Self::ScalingDisabled => "scaling is disabled since the replica count of the target is zero",
            Self::InvalidSelector => "the HPA target's scale is missing a selector",
            Self::FailedGetResourceMetric
            | Self::FailedGetContainerResourceMetric
            | Self::FailedGetPodsMetric
            | Self::FailedGetObjectMetric
            | Self::FailedGetExternalMetric => "the HPA was unable to compute the replica count",
            Self::DesiredWithinRange => "the desired count is within the acceptable range",
            Self::ScaleUpLimit => {
                "the desired replica count is increasing faster than the maximum scale rate"
            }
            Self::ScaleDownLimit => {
                "the desired replica count is decreasing faster than the maximum scale rate"
            }
            Self::TooManyReplicas => "the desired replica count is more than the maximum replica count",
            Self::TooFewReplicas => "the desired replica count is less than the minimum replica count",
        }
    }
}

impl fmt::Display for ConditionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants are named as the API spells the reasons.
        fmt::Debug::fmt(self, f)
    }
}
