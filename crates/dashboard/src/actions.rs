//! What can be done from the page, and to whom that is left.

use serde::{Deserialize, Serialize};

/// The most users that one action is about.
pub const USERS_MAX: usize = 1_000;

/// What a page asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    Scale {
        service: String,
        replicas: u32,
    },
    /// SIGKILL; it is started again.
    Kill {
        service: String,
        replica: String,
    },
    Drain {
        service: String,
        replica: String,
    },
    /// A built-in scenario, by its name.
    StartLoad {
        scenario: String,
        /// In place of the scenario's.
        connections: Option<u32>,
        hold_s: Option<u32>,
    },
    StopLoad {},
    /// So many users that are made up.
    Connect {
        users: u32,
    },
    Disconnect {
        users: Vec<String>,
    },
}

/// What acts for the pages. Calls block.
pub trait Hands: Send + Sync + 'static {
    /// Does it; returns the outcome in words, or why it was not done and what to do next.
    ///
    /// # Errors
    /// It was not done.
    fn act(&self, action: Action) -> Result<String, String>;
    /// The users that are connected to a replica.
    ///
    /// # Errors
    /// Nobody can tell, in words.
    fn users(&self, service: &str, replica: &str) -> Result<Vec<String>, String>;
}
