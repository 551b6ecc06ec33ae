//! Errors of an API server, in words.

use std::error::Error;

use platform::TargetError;

use crate::connect::{ANSWER, Cluster};

/// Why a call to the API server failed.
#[derive(Debug)]
pub(crate) enum Call {
    Failed(kube::Error),
    TimedOut,
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
            Self::TimedOut => format!("no answer within {} s", ANSWER.as_secs()),
        }
    }

    /// What happened to what, and what to do.
    pub(crate) fn error(self, what: &str, cluster: &Cluster) -> TargetError {
        let place = &cluster.place;
        let message = match self.status() {
            Some(401) => format!(
                "{place} does not accept these credentials; log in again, or choose another --context or --kubeconfig"
            ),
            Some(403) => format!("not allowed at {place}: {what}: {}", self.words()),
            Some(404) => format!("not found at {place}: {what}: {}", self.words()),
            Some(_) => format!("{place} refused {what}: {}", self.words()),
            None => format!(
                "could not ask {place} for {what}: {}; is the cluster running, and can it be reached from here?",
                self.words()
            ),
        };
        TargetError::Other { message }
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
