//! The settings, their variables and their defaults.

use std::num::NonZeroUsize;
use std::time::Duration;

use service::http::Origin;
use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME, PROFILES_URL, WORKERS};
use service::settings::{Env, Host, Invalid, Reader, Variable, Workers};
use service::{kafka, logs, redis};

const PORT: Variable = Variable::new("PORT", "8080", "TCP port of the service; 0 is any free one.");
const PROFILES_TIMEOUT: Variable = Variable::new(
    "PROFILES_TIMEOUT",
    "5",
    "How long `profiles` may take to answer, and to send each further piece of a list; seconds, at least 100ms.",
);
const DESTRUCTIVE_GETS: Variable = Variable::new(
    "DESTRUCTIVE_GETS",
    "true",
    "Whether to allow `GET /testdata`, which creates data, and `GET /i-swear-i-want-drop-everything`, which \
     removes all.",
);
const SIGTERM_TIMEOUT: Variable = Variable::new(
    "SIGTERM_TIMEOUT",
    "5",
    "How long to keep accepting requests after SIGTERM, so that balancers can notice; seconds.",
);
const DRAIN_GRACE: Variable =
    Variable::new("DRAIN_GRACE", "10", "How long accepted requests may then take; seconds.");

const TIMEOUT_LEAST: Duration = Duration::from_millis(100);

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    pub workers: NonZeroUsize,
    /// The address of `profiles`.
    pub profiles_url: Origin,
    /// How long it may take to answer, or to send the next piece.
    pub profiles_timeout: Duration,
    /// Whether GET requests may change data.
    pub destructive_gets: bool,
    /// How long to keep accepting requests after a drain starts.
    pub sigterm_timeout: Duration,
    /// How long accepted requests may then take.
    pub drain_grace: Duration,
    /// This replica's name in logs, and what `GET /` answers.
    pub pod_name: Option<String>,
    pub redis: redis::Settings,
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
        &WORKERS,
        &PROFILES_URL,
        &PROFILES_TIMEOUT,
        &DESTRUCTIVE_GETS,
        &SIGTERM_TIMEOUT,
        &DRAIN_GRACE,
        &POD_NAME,
        &logs::RUST_LOG,
        &redis::REDIS_HOST,
        &redis::REDIS_PORT,
        &redis::REDIS_PASSWORD,
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
        let profiles_timeout = reader.duration(&PROFILES_TIMEOUT);
        if profiles_timeout < TIMEOUT_LEAST {
            reader.refuse_given(&PROFILES_TIMEOUT, "at least 100ms");
        }
        let settings = Self {
            host: reader.get(&HOST),
            port: reader.get(&PORT),
            admin_host: reader.get(&ADMIN_HOST),
            admin_port: reader.get(&ADMIN_PORT),
            workers: reader.get::<Workers>(&WORKERS).0,
            profiles_url: reader.get(&PROFILES_URL),
            profiles_timeout,
            destructive_gets: reader.get(&DESTRUCTIVE_GETS),
            sigterm_timeout: reader.duration(&SIGTERM_TIMEOUT),
            drain_grace: reader.duration(&DRAIN_GRACE),
            pod_name: reader.optional(&POD_NAME),
            redis: redis::Settings::read(&mut reader),
            kafka: kafka::Settings::read_for_logs(&mut reader),
        };
        reader.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Invalid> {
        Settings::from_env(&variables.iter().copied().collect())
    }

    #[test]
    fn the_defaults_match_the_original() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            (settings.port, settings.profiles_url.to_string()),
            (8080, "http://base-service:8080".to_owned())
        );
        assert!(settings.destructive_gets);
        assert_eq!(settings.redis.to_string(), "localhost:6379");
    }

    #[test]
    fn bad_values_are_named_together() {
        for bad in ["base-service:8080", "https://a", "http://a/b", "http://a?x", "http://u:p@a", "http://"] {
            let text = read(&[("PROFILES_URL", bad), ("PROFILES_TIMEOUT", "1ms")]).unwrap_err().to_string();
            assert!(text.contains("PROFILES_URL=") && text.contains("PROFILES_TIMEOUT="), "{bad}: {text}");
        }
        let slash = read(&[("PROFILES_URL", "http://127.77.0.1:8081/")]).unwrap();
        assert_eq!(slash.profiles_url.to_string(), "http://127.77.0.1:8081");
    }
}
