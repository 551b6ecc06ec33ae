//! The settings, their variables and their defaults.

mod elasticsearch;

use std::num::NonZeroUsize;
use std::time::Duration;

pub use elasticsearch::{Credentials, Elasticsearch, Trust};
use service::settings::common::ADMIN_HOST;
use service::settings::{Env, Host, Invalid, Reader, Variable};
use service::{kafka, logs};

pub(crate) const ADMIN_PORT: Variable = Variable::new(
    "ADMIN_PORT",
    "9100",
    "TCP port of /healthz, /readyz, /metrics and /info; 0 is any free one.",
);
pub(crate) const POD_NAME: Variable =
    Variable::optional("POD_NAME", "Name of this replica in logs; the host's name if not set.");
pub(crate) const KAFKA_GROUP: Variable =
    Variable::new("KAFKA_GROUP", "logger", "Consumer group; its members share the topic's partitions.");
pub(crate) const KAFKA_SESSION_TIMEOUT: Variable = Variable::new(
    "KAFKA_SESSION_TIMEOUT",
    "10",
    "How long until a killed member loses its partitions to the others; seconds.",
);
pub(crate) const KAFKA_DEAD_LETTER_TOPIC: Variable = Variable::new(
    "KAFKA_DEAD_LETTER_TOPIC",
    "general-logs-dead-letters",
    "Topic for records that cannot be documents, each with the reason in a header.",
);
pub(crate) const IGNORE_MESSAGES_BEFORE: Variable = Variable::new(
    "IGNORE_MESSAGES_BEFORE",
    "604800",
    "Records older than this, by their own timestamp, are skipped; seconds (a week), at most a year.",
);
pub(crate) const MAX_RECORD_AGE: Variable =
    Variable::new("MAX_RECORD_AGE", "604800", "Another name for IGNORE_MESSAGES_BEFORE.");
pub(crate) const BULK_BYTES: Variable =
    Variable::new("BULK_BYTES", "2097152", "A bulk request is sent when it reaches this size; bytes.");
pub(crate) const BULK_AGE: Variable =
    Variable::new("BULK_AGE", "500ms", "A bulk request is sent when its first record has waited this long.");
pub(crate) const BULKS_IN_FLIGHT: Variable =
    Variable::new("BULKS_IN_FLIGHT", "4", "Maximum number of bulk requests in flight, at most 64.");
pub(crate) const DRAIN_TIMEOUT: Variable = Variable::new(
    "DRAIN_TIMEOUT",
    "20",
    "Time limit for delivering consumed records after SIGTERM; the rest is consumed again. Seconds.",
);

/// The bounds of `BULK_BYTES`: a record with its action, and Elasticsearch's default limit.
const BULK_BYTES_RANGE: std::ops::RangeInclusive<usize> = 4096..=64 * 1024 * 1024;
const BULKS_IN_FLIGHT_MAX: usize = 64;
/// The brokers' own limits on a session.
const SESSION_TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(6)..=Duration::from_mins(5);

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub admin_port: u16,
    /// This replica's name in logs.
    pub pod_name: Option<String>,
    pub kafka: kafka::Settings,
    /// The consumer group.
    pub group: String,
    /// How long until a killed member loses its partitions.
    pub session_timeout: Duration,
    pub dead_letter_topic: String,
    /// Records older than this, by their own timestamp, are skipped.
    pub record_age_max: Duration,
    /// A bulk is sent when it has this many bytes…
    pub bulk_bytes: usize,
    /// …or when its first record has waited this long.
    pub bulk_age: Duration,
    pub bulks_in_flight: NonZeroUsize,
    /// Time limit for delivering consumed records at shutdown.
    pub drain_timeout: Duration,
    pub elasticsearch: Elasticsearch,
}

impl Settings {
    /// Every variable the service reads, for documentation and help.
    pub const VARIABLES: &[&Variable] = &[
        &ADMIN_HOST,
        &ADMIN_PORT,
        &POD_NAME,
        &logs::RUST_LOG,
        &kafka::KAFKA_BROKERS,
        &kafka::KAFKA_LOGGING_TOPIC,
        &kafka::KAFKA_SASL_USER,
        &kafka::KAFKA_SASL_PASSWORD,
        &kafka::KAFKA_MESSAGE_TIMEOUT,
        &kafka::KAFKA_FETCH_WAIT,
        &KAFKA_GROUP,
        &KAFKA_SESSION_TIMEOUT,
        &KAFKA_DEAD_LETTER_TOPIC,
        &IGNORE_MESSAGES_BEFORE,
        &MAX_RECORD_AGE,
        &BULK_BYTES,
        &BULK_AGE,
        &BULKS_IN_FLIGHT,
        &DRAIN_TIMEOUT,
        &elasticsearch::ELASTICSEARCH_ENDPOINT,
        &elasticsearch::ELASTICSEARCH_URL,
        &elasticsearch::ELASTICSEARCH_LOGGING_INDEX,
        &elasticsearch::ELASTICSEARCH_INDEX,
        &elasticsearch::ELASTICSEARCH_USERNAME,
        &elasticsearch::ELASTICSEARCH_USER,
        &elasticsearch::ELASTICSEARCH_PASSWORD,
        &elasticsearch::ELASTICSEARCH_API_KEY,
        &elasticsearch::ELASTICSEARCH_CA_FILE,
        &elasticsearch::ELASTICSEARCH_INSECURE,
        &elasticsearch::ELASTICSEARCH_TIMEOUT,
    ];

    /// Reads the settings.
    ///
    /// # Errors
    /// Every variable with a bad value.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        let mut reader = Reader::new(env);
        let kafka = kafka::Settings::read(&mut reader);
        if kafka.is_none() && !reader.is_set(&kafka::KAFKA_BROKERS) {
            reader.refuse(&kafka::KAFKA_BROKERS, "", "host:port separated by commas: logs come from there");
        }
        let dead_letter_topic = kafka::read_topic(&mut reader, &KAFKA_DEAD_LETTER_TOPIC);
        if kafka.as_ref().is_some_and(|kafka| kafka.logging_topic == dead_letter_topic) {
            let expected = "another topic than KAFKA_LOGGING_TOPIC: dead letters would be consumed again";
            reader.refuse(&KAFKA_DEAD_LETTER_TOPIC, &dead_letter_topic, expected);
        }
        let elasticsearch = Elasticsearch::read(&mut reader);
        let host = reader.get(&ADMIN_HOST);
        let admin_port = reader.get(&ADMIN_PORT);
        let pod_name = reader.optional(&POD_NAME);
        let group = reader.get(&KAFKA_GROUP);
        let session_timeout = session_timeout(&mut reader);
        let record_age_max = record_age_max(&mut reader);
        let bulk_bytes = bulk_bytes(&mut reader);
        let bulk_age = reader.duration(&BULK_AGE);
        let bulks_in_flight = bulks_in_flight(&mut reader);
        let drain_timeout = reader.duration(&DRAIN_TIMEOUT);
        // Without brokers there is nothing to run, which was reported above.
        let settings = kafka.map(|kafka| Self {
            host,
            admin_port,
            pod_name,
            kafka,
            group,
            session_timeout,
            dead_letter_topic,
            record_age_max,
            bulk_bytes,
            bulk_age,
            bulks_in_flight,
            drain_timeout,
            elasticsearch,
        });
        match (reader.finish(()), settings) {
            (Ok(()), Some(settings)) => Ok(settings),
            (Err(invalid), _) => Err(invalid),
            (Ok(()), None) => Err(Invalid(Vec::new())),
        }
    }
}

/// Which of two names for one setting is set. Both may be, if the values are equal.
fn given<'a>(reader: &mut Reader<'_>, name: &'a Variable, alias: &'a Variable) -> &'a Variable {
    if !reader.is_set(alias) {
        return name;
    }
    let (value, other) = (reader.optional::<String>(name), reader.optional::<String>(alias));
    if value.is_some() && value != other {
        let expected = format!("the value of {}, or only one of them set", name.name);
        // A URL may hold a secret.
        if other.is_some_and(|other| other.contains('@')) {
            reader.refuse(alias, "…", expected);
        } else {
            reader.refuse_given(alias, expected);
        }
    }
    alias
}

/// The same for a duration, of which `60` and `1m` are equal values.
fn record_age_max(reader: &mut Reader<'_>) -> Duration {
    let (name, alias) = (&IGNORE_MESSAGES_BEFORE, &MAX_RECORD_AGE);
    if !reader.is_set(alias) {
        return reader.duration(name);
    }
    let age = reader.duration(alias);
    if reader.is_set(name) && reader.duration(name) != age {
        reader.refuse_given(alias, format!("the value of {}, or only one of them set", name.name));
    }
    age
}

fn session_timeout(reader: &mut Reader<'_>) -> Duration {
    let timeout = reader.duration(&KAFKA_SESSION_TIMEOUT);
    if !SESSION_TIMEOUT_RANGE.contains(&timeout) {
        reader.refuse_given(&KAFKA_SESSION_TIMEOUT, "a duration from 6s to 5m");
    }
    timeout
}

fn bulk_bytes(reader: &mut Reader<'_>) -> usize {
    let bytes: usize = reader.get(&BULK_BYTES);
    if !BULK_BYTES_RANGE.contains(&bytes) {
        let (least, most) = BULK_BYTES_RANGE.into_inner();
        reader.refuse(&BULK_BYTES, bytes.to_string(), format!("a number of bytes from {least} to {most}"));
    }
    bytes
}

fn bulks_in_flight(reader: &mut Reader<'_>) -> NonZeroUsize {
    let bulks: NonZeroUsize = reader.get(&BULKS_IN_FLIGHT);
    if bulks.get() > BULKS_IN_FLIGHT_MAX {
        let expected = format!("a number from 1 to {BULKS_IN_FLIGHT_MAX}");
        reader.refuse(&BULKS_IN_FLIGHT, bulks.to_string(), expected);
    }
    bulks
}

#[cfg(test)]
mod tests;
