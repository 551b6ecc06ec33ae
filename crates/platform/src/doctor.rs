//! What a machine has and lacks, and what to do about each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// Missing; the platform comes up without it.
    Missing,
    /// The platform comes up, with limits.
    Warn,
    /// The platform does not come up.
    Fail,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    pub name: String,
    pub ok: Verdict,
    /// What was found.
    pub detail: String,
    /// How to fix it.
    pub fix: Option<String>,
}

impl Check {
    pub fn new(name: &str, ok: Verdict, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok, detail: detail.into(), fix: None }
    }

    #[must_use]
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
