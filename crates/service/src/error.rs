//! Why a service cannot start or keep running.

use std::io;

/// See the variants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message contains the address.
    #[error("{0}")]
    Listen(#[source] io::Error),
    #[error("cannot start the admin server: {0}")]
    Admin(#[source] io::Error),
    #[error("cannot create an event loop or a thread: {0}")]
    Start(#[source] io::Error),
    /// The Kafka client rejects its configuration; an unreachable broker is not an error here.
    #[error(transparent)]
    Kafka(#[from] crate::kafka::ConfigError),
    #[error(transparent)]
    Workers(#[from] crate::workers::Error),
}
