//! Errors of an API server, in words.

use std::{error::Error, time::Duration};

/// Why a call to the API server failed.
#[derive(Debug)]
pub(crate) enum Call {
    Failed(kube::Error),
    TimedOut(Duration),
}

impl Call {
    /// The HTTP status that the API server answered with, if it did.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Failed(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// The namespace is on its way out, and all that is in it.
    pub(crate) fn namespace_ends(&self) -> bool {
        let Self::Failed(kube::Error::Api(status)) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

    /// What happened, without where.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Failed(error) => words(error),
            Self::TimedOut(after) => format!("no answer within {} s", after.as_secs()),
        }
    }

    /// Whether the API server may answer another time: it could not be reached, or said that it cannot answer now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Failed(kube::Error::Api(status)) => matches!(status.code, 429 | 500..=599),
            Self::Failed(error) => {
                matches!(
                    error,
                    kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_)
                )
            }
        }
    }
}

/// An error of the client in words that a user understands.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("HTTP status {} {}", status.code, status.reason),
        kube::Error::SerdeError(error) => format!("its answer is not understood: {error}"),
        error => deepest(error),
    }
}

/// The error at the bottom says what happened, such as `Connection refused`.
pub(crate) fn deepest(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_passes_by_itself_is_temporary() {
        let answered =
            |code| Call::Failed(kube::Error::Api(Box::new(Status::failure("", "").with_code(code))));
        let unreachable = Call::Failed(kube::Error::Service("connection refused".into()));
        assert!(Call::TimedOut(Duration::ZERO).is_temporary() && unreachable.is_temporary());
        for (code, temporary) in [(400, false), (401, false), (403, false), (404, false), (409, false)]
            .into_iter()
            .chain([(429, true), (500, true), (503, true)])
        {
            assert_eq!(answered(code).is_temporary(), temporary, "{code}");
        }
    }
}
