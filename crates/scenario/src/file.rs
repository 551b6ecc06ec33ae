//! Scenario files: the built-in ones, how to find others, and their errors.

use std::{io, path::Path};

use platform::{exit, file};

use crate::{Scenario, hint};

/// The scenarios that are built in, by name.
const EMBEDDED: [(&str, &str); 15] = [
    ("tcp-10k", include_str!("../../../infrastructure/scenarios/tcp-10k.yaml")),
    ("udp-burst", include_str!("../../../infrastructure/scenarios/udp-burst.yaml")),
    ("broadcast", include_str!("../../../infrastructure/scenarios/broadcast.yaml")),
    ("drain", include_str!("../../../infrastructure/scenarios/drain.yaml")),
    ("broker-down", include_str!("../../../infrastructure/scenarios/broker-down.yaml")),
    ("kill-server", include_str!("../../../infrastructure/scenarios/kill-server.yaml")),
    ("rebalance-10k", include_str!("../../../infrastructure/scenarios/rebalance-10k.yaml")),
    ("node-add", include_str!("../../../infrastructure/scenarios/node-add.yaml")),
    ("ws-hard-limit", include_str!("../../../infrastructure/scenarios/ws-hard-limit.yaml")),
    ("ws-scale-out", include_str!("../../../infrastructure/scenarios/ws-scale-out.yaml")),
    ("ws-scale-in", include_str!("../../../infrastructure/scenarios/ws-scale-in.yaml")),
    ("ws-swiss-cheese", include_str!("../../../infrastructure/scenarios/ws-swiss-cheese.yaml")),
    ("ws-storm", include_str!("../../../infrastructure/scenarios/ws-storm.yaml")),
    ("stream-6", include_str!("../../../infrastructure/scenarios/stream-6.yaml")),
    ("stream-churn", include_str!("../../../infrastructure/scenarios/stream-churn.yaml")),
];
/// Maximum size of a scenario file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why there is no scenario to run. All are usage errors: a retry changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    #[error("there is no scenario `{name}`{hint} (there are: {}). A file needs a path, such as ./{name}.yaml", known.join(", "))]
    Unknown { name: String, hint: String, known: Vec<String> },
    #[error("{path}: {error}")]
    Read { path: String, error: io::Error },
    #[error(transparent)]
    Invalid(#[from] yaml::Error),
    /// A field of the scenario, named as in a file; a flag may have set it.
    #[error("{what}{}{value}: expected {expected}", if value.is_empty() { "" } else { " " })]
    Value { what: String, value: String, expected: String },
}

impl ScenarioError {
    /// The exit code for this error.
    pub fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

/// The built-in scenarios: name, and one line about each.
pub fn names() -> impl Iterator<Item = (&'static str, String)> {
    EMBEDDED.iter().map(|(name, text)| {
        let about = Scenario::parse(text, name).map(|scenario| scenario.about).unwrap_or_default();
        (*name, about)
    })
}

/// A built-in scenario by its name, or a file by its path (any text with a `/` or ending with `.yaml` or `.yml`).
pub fn find(name_or_path: &str) -> Result<Scenario, ScenarioError> {
    if let Some((name, text)) = EMBEDDED.iter().find(|(name, _)| *name == name_or_path) {
        return Scenario::parse(text, name);
    }
    let path = Path::new(name_or_path);
    let is_yaml = path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
    });
    if name_or_path.contains('/') || is_yaml {
        let bytes = file::read(path, FILE_BYTES_MAX)
            .map_err(|error| ScenarioError::Read { path: name_or_path.to_owned(), error })?;
        return Scenario::parse(&yaml::decode(name_or_path, bytes)?, name_or_path);
    }
    let known: Vec<String> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let hint = hint(name_or_path, known.iter().map(String::as_str));
    Err(ScenarioError::Unknown { name: name_or_path.to_owned(), hint, known })
}

impl Scenario {
    /// Reads the text of a scenario. `file` names it in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let document = yaml::read(file, text)?;
        let scenario: Self = document.typed()?;
        // No default: it distinguishes results.
        let is_named = document.value["name"].as_str().is_some_and(|name| !name.trim().is_empty());
        if !is_named {
            return Err(document.error_at("name", "must not be empty").into());
        }
        scenario.validate().map_err(|error| match error {
            ScenarioError::Value { what, value, expected } => {
                let value = if value.is_empty() { value } else { format!("{value}: ") };
                document.error_at(&what, format!("{value}expected {expected}")).into()
            }
            other => other,
        })?;
        Ok(scenario)
    }
}

#[cfg(test)]
mod tests;
