//! How long the API server may take.

use std::time::Duration;

/// For a connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// For an answer that is not a stream.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);
