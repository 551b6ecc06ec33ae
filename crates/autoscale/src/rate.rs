//! Limits on how far one reconciliation may go: the policies of a behaviour, and the bounds.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    memory::{Memory, change_within},
    plan::{DirectionRules, Plan, Rules},
    spec::{PolicyKind, ScalingPolicy, SelectPolicy},
    stabilize::Direction,
    status::ConditionReason,
};

/// What kept the count from the result of stabilization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cap {
    /// `maxReplicas`
    Max { replicas: i32 },
    /// `minReplicas`
    Min { replicas: i32 },
    /// Without a behaviour: at most twice the current count, or 4.
    Doubling { replicas: i32 },
    /// A policy of the behaviour, by its position.
    Policy { direction: Direction, policy: usize, replicas: i32 },
    /// The behaviour has `selectPolicy: Disabled`.
    Disabled { direction: Direction, replicas: i32 },
}

impl Cap {
    /// The count that it allows.
    pub fn replicas(self) -> i32 {
        match self {
            Self::Max { replicas }
            | Self::Min { replicas }
            | Self::Doubling { replicas }
            | Self::Policy { replicas, .. }
            | Self::Disabled { replicas, .. } => replicas,
        }
    }

    /// The reason of the condition `ScalingLimited`.
    pub(crate) fn reason(self) -> ConditionReason {
        match self {
            Self::Max { .. } => ConditionReason::TooManyReplicas,
            Self::Min { .. } => ConditionReason::TooFewReplicas,
            Self::Doubling { .. }
            | Self::Policy { direction: Direction::Up, .. }
            | Self::Disabled { direction: Direction::Up, .. } => ConditionReason::ScaleUpLimit,
            Self::Policy { direction: Direction::Down, .. }
            | Self::Disabled { direction: Direction::Down, .. } => ConditionReason::ScaleDownLimit,
        }
    }
}

/// `convertDesiredReplicasWithRules`. Returns the cap that applies, if any. Going down is limited only by the minimum.
pub(crate) fn without_behavior(plan: &Plan, current: i32, desired: i32) -> Option<Cap> {
    let doubled = current.saturating_mul(2).max(4);
    if desired < plan.min {
        Some(Cap::Min { replicas: plan.min })
    } else if plan.max > doubled {
        (desired > doubled).then_some(Cap::Doubling { replicas: doubled })
    } else {
        (desired > plan.max).then_some(Cap::Max { replicas: plan.max })
    }
}

/// `convertDesiredReplicasWithBehaviorRate`. Each direction looks at the bound of its own side only.
pub(crate) fn with_behavior(
    plan: &Plan,
    rules: &Rules,
    memory: &Memory,
    (current, desired): (i32, i32),
    now_ms: i64,
) -> Option<Cap> {
    let (cap, limited) = match desired.cmp(&current) {
        Ordering::Equal => return None,
        Ordering::Greater => {
            let limit = up_limit(&rules.up, memory, current, now_ms).at_least(current);
            let cap = if plan.max > limit.replicas() { limit } else { Cap::Max { replicas: plan.max } };
            (cap, desired > cap.replicas())
        }
        Ordering::Less => {
            let limit = down_limit(&rules.down, memory, current, now_ms).at_most(current);
            let cap = if plan.min < limit.replicas() { limit } else { Cap::Min { replicas: plan.min } };
            (cap, desired < cap.replicas())
        }
    };
    limited.then_some(cap)
}

impl Cap {
    fn at_least(self, floor: i32) -> Self {
        self.with(self.replicas().max(floor))
    }

    fn at_most(self, ceiling: i32) -> Self {
        self.with(self.replicas().min(ceiling))
    }

    fn with(self, replicas: i32) -> Self {
        match self {
            Self::Policy { direction, policy, .. } => Self::Policy { direction, policy, replicas },
            Self::Disabled { direction, .. } => Self::Disabled { direction, replicas },
            other => other,
        }
    }
}

/// `calculateScaleUpLimitWithScalingRules`.
fn up_limit(rules: &DirectionRules, memory: &Memory, current: i32, now_ms: i64) -> Cap {
    let direction = Direction::Up;
    let allowed = |policy: &ScalingPolicy| {
        let start = period_start(policy, memory, current, now_ms);
        match policy.kind {
            PolicyKind::Pods => start.wrapping_add(policy.value),
            // Rounded up, so that a few per cent of a small count are at least one.
            PolicyKind::Percent => (f64::from(start) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
        }
    };
    let limits = rules.policies.iter().map(allowed).enumerate();
    let selected = match rules.select {
        SelectPolicy::Disabled => {
            return Cap::Disabled { direction, replicas: current };
        }
        SelectPolicy::Min => limits.min_by_key(|(_, replicas)| *replicas),
        SelectPolicy::Max => limits.rev().max_by_key(|(_, replicas)| *replicas),
    };
    // Validation ensures that there is a policy.
    let (policy, replicas) = selected.unwrap_or((0, current));
    Cap::Policy { direction, policy, replicas }
}

/// `calculateScaleDownLimitWithBehaviors`.
fn down_limit(rules: &DirectionRules, memory: &Memory, current: i32, now_ms: i64) -> Cap {
    let direction = Direction::Down;
    let allowed = |policy: &ScalingPolicy| {
        let start = period_start(policy, memory, current, now_ms);
        match policy.kind {
            PolicyKind::Pods => start.wrapping_sub(policy.value),
            // Cut off, not rounded.
            PolicyKind::Percent => (f64::from(start) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
        }
    };
    let limits = rules.policies.iter().map(allowed).enumerate();
    let selected = match rules.select {
        SelectPolicy::Disabled => {
            return Cap::Disabled { direction, replicas: current };
        }
        // The smallest change is the largest count.
        SelectPolicy::Min => limits.rev().max_by_key(|(_, replicas)| *replicas),
        SelectPolicy::Max => limits.min_by_key(|(_, replicas)| *replicas),
    };
    let (policy, replicas) = selected.unwrap_or((0, current));
    Cap::Policy { direction, policy, replicas }
}

/// The count when the policy's period began: changes of *both* directions are undone.
fn period_start(policy: &ScalingPolicy, memory: &Memory, current: i32, now_ms: i64) -> i32 {
    let period_ms = i64::from(policy.period_seconds) * 1000;
    current.wrapping_sub(change_within(&memory.scale_ups, period_ms, now_ms)).wrapping_add(change_within(
        &memory.scale_downs,
        period_ms,
        now_ms,
    ))
}
