//! Why a service could not start or keep running.

use std::io;

/// See the variants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message has the address.
    #[error("{0}")]
    Listen(#[source] io::Error),
    #[error("cannot start the admin server: {0}")]
    Admin(#[source] io::Error),
    #[error("cannot make an event loop or a thread: {0}")]
    Start(#[source] io::Error),
    /// The Kafka client refuses its configuration; an unreachable broker is not an error here.
    #[error(transparent)]
    Kafka(#[from] crate::kafka::ConfigError),
    #[error(transparent)]
    Workers(#[from] crate::workers::Error),
}
