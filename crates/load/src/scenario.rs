//! Scenarios: loads with phases and expectations, as files.
//!
//! ```yaml
//! name: tcp-10k
//! about: One line for lists.
//! service: tcp                # whose gateway is the target, unless one is given
//! protocol: tcp               # or udp
//! phases:
//!   ramp: { connections: 10000, rate: 5ms }
//!   hold: { for: 240s }       # from the first connect; or after-ramp: 30s, from the ramp's end
//!   send:                     # udp: what all peers together send, in place of an interval for each
//!     - { from: 1000/s, to: 30000/s, for: 120s }
//!     - { at: 30000/s, for: 60s }
//!   wait: { at-most: 180s }   # after the close, for changes of replicas that are still expected
//! messages: { every: 1s, payload: "msg:12345", expect: echo, timeout: 5s, window: 8 }
//! reconnect: { delay: 1s, jitter: 0s }
//! expectations:
//!   - lost = 0
//! ```

mod file;
mod keys;

use std::{fs, io, path::Path, time::Duration};

use platform::exit;

use crate::{
    expect::Expectation,
    plan::{LoadDuration, Reconnect},
    profile::Profile,
    protocol::Protocol,
    rate::Rate,
    reply::Expect,
};

/// The scenarios that are built in, by name.
const EMBEDDED: [(&str, &str); 2] = [
    ("tcp-10k", include_str!("../../../infrastructure/scenarios/tcp-10k.yaml")),
    ("udp-burst", include_str!("../../../infrastructure/scenarios/udp-burst.yaml")),
];
/// A larger file is no scenario.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A load as a file describes it. What the file leaves out is `None`, and has the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scenario {
    pub name: String,
    /// One line about it.
    pub about: String,
    /// The service whose endpoint is the default target.
    pub service: String,
    pub protocol: Option<Protocol>,
    pub connections: Option<u64>,
    pub rate: Option<Rate>,
    pub duration: Option<LoadDuration>,
    /// How long, after the close, expectations that can still come true are waited for.
    pub wait: Duration,
    /// The connections send nothing.
    pub silent: bool,
    pub every: Option<Duration>,
    /// UDP: what all peers together send.
    pub profile: Option<Profile>,
    /// UDP: the most messages of one peer that are outstanding at once.
    pub window: Option<u32>,
    pub payload: Option<String>,
    pub expect: Option<Expect>,
    pub message_timeout: Option<Duration>,
    pub connect_timeout: Option<Duration>,
    pub reconnect: Option<Reconnect>,
    pub expectations: Vec<Expectation>,
}

/// Why a scenario cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    #[error("there is no scenario `{name}`{}; there are: {}. A file needs a path, such as ./{name}.yaml", hint(nearest.as_deref()), known.join(", "))]
    Unknown { name: String, nearest: Option<String>, known: Vec<String> },
    #[error("{path}: {error}")]
    Read { path: String, error: io::Error },
    #[error("{file}: {message}")]
    Invalid { file: String, message: String },
}

impl ScenarioError {
    /// The exit code that belongs to this error.
    pub fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
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
    let nearest = EMBEDDED
        .iter()
        .map(|(name, _)| (strsim::damerau_levenshtein(name, name_or_path), *name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name.to_owned());
    let known = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
    Err(ScenarioError::Unknown { name: name_or_path.to_owned(), nearest, known })
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{bytes} bytes are too many for a scenario")));
    }
    fs::read_to_string(path)
}

impl Scenario {
    /// Reads the text of a scenario. `file` names it in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        file::parse(text).map_err(|message| ScenarioError::Invalid { file: file.to_owned(), message })
    }
}

#[cfg(test)]
mod tests;
