//! Actions that the page offers, and the trait that carries them out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The maximum number of users in one action.
pub const USERS_MAX: usize = 1_000;

/// An action that a page requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    Scale {
        service: String,
        replicas: u32,
    },
    /// Sends SIGKILL; the replica is restarted.
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
        /// Overrides the scenario's number.
        connections: Option<u32>,
        hold_s: Option<u32>,
    },
    StopLoad {},
    /// Connects this many generated users.
    Connect {
        users: u32,
    },
    Disconnect {
        users: Vec<String>,
    },
}

/// The arguments of each action, in words.
const KNOWN: [(&str, &str); 7] = [
    ("scale", "service (a name) and replicas (a whole number, at least 0)"),
    ("kill", "service and replica (names)"),
    ("drain", "service and replica (names)"),
    ("start_load", "scenario (a name) and, if they are not its own, connections and hold_s (whole numbers)"),
    ("stop_load", "nothing else"),
    ("connect", "users (a whole number)"),
    ("disconnect", "users (a list of names)"),
];

impl Action {
    /// Parses a requested action; the error says what was expected.
    pub(crate) fn understood(asked: Value) -> Result<Self, String> {
        let name = asked.get("do").and_then(Value::as_str).map(str::to_owned);
        serde_json::from_value(asked).map_err(|_| {
            let all = || KNOWN.map(|(name, _)| name).join(", ");
            let Some(name) = name else { return format!("expected an object with `do`, one of: {}", all()) };
            match KNOWN.iter().find(|(known, _)| *known == name) {
                Some((_, takes)) => format!("expected beside {name}: {takes}"),
                None => format!("`do` is not one of: {}", all()),
            }
        })
    }
}

/// Carries out actions for the pages. Calls block.
pub trait Hands: Send + Sync + 'static {
    /// Performs the action; returns the outcome in words, or why it failed and what to do next.
    ///
    /// # Errors
    /// The action was not performed.
    fn act(&self, action: Action) -> Result<String, String>;
    /// The users that are connected to a replica.
    ///
    /// # Errors
    /// The users cannot be determined; the text says why.
    fn users(&self, service: &str, replica: &str) -> Result<Vec<String>, String>;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_action_is_answered_with_the_expected_ones() {
        for (asked, expected) in [
            (json!(null), "`do`, one of: scale, kill, drain"),
            (json!([1]), "`do`, one of: scale"),
            (json!({ "do": 7 }), "`do`, one of: scale"),
            (json!({ "do": "explode" }), "`do` is not one of: scale"),
            (json!({ "do": "scale", "service": "tcp" }), "beside scale: service (a name) and replicas"),
            (json!({ "do": "scale", "service": "tcp", "replicas": -1 }), "at least 0"),
            (
                json!({ "do": "kill", "service": "tcp", "replica": "tcp-0", "now": true }),
                "beside kill: service and",
            ),
            (
                json!({ "do": "drain", "service": ["tcp"], "replica": null }),
                "beside drain: service and replica",
            ),
            (
                json!({ "do": "start_load", "scenario": "a", "connections": "many" }),
                "beside start_load: scenario",
            ),
            (json!({ "do": "stop_load", "why": "" }), "beside stop_load: nothing else"),
            (json!({ "do": "connect", "users": 1.5 }), "beside connect: users (a whole number)"),
            (json!({ "do": "disconnect", "users": "all" }), "beside disconnect: users (a list of names)"),
        ] {
            let words = Action::understood(asked.clone()).unwrap_err();
            assert!(words.contains(expected), "{asked}: {words}");
            for of_the_parser in ["field", "variant", "invalid", "type", "deserialize", "u32"] {
                assert!(!words.contains(of_the_parser), "{asked}: {words}");
            }
        }
    }

    #[test]
    fn each_action_is_understood_by_its_name() {
        let users = vec!["a".to_owned()];
        let [service, replica] = ["tcp", "tcp-0"].map(str::to_owned);
        let all = [
            Action::Scale { service: service.clone(), replicas: 0 },
            Action::Kill { service: service.clone(), replica: replica.clone() },
            Action::Drain { service, replica },
            Action::StartLoad { scenario: "tcp-10k".to_owned(), connections: None, hold_s: Some(1) },
            Action::StopLoad {},
            Action::Connect { users: 1 },
            Action::Disconnect { users },
        ];
        for (action, (name, _)) in all.into_iter().zip(KNOWN) {
            let asked = serde_json::to_value(&action).unwrap();
            assert_eq!(asked["do"], name);
            assert_eq!(Action::understood(asked), Ok(action));
        }
    }
}
