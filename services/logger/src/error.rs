//! Why the service cannot start.

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
    #[error("cannot create a runtime: {0}")]
    Start(#[source] io::Error),
    /// The Kafka client rejects its configuration; an unreachable broker is not an error here.
    #[error("cannot create a Kafka client: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error(transparent)]
    Producer(#[from] service::kafka::ConfigError),
    /// The Elasticsearch client rejects its configuration; an unreachable server is not an error here.
    #[error("cannot create an Elasticsearch client: {0}")]
    Elasticsearch(String),
}
