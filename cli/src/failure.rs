//! The outcome of a command: an exit code, or why it failed.

use platform::{TargetError, exit};

/// Why a command failed, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub code: u8,
    /// For programs: the kind of failure.
    pub kind: String,
    pub message: String,
    /// Whether the same command may succeed later without any changes.
    pub retry: bool,
    /// Whether the result on stdout stands without it: an interruption of a command that runs until it is stopped, or
    /// whose result says so.
    pub is_told: bool,
}

/// `Ok` carries the exit code, since an unmet expectation is a result and not an error.
pub(crate) type Outcome = Result<u8, Failure>;

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        let kind = match code {
            exit::USAGE => "usage",
            exit::EXPECTATION_NOT_MET => "expectation_not_met",
            exit::BRING_UP_FAILED => "bring_up",
            exit::TEARDOWN_LEFT_SOMETHING => "teardown_left",
            exit::INTERRUPTED => "interrupted",
            _ => "failed",
        };
        Self { code, kind: kind.to_owned(), message: message.into(), retry: false, is_told: false }
    }

    /// A wrong command line, setting or file.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(exit::USAGE, message.to_string())
    }

    pub(crate) fn failed(message: impl std::fmt::Display) -> Self {
        Self::new(exit::FAILED, message.to_string())
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(exit::INTERRUPTED, "interrupted")
    }

    /// The same for a command whose result is complete nevertheless.
    pub(crate) fn stopped() -> Self {
        Self { is_told: true, ..Self::interrupted() }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let failure = Self { retry: error.is_temporary(), ..Self::new(error.exit_code(), error.to_string()) };
        // The error's own tag is more specific than the exit code, except for the generic one.
        match serde_json::to_value(&error)
            .ok()
            .and_then(|error| Some(error.get("kind")?.as_str()?.to_owned()))
        {
            Some(kind) if !matches!(error, TargetError::Other { .. }) => Self { kind, ..failure },
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_failure_says_whether_to_try_again() {
        let message = || "words".to_owned();
        for (error, kind, retry) in [
            (TargetError::Other { message: message() }, "failed", false),
            (TargetError::Temporary { message: message() }, "temporary", true),
            (TargetError::NoAnswer { message: message() }, "no_answer", true),
            (TargetError::NotRunning { platform: message() }, "not_running", false),
            (TargetError::Invalid { message: message() }, "invalid", false),
        ] {
            let failure = Failure::from(error);
            assert_eq!((failure.kind.as_str(), failure.retry), (kind, retry));
        }
    }
}
