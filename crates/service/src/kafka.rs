//! Kafka, as services use it: a [`Producer`] that never blocks, and [`broadcasts()`], which brings every record of a
//! topic to every instance.
//!
//! Brokers may come and go: clients are created without one and connect when they can. `/readyz` shows current problems
//! under `broadcast`; a rejected user name or password is named as such, since otherwise it would only appear as
//! messages that time out.

mod broadcasts;
mod context;
mod producer;
mod settings;

pub use self::broadcasts::{PART, broadcasts};
pub(crate) use self::context::TARGET;
pub use self::context::{Context, Watch};
pub use self::producer::{Delivery, Producer, Undelivered};
pub use self::settings::{
    KAFKA_BCAST_TOPIC, KAFKA_BROKERS, KAFKA_FETCH_WAIT, KAFKA_LOGGING_TOPIC, KAFKA_MESSAGE_TIMEOUT,
    KAFKA_SASL_PASSWORD, KAFKA_SASL_USER, Sasl, Settings, read_topic,
};

/// The Kafka client rejects its configuration.
#[derive(Debug, thiserror::Error)]
#[error("cannot create a Kafka client: {0}")]
pub struct ConfigError(#[source] rdkafka::error::KafkaError);
