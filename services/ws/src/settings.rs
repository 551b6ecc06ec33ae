//! The settings, their variables and their defaults.

use std::num::NonZeroUsize;
use std::time::Duration;

use service::sessions::host_id::HOST_ID;
use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME, WORKERS};
use service::settings::{Env, Host, Invalid, Reader, Variable, Workers};
use service::{kafka, logs, redis, shed};

const PORT: Variable = Variable::new("PORT", "8088", "TCP port of the service; 0 is any free one.");
const MAX_CONNECTIONS_PER_HOST: Variable = Variable::new(
    "MAX_CONNECTIONS_PER_HOST",
    "30",
    "Maximum number of sessions; further clients are accepted and closed with 1013.",
);
const MAX_MESSAGE: Variable = Variable::new(
    "MAX_MESSAGE",
    "65536",
    "Maximum length of a message in bytes; a longer one closes the session with 1009.",
);
const ACCEPT_RATE: Variable = Variable::new(
    "ACCEPT_RATE",
    "0",
    "New sessions per second; the rest wait for their turn. 0 is no limit.",
);
const ACCEPT_WAIT: Variable = Variable::new(
    "ACCEPT_WAIT",
    "30",
    "How long a client may wait for its turn; a client that would wait longer gets 503 with Retry-After. Seconds.",
);
const PING_INTERVAL: Variable = Variable::new(
    "PING_INTERVAL",
    "30",
    "A client that is silent for this long is pinged; after twice that without an answer it is dropped. Seconds.",
);
const WRITE_TIMEOUT: Variable =
    Variable::new("WRITE_TIMEOUT", "5", "How long a client may leave a message unread; seconds.");
const RETRY_AFTER: Variable = Variable::new(
    "RETRY_AFTER",
    "5",
    "When closed clients should come back, plus up to half as much at random. Clients with the subprotocol \
     `retry-hint` get this time in the close reason. Seconds.",
);
const SESSION_REFRESH: Variable = Variable::new(
    "SESSION_REFRESH",
    "10",
    "How often to rewrite all sessions in Redis, where they expire after three times as long. Seconds, at least \
     100ms.",
);
const SIGTERM_TIMEOUT: Variable = Variable::new(
    "SIGTERM_TIMEOUT",
    "20",
    "How long to keep accepting sessions after SIGTERM, so that balancers can notice; seconds.",
);
const DRAIN_SPREAD: Variable = Variable::new(
    "DRAIN_SPREAD",
    "10",
    "Window over which the sessions are then closed (1001), so that clients do not come back all at once; seconds.",
);
const DRAIN_GRACE: Variable =
    Variable::new("DRAIN_GRACE", "5", "How long clients may take to answer the last close; seconds.");

const SESSION_REFRESH_LEAST: Duration = Duration::from_millis(100);
/// Bounds of `MAX_MESSAGE`: what is sensible to hold in memory.
const MESSAGE_BYTES: std::ops::RangeInclusive<usize> = 125..=16 * 1024 * 1024;

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    pub workers: NonZeroUsize,
    /// Maximum number of sessions.
    pub sessions_max: NonZeroUsize,
    /// This instance's name in Redis, if it is not an address.
    pub host_id: Option<String>,
    pub message_bytes_max: usize,
    /// New sessions per second; 0: no limit.
    pub accept_rate: u32,
    /// How long a client may wait for its turn.
    pub accept_wait: Duration,
    pub ping_interval: Duration,
    pub write_timeout: Duration,
    /// When closed clients should come back.
    pub retry_after: Duration,
    /// How often all sessions are written to Redis.
    pub session_refresh: Duration,
    /// How long to keep accepting sessions after a drain starts.
    pub sigterm_timeout: Duration,
    /// Window over which they are then closed.
    pub drain_spread: Duration,
    /// How long clients may take to answer the close.
    pub drain_grace: Duration,
    /// Required in orders to move sessions; without it the admin port accepts none.
    pub shed_token: Option<shed::Token>,
    /// This replica's name in logs.
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
        &MAX_CONNECTIONS_PER_HOST,
        &HOST_ID,
        &MAX_MESSAGE,
        &ACCEPT_RATE,
        &ACCEPT_WAIT,
        &PING_INTERVAL,
        &WRITE_TIMEOUT,
        &RETRY_AFTER,
        &SESSION_REFRESH,
        &SIGTERM_TIMEOUT,
        &DRAIN_SPREAD,
        &DRAIN_GRACE,
        &shed::SHED_TOKEN,
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
        let message_bytes_max = reader.get(&MAX_MESSAGE);
        if !MESSAGE_BYTES.contains(&message_bytes_max) {
            let expected = format!("{} to {} bytes", MESSAGE_BYTES.start(), MESSAGE_BYTES.end());
            reader.refuse(&MAX_MESSAGE, message_bytes_max.to_string(), expected);
        }
        let session_refresh = reader.duration(&SESSION_REFRESH);
        if session_refresh < SESSION_REFRESH_LEAST {
            reader.refuse_given(&SESSION_REFRESH, "at least 100ms");
        }
        let ping_interval = reader.duration(&PING_INTERVAL);
        if ping_interval.is_zero() {
            reader.refuse_given(&PING_INTERVAL, "a duration above 0");
        }
        let settings = Self {
            host: reader.get(&HOST),
            port: reader.get(&PORT),
            admin_host: reader.get(&ADMIN_HOST),
            admin_port: reader.get(&ADMIN_PORT),
            workers: reader.get::<Workers>(&WORKERS).0,
            sessions_max: reader.get(&MAX_CONNECTIONS_PER_HOST),
            host_id: reader.optional(&HOST_ID),
            message_bytes_max,
            accept_rate: reader.get(&ACCEPT_RATE),
            accept_wait: reader.duration(&ACCEPT_WAIT),
            ping_interval,
            write_timeout: reader.duration(&WRITE_TIMEOUT),
            retry_after: reader.duration(&RETRY_AFTER),
            session_refresh,
            sigterm_timeout: reader.duration(&SIGTERM_TIMEOUT),
            drain_spread: reader.duration(&DRAIN_SPREAD),
            drain_grace: reader.duration(&DRAIN_GRACE),
            shed_token: reader.optional(&shed::SHED_TOKEN),
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

    #[test]
    fn the_defaults_match_the_original() {
        let settings = Settings::from_env(&Env::default()).unwrap();
        assert_eq!((settings.port, settings.sessions_max.get()), (8088, 30));
        assert_eq!(settings.redis.to_string(), "localhost:6379");
        assert_eq!(settings.kafka, None);
    }

    #[test]
    fn bad_values_are_named_together() {
        let env: Env = [
            ("MAX_CONNECTIONS_PER_HOST", "0"),
            ("MAX_MESSAGE", "1"),
            ("SESSION_REFRESH", "0"),
            ("PING_INTERVAL", "0s"),
            ("ACCEPT_RATE", "-1"),
        ]
        .into_iter()
        .collect();
        let text = Settings::from_env(&env).unwrap_err().to_string();
        for part in [
            r#"MAX_CONNECTIONS_PER_HOST="0": expected a whole number above 0"#,
            r#"MAX_MESSAGE="1": expected 125 to 16777216 bytes"#,
            r#"SESSION_REFRESH="0": expected at least 100ms"#,
            r#"PING_INTERVAL="0s": expected a duration above 0"#,
            "ACCEPT_RATE",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
