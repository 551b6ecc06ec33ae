//! The settings, their variables and their defaults.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME};
use service::settings::{Env, Host, Invalid, Reader, Variable};
use service::{kafka, logs};

const PORT: Variable = Variable::new("PORT", "8089", "TCP port of the service; 0 is any free one.");
const WS_SERVER_HOST: Variable = Variable::new("WS_SERVER_HOST", "haproxy", "Host to which users connect.");
const WS_SERVER_PORT: Variable = Variable::new("WS_SERVER_PORT", "8000", "TCP port to which users connect.");
const QUARKUS_WS_SERVER_HOST: Variable =
    Variable::new("QUARKUS_WS_SERVER_HOST", "haproxy", "Another name for WS_SERVER_HOST.");
const QUARKUS_WS_SERVER_PORT: Variable =
    Variable::new("QUARKUS_WS_SERVER_PORT", "8000", "Another name for WS_SERVER_PORT.");
const CONNECT_EVERY: Variable =
    Variable::new("CONNECT_EVERY", "100ms", "Interval between the connects of a batch's users.");
const RETURN_AFTER: Variable = Variable::new(
    "RETURN_AFTER",
    "5",
    "When a closed user comes back, plus up to half as much at random, unless the server says when. Seconds.",
);
const USERS_MAX: Variable =
    Variable::new("USERS_MAX", "10000", "Maximum number of users; a batch that exceeds it gets 429.");

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    /// Where users connect.
    pub server_host: String,
    pub server_port: u16,
    /// Interval between the connects of two users.
    pub connect_every: Duration,
    /// When a closed user reconnects.
    pub return_after: Duration,
    pub users_max: NonZeroUsize,
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
        &WS_SERVER_HOST,
        &QUARKUS_WS_SERVER_HOST,
        &WS_SERVER_PORT,
        &QUARKUS_WS_SERVER_PORT,
        &CONNECT_EVERY,
        &RETURN_AFTER,
        &USERS_MAX,
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
        let server_host = either::<String>(&mut reader, &WS_SERVER_HOST, &QUARKUS_WS_SERVER_HOST);
        let server_port = either::<NonZeroU16>(&mut reader, &WS_SERVER_PORT, &QUARKUS_WS_SERVER_PORT);
        let settings = Self {
            host: reader.get(&HOST),
            port: reader.get(&PORT),
            admin_host: reader.get(&ADMIN_HOST),
            admin_port: reader.get(&ADMIN_PORT),
            server_host,
            server_port: server_port.get(),
            connect_every: reader.duration(&CONNECT_EVERY),
            return_after: reader.duration(&RETURN_AFTER),
            users_max: reader.get(&USERS_MAX),
            pod_name: reader.optional(&POD_NAME),
            kafka: kafka::Settings::read_for_logs(&mut reader),
        };
        reader.finish(settings)
    }
}

/// The value of a variable or its alias. Different values are an error.
fn either<T>(reader: &mut Reader<'_>, variable: &Variable, other: &Variable) -> T
where
    T: service::settings::Setting + PartialEq + std::fmt::Display,
{
    match (reader.optional::<T>(variable), reader.optional::<T>(other)) {
        (Some(value), Some(different)) if value != different => {
            let expected = format!("the value of {} ({value}), or none", variable.name);
            reader.refuse(other, different.to_string(), expected);
            value
        }
        (Some(value), _) | (None, Some(value)) => value,
        // The bad value was noted above, and would be again.
        (None, None) if reader.is_set(variable) => Reader::new(&Env::default()).get(variable),
        (None, None) => reader.get(variable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Invalid> {
        Settings::from_env(&variables.iter().copied().collect())
    }

    #[test]
    fn either_name_sets_the_server_and_two_values_are_refused() {
        let settings = read(&[("QUARKUS_WS_SERVER_HOST", "a"), ("WS_SERVER_PORT", "1")]).unwrap();
        assert_eq!((&*settings.server_host, settings.server_port), ("a", 1));
        let settings = read(&[]).unwrap();
        assert_eq!((&*settings.server_host, settings.server_port, settings.port), ("haproxy", 8000, 8089));
        assert!(read(&[("WS_SERVER_PORT", "1"), ("QUARKUS_WS_SERVER_PORT", "1")]).is_ok());
        let error =
            read(&[("WS_SERVER_PORT", "1"), ("QUARKUS_WS_SERVER_PORT", "2")]).unwrap_err().to_string();
        assert!(
            error.contains(r#"QUARKUS_WS_SERVER_PORT="2": expected the value of WS_SERVER_PORT (1)"#),
            "{error}"
        );
        for name in ["WS_SERVER_PORT", "QUARKUS_WS_SERVER_PORT"] {
            let invalid = read(&[(name, "0")]).unwrap_err();
            assert_eq!(invalid.0.len(), 1, "it is reported once: {invalid}");
            assert_eq!(invalid.0[0].variable, name);
        }
    }
}
