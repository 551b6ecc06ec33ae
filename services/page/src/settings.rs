//! The settings, their variables and their defaults.

use std::num::NonZeroUsize;

use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME};
use service::settings::{Env, Host, Invalid, Reader, Variable};
use service::{kafka, logs};

const PORT: Variable = Variable::new("PORT", "8489", "TCP port of the service; 0 is any free one.");
const CONNECTION_LIMIT_PER_HOST: Variable = Variable::new(
    "CONNECTION_LIMIT_PER_HOST",
    "10",
    "Connections that one server is meant for; the page shows utilization relative to it.",
);

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    /// Connections that one server is meant for.
    pub connection_limit_per_host: NonZeroUsize,
    pub pod_name: Option<String>,
    /// Kafka; without it logs go to stderr alone.
    pub kafka: Option<kafka::Settings>,
}

impl Settings {
    /// Every variable the service reads, for documentation and help.
    pub const VARIABLES: &[&Variable] = &[
        &HOST,
        &PORT,
        &ADMIN_HOST,
        &ADMIN_PORT,
        &CONNECTION_LIMIT_PER_HOST,
        &POD_NAME,
        &logs::RUST_LOG,
        &kafka::KAFKA_BROKERS,
        &kafka::KAFKA_LOGGING_TOPIC,
        &kafka::KAFKA_SASL_USER,
        &kafka::KAFKA_SASL_PASSWORD,
        &kafka::KAFKA_MESSAGE_TIMEOUT,
    ];

    /// Reads the settings.
    ///
    /// # Errors
    /// Every variable with a bad value.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        let mut reader = Reader::of_table(env, Self::VARIABLES);
        let settings = Self {
            host: reader.get(&HOST),
            port: reader.get(&PORT),
            admin_host: reader.get(&ADMIN_HOST),
            admin_port: reader.get(&ADMIN_PORT),
            connection_limit_per_host: reader.get(&CONNECTION_LIMIT_PER_HOST),
            pod_name: reader.optional(&POD_NAME),
            kafka: kafka::Settings::read_for_logs(&mut reader),
        };
        reader.finish(settings)
    }
}
