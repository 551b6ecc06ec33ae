//! The settings, their variables and their defaults.

use std::num::NonZeroUsize;
use std::time::Duration;

use service::http::Origin;
use service::sessions::host_id::HOST_ID;
use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME, PROFILES_URL, WORKERS};
use service::settings::{Env, Host, Invalid, Reader, Variable, Workers};
use service::{kafka, logs, redis, shed};
use tokio::sync::Semaphore;

const PORT: Variable = Variable::new("PORT", "8080", "TCP port of the service; 0 is any free one.");
const PROFILES_TIMEOUT: Variable = Variable::new(
    "PROFILES_TIMEOUT",
    "2",
    "How long `profiles` may take to say whether a user and a profile belong together; seconds.",
);
const MAX_STREAMS: Variable =
    Variable::new("MAX_STREAMS", "10000", "Maximum number of streams; further clients are refused.");
const LOCK_TTL: Variable = Variable::new(
    "LOCK_TTL",
    "60",
    "How long a lock lives in Redis without a refresh; seconds, up to an hour. A stream ends if Redis has not \
     confirmed its lock for five sixths of this time.",
);
const LOCK_REFRESH: Variable = Variable::new(
    "LOCK_REFRESH",
    "10",
    "How often to refresh all locks and sessions; sessions live three times as long. Seconds, at least 100ms \
     and at most a third of `LOCK_TTL`.",
);
const LOCK_RELEASE: Variable = Variable::new(
    "LOCK_RELEASE",
    "false",
    "Whether a departing client frees its pair at once. If not, the lock is left to expire.",
);
const RETRY_AFTER: Variable = Variable::new(
    "RETRY_AFTER",
    "5",
    "When clients that are sent away should come back, plus up to half as much at random; sent as SSE's `retry`. \
     Seconds.",
);
const SIGTERM_TIMEOUT: Variable = Variable::new(
    "SIGTERM_TIMEOUT",
    "20",
    "How long to keep opening streams after SIGTERM, so that balancers can notice; seconds.",
);
const DRAIN_SPREAD: Variable = Variable::new(
    "DRAIN_SPREAD",
    "10",
    "Window over which the streams are then closed, so that clients do not come back all at once; seconds.",
);
const DRAIN_GRACE: Variable = Variable::new(
    "DRAIN_GRACE",
    "5",
    "How long a client may take to read the end of its stream; after that it is cut off. Seconds.",
);

const LOCK_REFRESH_LEAST: Duration = Duration::from_millis(100);
const LOCK_TTL_MOST: Duration = Duration::from_hours(1);

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    pub workers: NonZeroUsize,
    pub profiles: Origin,
    pub profiles_timeout: Duration,
    /// Maximum number of streams.
    pub streams_max: NonZeroUsize,
    /// How long a lock lives without a refresh.
    pub lock_life: Duration,
    pub lock_refresh: Duration,
    /// Whether a departing client frees its pair.
    pub lock_release: bool,
    /// This instance's name in Redis, if it is not an address.
    pub host_id: Option<String>,
    /// When clients that are sent away should come back.
    pub retry_after: Duration,
    /// How long to keep opening streams after a drain starts.
    pub sigterm_timeout: Duration,
    /// Window over which they are then closed.
    pub drain_spread: Duration,
    /// How long clients may take to read the end.
    pub drain_grace: Duration,
    /// Required in orders to move streams; without it the admin port accepts none.
    pub shed_token: Option<shed::Token>,
    /// This replica's name in logs and events.
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
        &MAX_STREAMS,
        &LOCK_TTL,
        &LOCK_REFRESH,
        &LOCK_RELEASE,
        &HOST_ID,
        &RETRY_AFTER,
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
        let (lock_life, lock_refresh) = lock_times(&mut reader);
        let profiles_timeout = reader.duration(&PROFILES_TIMEOUT);
        if profiles_timeout.is_zero() {
            reader.refuse(&PROFILES_TIMEOUT, "0", "a duration above 0");
        }
        let streams_max: NonZeroUsize = reader.get(&MAX_STREAMS);
        if streams_max.get() > Semaphore::MAX_PERMITS {
            reader.refuse(
                &MAX_STREAMS,
                streams_max.to_string(),
                format!("at most {}", Semaphore::MAX_PERMITS),
            );
        }
        let settings = Self {
            host: reader.get(&HOST),
            port: reader.get(&PORT),
            admin_host: reader.get(&ADMIN_HOST),
            admin_port: reader.get(&ADMIN_PORT),
            workers: reader.get::<Workers>(&WORKERS).0,
            profiles: reader.get(&PROFILES_URL),
            profiles_timeout,
            streams_max,
            lock_life,
            lock_refresh,
            lock_release: reader.get(&LOCK_RELEASE),
            host_id: reader.optional(&HOST_ID),
            retry_after: reader.duration(&RETRY_AFTER),
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

fn lock_times(reader: &mut Reader<'_>) -> (Duration, Duration) {
    let (life, refresh) = (reader.duration(&LOCK_TTL), reader.duration(&LOCK_REFRESH));
    if life > LOCK_TTL_MOST || life < LOCK_REFRESH_LEAST * 3 {
        reader.refuse_given(&LOCK_TTL, "at least 300ms, and at most an hour");
    } else if refresh < LOCK_REFRESH_LEAST || refresh > life / 3 {
        let expected = format!("at least 100ms, and at most a third of LOCK_TTL={life:?}");
        reader.refuse_given(&LOCK_REFRESH, expected);
    }
    (life, refresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_match_the_original() {
        let settings = Settings::from_env(&Env::default()).unwrap();
        assert_eq!((settings.port, settings.lock_release), (8080, false));
        assert_eq!((settings.lock_life.as_secs(), settings.lock_refresh.as_secs()), (60, 10));
        assert_eq!(settings.profiles.to_string(), "http://base-service:8080");
        assert_eq!(settings.redis.to_string(), "localhost:6379");
    }

    #[test]
    fn bad_values_are_named_together() {
        let env: Env = [
            ("MAX_STREAMS", "0"),
            ("LOCK_REFRESH", "21"),
            ("PROFILES_URL", "profiles:8080"),
            ("PROFILES_TIMEOUT", "0"),
            ("LOCK_RELEASE", "perhaps"),
        ]
        .into_iter()
        .collect();
        let text = Settings::from_env(&env).unwrap_err().to_string();
        for part in [
            r#"MAX_STREAMS="0": expected a whole number above 0"#,
            r#"LOCK_REFRESH="21": expected at least 100ms, and at most a third of LOCK_TTL=60s"#,
            r#"PROFILES_URL="profiles:8080": expected http://HOST or http://HOST:PORT"#,
            r#"PROFILES_TIMEOUT="0": expected a duration above 0"#,
            r#"LOCK_RELEASE="perhaps": expected true or false"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for bad in ["2h", "0", "200ms"] {
            let env: Env = [("LOCK_TTL", bad)].into_iter().collect();
            let text = Settings::from_env(&env).unwrap_err().to_string();
            let told = format!(r#"LOCK_TTL="{bad}": expected at least 300ms, and at most an hour"#);
            assert!(text.contains(&told), "{text}");
        }
    }
}
