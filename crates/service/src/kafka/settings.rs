//! The address of Kafka and how to use it.

use std::fmt;
use std::time::Duration;

use platform::duration;
use rdkafka::ClientConfig;

use crate::settings::{Reader, Variable};

pub const KAFKA_BROKERS: Variable = Variable::optional(
    "KAFKA_BROKERS",
    "Bootstrap servers, `host:port` separated by commas; if not set, nothing is broadcast and logs go only to stderr.",
);
pub const KAFKA_BCAST_TOPIC: Variable =
    Variable::new("KAFKA_BCAST_TOPIC", "broadcasts", "Topic for broadcasts.");
pub const KAFKA_LOGGING_TOPIC: Variable =
    Variable::new("KAFKA_LOGGING_TOPIC", "general-logs", "Topic that log lines go to.");
pub const KAFKA_SASL_USER: Variable =
    Variable::optional("KAFKA_SASL_USER", "User name for SASL/PLAIN; without it no authentication is used.");
pub const KAFKA_SASL_PASSWORD: Variable =
    Variable::optional("KAFKA_SASL_PASSWORD", "Password for SASL/PLAIN.");
pub const KAFKA_MESSAGE_TIMEOUT: Variable = Variable::new(
    "KAFKA_MESSAGE_TIMEOUT",
    "3",
    "How long delivery may take before a record counts as failed; seconds.",
);
pub const KAFKA_FETCH_WAIT: Variable = Variable::new(
    "KAFKA_FETCH_WAIT",
    "20ms",
    "How long a broker may delay a fetch that finds nothing. Brokers that wake a waiting fetch allow 500ms.",
);

/// User name and password for SASL/PLAIN.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The address of Kafka and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bootstrap servers, `host:port` separated by commas.
    pub brokers: String,
    pub broadcast_topic: String,
    pub logging_topic: String,
    pub sasl: Option<Sasl>,
    /// How long delivery may take before a record counts as failed.
    pub message_timeout: Duration,
    /// How long a broker may delay a fetch that finds nothing.
    pub fetch_wait: Duration,
}

impl Settings {
    /// `None` if no brokers are set; the other variables are checked nevertheless.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let broadcast_topic = read_topic(reader, &KAFKA_BCAST_TOPIC);
        let fetch_wait = positive(reader, &KAFKA_FETCH_WAIT);
        Some(Self { broadcast_topic, fetch_wait, ..Self::read_for_logs(reader)? })
    }

    /// The same for a service that only ships its log lines: consumer settings keep their defaults.
    pub fn read_for_logs(reader: &mut Reader<'_>) -> Option<Self> {
        let brokers: Option<String> = reader.optional(&KAFKA_BROKERS);
        let user: Option<String> = reader.optional(&KAFKA_SASL_USER);
        let password: Option<String> = reader.optional(&KAFKA_SASL_PASSWORD);
        let sasl = match (user, password) {
            (Some(user), Some(password)) => Some(Sasl { user, password }),
            (Some(_), None) => {
                reader.refuse(&KAFKA_SASL_PASSWORD, "", "a password, because KAFKA_SASL_USER is set");
                None
            }
            (None, Some(_)) => {
                reader.refuse(&KAFKA_SASL_USER, "", "a user name, because KAFKA_SASL_PASSWORD is set");
                None
            }
            (None, None) => None,
        };
        let settings = Self {
            brokers: brokers.clone().unwrap_or_default(),
            broadcast_topic: default_of(&KAFKA_BCAST_TOPIC).to_owned(),
            logging_topic: read_topic(reader, &KAFKA_LOGGING_TOPIC),
            sasl,
            message_timeout: positive(reader, &KAFKA_MESSAGE_TIMEOUT),
            fetch_wait: duration::parse_setting(default_of(&KAFKA_FETCH_WAIT)).unwrap_or_default(),
        };
        let brokers = brokers?;
        if let Some(bad) = brokers.split(',').find(|broker| !is_broker(broker.trim())) {
            reader.refuse(
                &KAFKA_BROKERS,
                &brokers,
                format!("host:port separated by commas, which {bad:?} is not"),
            );
        }
        Some(settings)
    }

    /// Common to all clients: the brokers' addresses, and how to authenticate.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("socket.nagle.disable", "true")
            // Notice soon that a broker is back.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.connection.setup.timeout.ms", "5000")
            // Idle connections that brokers close are not errors.
            .set("log.connection.close", "false");
        if let Some(Sasl { user, password }) = &self.sasl {
            config
                .set("security.protocol", "sasl_plaintext")
                .set("sasl.mechanism", "PLAIN")
                .set("sasl.username", user)
                .set("sasl.password", password);
        }
        config
    }
}

/// Reads the name of a topic by Kafka's own rules.
pub fn read_topic(reader: &mut Reader<'_>, variable: &Variable) -> String {
    const NAME_BYTES_MAX: usize = 249;
    let name: String = reader.get(variable);
    let fits = name.len() <= NAME_BYTES_MAX && name != "." && name != "..";
    if !fits || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        reader.refuse(variable, &name, "a topic's name: at most 249 letters, digits, `.`, `_` or `-`");
    }
    name
}

fn default_of(variable: &Variable) -> &'static str {
    variable.default.unwrap_or_default()
}

fn positive(reader: &mut Reader<'_>, variable: &Variable) -> Duration {
    let duration = reader.duration(variable);
    if duration < Duration::from_millis(1) {
        reader.refuse_given(variable, "a duration of at least 1ms");
    }
    duration
}

fn is_broker(text: &str) -> bool {
    // The port may be left out: librdkafka then takes 9092.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => (host, Some(port)),
        _ => (text, None),
    };
    !host.is_empty()
        && !host.contains(char::is_whitespace)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Env;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Settings>, crate::settings::Invalid> {
        let env: Env = pairs.iter().copied().collect();
        let mut reader = Reader::new(&env);
        let settings = Settings::read(&mut reader);
        reader.finish(settings)
    }

    #[test]
    fn without_brokers_there_is_no_kafka() {
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn brokers_and_credentials() {
        let settings = read(&[
            ("KAFKA_BROKERS", "a:9092,b:9093"),
            ("KAFKA_SASL_USER", "me"),
            ("KAFKA_SASL_PASSWORD", "secret"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(settings.broadcast_topic, "broadcasts");
        assert_eq!(settings.message_timeout, Duration::from_secs(3));
        assert!(!format!("{settings:?}").contains("secret"), "passwords are not printed");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let named = |pairs: &[(&str, &str)]| read(pairs).unwrap_err().0[0].variable;
        assert_eq!(named(&[("KAFKA_BROKERS", "a:port")]), "KAFKA_BROKERS");
        assert_eq!(named(&[("KAFKA_BROKERS", "a:1,,b:2")]), "KAFKA_BROKERS");
        assert_eq!(named(&[("KAFKA_SASL_USER", "me")]), "KAFKA_SASL_PASSWORD");
        assert_eq!(named(&[("KAFKA_BCAST_TOPIC", "a b")]), "KAFKA_BCAST_TOPIC");
        assert_eq!(named(&[("KAFKA_MESSAGE_TIMEOUT", "0")]), "KAFKA_MESSAGE_TIMEOUT");
    }
}
