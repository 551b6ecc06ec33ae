//! Scenario files: which are built in, where others are found, and what is wrong with one.

use std::{fs, io, path::Path};

use platform::exit;

use crate::{Scenario, hint};

/// The scenarios that are built in, by name.
const EMBEDDED: [(&str, &str); 5] = [
    ("tcp-10k", include_str!("../../../infrastructure/scenarios/tcp-10k.yaml")),
    ("udp-burst", include_str!("../../../infrastructure/scenarios/udp-burst.yaml")),
    ("broadcast", include_str!("../../../infrastructure/scenarios/broadcast.yaml")),
    ("drain", include_str!("../../../infrastructure/scenarios/drain.yaml")),
    ("broker-down", include_str!("../../../infrastructure/scenarios/broker-down.yaml")),
];
/// A larger file is no scenario.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why there is no scenario to run. All of them are usage errors: trying again changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    #[error("there is no scenario `{name}`{hint}; there are: {}. A file needs a path, such as ./{name}.yaml", known.join(", "))]
    Unknown { name: String, hint: String, known: Vec<String> },
    #[error("{path}: {error}")]
    Read { path: String, error: io::Error },
    #[error("{file}: {message}")]
    Invalid { file: String, message: String },
    /// A field of the scenario, whether a file or a flag set it.
    #[error("{what} {value}: expected {expected}")]
    Value { what: String, value: String, expected: String },
}

impl ScenarioError {
    /// The exit code that belongs to this error.
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

/// A built-in scenario by its name, or a file by its path (whatever contains a `/` or ends with `.yaml` or `.yml`).
pub fn find(name_or_path: &str) -> Result<Scenario, ScenarioError> {
    if let Some((name, text)) = EMBEDDED.iter().find(|(name, _)| *name == name_or_path) {
        return Scenario::parse(text, name);
    }
    let path = Path::new(name_or_path);
    let is_yaml = path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
    });
    if name_or_path.contains('/') || is_yaml {
        return read(path)
            .map_err(|error| ScenarioError::Read { path: name_or_path.to_owned(), error })
            .and_then(|text| Scenario::parse(&text, name_or_path));
    }
    let known: Vec<String> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let hint = hint(name_or_path, known.iter().map(String::as_str));
    Err(ScenarioError::Unknown { name: name_or_path.to_owned(), hint, known })
}

fn read(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{} bytes are too many for a scenario", about.len())));
    }
    fs::read_to_string(path)
}

impl Scenario {
    /// Reads the text of a scenario. `file` names it in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let invalid = |message| ScenarioError::Invalid { file: file.to_owned(), message };
        let scenario = parse(text).map_err(invalid)?;
        // Not a default: results are told apart by it.
        if scenario.name.trim().is_empty() {
            return Err(invalid("name: must not be empty".to_owned()));
        }
        scenario.validate().map_err(|error| invalid(error.to_string()))?;
        Ok(scenario)
    }
}

fn parse(text: &str) -> Result<Scenario, String> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    value.apply_merge().map_err(|error| error.to_string())?;
    let serde_yaml::Value::Mapping(mapping) = &mut value else {
        return Err("expected keys and values, such as `name: mine`".to_owned());
    };
    // A place for anchors.
    mapping.retain(|key, _| !key.as_str().is_some_and(|key| key.starts_with("x-")));
    mapping.entry("name".into()).or_insert("".into());
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner().to_string();
        // The error may name the path as well.
        let inner = inner.strip_prefix(&format!("{path}: ")).map_or(inner.clone(), str::to_owned);
        unknown_key(&path, &inner)
            .unwrap_or_else(|| if path == "." { inner } else { format!("{path}: {inner}") })
    })
}

/// Says a key that nothing knows with its place and the nearest key that is known.
///
/// serde writes ``unknown field `a`, expected one of `b`, `c` ``, with its own idea of the place.
fn unknown_key(path: &str, message: &str) -> Option<String> {
    let quoted = message.split_once("unknown field `")?.1;
    let (key, rest) = quoted.split_once("`, ")?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let parent = path.strip_suffix(key).map_or(path, |parent| parent.trim_end_matches('.'));
    let parent = if parent == "." { "" } else { parent };
    let full = if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") };
    let place = if parent.is_empty() { "a scenario" } else { parent };
    let hint = hint(key, known.iter().copied());
    Some(format!("unknown key `{full}`{hint} ({place} has: {})", known.join(", ")))
}

#[cfg(test)]
mod tests;
