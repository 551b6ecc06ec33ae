//! What can be wrong with values, with the place to fix.

use std::fmt;

use super::helm::{chart::ChartError, coalesce::NotATable};

/// Why values could not be used. Every case is a usage error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValuesError {
    /// A file cannot be read or is not YAML.
    #[error(transparent)]
    File(#[from] ChartError),
    /// A manifest, not values.
    #[error(
        "{file} is a Kubernetes object ({kind}) and no values file; the spec of an autoscaler goes under \
         SERVICE.autoscaling, without its scaleTargetRef"
    )]
    Object { file: String, kind: String },
    /// The text of a flag does not follow the grammar of `--set`.
    #[error("{flag}: {message}")]
    Flag { flag: String, message: String },
    #[error(transparent)]
    Subchart(#[from] NotATable),
    /// The values were read but are invalid: all problems, sorted by key.
    #[error("{}", listed(problems))]
    Invalid { problems: Vec<Problem> },
}

/// One key that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The full path, such as `tcp.autoscaling.maxReplicas`.
    pub key: String,
    /// What was found there, as JSON.
    pub value: Option<String>,
    /// What was expected or what to do next.
    pub message: String,
    /// The file and line or the flag that set it; absent if unknown.
    pub origin: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, message, origin } = self;
        if !key.is_empty() {
            write!(f, "{key}: ")?;
        }
        write!(f, "{message}")?;
        // The value of an unknown key does not matter.
        if let Some(value) = value.as_ref().filter(|_| !message.starts_with(yaml::UNKNOWN)) {
            write!(f, ", got {value}")?;
        }
        if let Some(origin) = origin {
            write!(f, " ({origin})")?;
        }
        Ok(())
    }
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
