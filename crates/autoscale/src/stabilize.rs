//! Stabilization: recent recommendations hold back a change.
//!
//! Two different rules. Without a behaviour, the highest recommendation of the controller's window counts, even if
//! that is above the current count. With one, each direction has a window and the *current count* is moved only as far
//! as all recommendations of the windows agree. The edges of the windows differ too: without a behaviour a
//! recommendation exactly one window old still counts, with one it does not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{memory::Memory, plan::Rules};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Up,
    Down,
}

/// A count other than the proposal, held by an earlier recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct Stabilization {
    /// The direction in which the proposal was held back.
    pub direction: Direction,
    /// The latest recommendation that holds it.
    pub recommended: i32,
    pub recommended_ms: i64,
    /// The first instant at which that recommendation no longer counts.
    pub until_ms: i64,
}

/// `stabilizeRecommendation`: the highest recommendation of the window.
pub(crate) fn without_behavior(memory: &mut Memory, window_ms: i64, proposal: i32, now_ms: i64) -> i32 {
    let cutoff = now_ms.saturating_sub(window_ms);
    let mut highest = proposal;
    let mut expired = None;
    for (index, recommendation) in memory.recommendations.iter().enumerate() {
        if recommendation.at_ms < cutoff {
            expired = Some(index);
        } else {
            highest = highest.max(recommendation.replicas);
        }
    }
    memory.recommend(proposal, now_ms, expired);
    highest
}

/// `stabilizeRecommendationWithBehaviors`: the current count, moved as far as both windows agree.
pub(crate) fn with_behavior(
    memory: &mut Memory,
    rules: &Rules,
    current: i32,
    proposal: i32,
    now_ms: i64,
) -> i32 {
    let up_cutoff = now_ms.saturating_sub(rules.up.window_ms);
    let down_cutoff = now_ms.saturating_sub(rules.down.window_ms);
    let (mut lowest, mut highest) = (proposal, proposal);
    let mut expired = None;
    for (index, recommendation) in memory.recommendations.iter().enumerate() {
        if recommendation.at_ms > up_cutoff {
            lowest = lowest.min(recommendation.replicas);
        }
        if recommendation.at_ms > down_cutoff {
            highest = highest.max(recommendation.replicas);
        }
        // At the very edge a recommendation neither counts nor frees its place.
        if recommendation.at_ms < up_cutoff && recommendation.at_ms < down_cutoff {
            expired = Some(index);
        }
    }
    memory.recommend(proposal, now_ms, expired);
    // Not `clamp`, which panics on crossed bounds: the lower bound first, then the upper one.
    current.max(lowest).min(highest)
}

/// Which recommendation holds the count at `stabilized` instead of `proposal`. Call it after stabilizing.
pub(crate) fn holder(
    memory: &Memory,
    rules: Option<&Rules>,
    downscale_stabilization_ms: i64,
    (proposal, stabilized): (i32, i32),
    now_ms: i64,
) -> Option<Stabilization> {
    let direction = if proposal < stabilized { Direction::Down } else { Direction::Up };
    // How long a recommendation counts.
    let lifetime_ms = match (rules, direction) {
        (None, _) => downscale_stabilization_ms.saturating_add(1),
        (Some(rules), Direction::Up) => rules.up.window_ms,
        (Some(rules), Direction::Down) => rules.down.window_ms,
    };
    memory
        .recommendations
        .iter()
        .filter(|recommendation| recommendation.at_ms.saturating_add(lifetime_ms) > now_ms)
        .filter(|recommendation| match direction {
            Direction::Down => recommendation.replicas >= stabilized,
            Direction::Up => recommendation.replicas <= stabilized,
        })
        .max_by_key(|recommendation| recommendation.at_ms)
        .map(|recommendation| Stabilization {
            direction,
            recommended: recommendation.replicas,
            recommended_ms: recommendation.at_ms,
            until_ms: recommendation.at_ms.saturating_add(lifetime_ms),
        })
}
