//! What a balancer asks of a platform.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TargetError;

/// Whether a replica takes new connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    #[default]
    Active,
    /// Ready, but out of the endpoints: it keeps its connections and gets no new ones.
    Inactive,
}

impl Traffic {
    /// Whether this is what every replica starts with.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        })
    }
}

/// An order to a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shed {
    /// Names the order, so that it is not carried out twice: 1 to 64 visible ASCII characters.
    pub id: String,
    /// How many connections are to move, 1 at least.
    pub count: u64,
}

/// A decision of a balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balanced {
    /// What it ordered, one line each; empty: nothing.
    pub orders: Vec<String>,
    /// Why, in words.
    pub reason: String,
}

/// What a balancer last ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    pub at: jiff::Timestamp,
    /// One line each.
    pub orders: Vec<String>,
    /// Why, in words.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_zero(cost: &i32) -> bool {
    *cost == 0
}

pub(super) fn unsupported(what: fmt::Arguments<'_>) -> TargetError {
    TargetError::Unsupported { what: what.to_string(), why: "this target does not balance".to_owned() }
}
