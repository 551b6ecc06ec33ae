//! The settings, their variables and their defaults.

use std::num::NonZeroUsize;
use std::time::Duration;

use protocol::Dialect;
use protocol::limits::PACKET_BYTES_MAX;
use service::cache::CACHE_TIMEOUT;
use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME, WORKERS};
use service::settings::{Env, Host, Invalid, Reader, Variable, Workers};
use service::{cache, etcd, kafka, logs, settings, shed};

/// The shared read buffer: the maximum size of one read.
pub(crate) const READ_BUFFER_BYTES: usize = 16 * 1024;
pub(crate) const PORT: Variable = Variable::new(
    "PORT",
    "40000",
    "TCP port of the service, 5151 for the dialect `socketz`; 0 is any free one.",
);
pub(crate) const BUFF_SIZE: Variable =
    Variable::new("BUFF_SIZE", "512", "Maximum length of a packet or line in bytes, without its line end.");
pub(crate) const DIALECT: Variable = Variable::new(
    "DIALECT",
    "playground",
    "`playground`, or `socketz`, which greets and ends every reply with a line end.",
);
pub(crate) const SIGTERM_TIMEOUT: Variable = Variable::new(
    "SIGTERM_TIMEOUT",
    "20",
    "How long to keep accepting connections after SIGTERM, so that balancers can notice; seconds.",
);
pub(crate) const DRAIN_SPREAD: Variable = Variable::new(
    "DRAIN_SPREAD",
    "10",
    "Window over which the `reconnect` notices are spread, so that clients do not come back all at once; seconds.",
);
pub(crate) const DRAIN_GRACE: Variable = Variable::new(
    "DRAIN_GRACE",
    "5",
    "How long after its `reconnect` notice a connection is closed; seconds.",
);
pub(crate) const WRITE_TIMEOUT: Variable =
    Variable::new("WRITE_TIMEOUT", "5", "How long a client may leave its output unread; seconds.");
pub(crate) const WRITE_QUEUE: Variable = Variable::new(
    "WRITE_QUEUE",
    "65536",
    "Maximum bytes queued for one client; broadcasts beyond that are dropped for it. At least 8192.",
);
pub(crate) const IDLE_TIMEOUT: Variable =
    Variable::new("IDLE_TIMEOUT", "600", "A client that is silent for this long is closed; seconds.");
pub(crate) const IDLE_CHECK: Variable =
    Variable::new("IDLE_CHECK", "120", "How often to look for silent clients; seconds, at least 10ms.");

/// Minimum write queue: room for a packet, its reply and the notices of a drain.
const WRITE_QUEUE_BYTES_MIN: usize = 8192;

/// Checking every connection more often than this would keep a worker busy with nothing else.
const IDLE_CHECK_LEAST: Duration = Duration::from_millis(10);

/// All settings. [`Settings::default`] leaves every variable unset: no backend is used.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    /// Maximum length of a packet or line in bytes, without its line end.
    pub packet_bytes_max: usize,
    pub dialect: Dialect,
    /// I/O threads.
    pub workers: NonZeroUsize,
    /// How long to keep accepting connections after a drain starts.
    pub sigterm_timeout: Duration,
    /// Window over which the `reconnect` notices of a drain are spread.
    pub drain_spread: Duration,
    /// Time between a client's notice and the end of its connection.
    pub drain_grace: Duration,
    /// How long a client may leave its output unread.
    pub write_timeout: Duration,
    /// Bytes that may wait for one client; a rendered `WHO` does not count.
    pub write_queue_bytes_max: usize,
    /// Silence after which a client is closed.
    pub idle_timeout: Duration,
    /// How often to look for silent clients.
    pub idle_check: Duration,
    /// Total time limit of a command that needs memcached.
    pub cache_timeout: Duration,
    /// Required in orders to shed connections; without it there are none.
    pub shed_token: Option<shed::Token>,
    /// This replica's name in logs.
    pub pod_name: Option<String>,
    /// memcached; without it commands that need it answer `error: cache unavailable`.
    pub cache: Option<cache::Settings>,
    /// Kafka; without it `brd` answers `error: broadcast unavailable` and logs go to stderr alone.
    pub kafka: Option<kafka::Settings>,
    /// etcd; without it `WHO` speaks for this server alone.
    pub etcd: Option<etcd::Settings>,
}

/// A dialect as a setting.
struct DialectSetting(Dialect);

impl settings::Setting for DialectSetting {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|expected: protocol::dialect::UnknownDialect| expected.to_string())
    }
}

impl Settings {
    /// Every variable the service reads, for documentation and help.
    pub const VARIABLES: &[&Variable] = &[
        &HOST,
        &PORT,
        &ADMIN_HOST,
        &ADMIN_PORT,
        &BUFF_SIZE,
        &DIALECT,
        &WORKERS,
        &SIGTERM_TIMEOUT,
        &DRAIN_SPREAD,
        &DRAIN_GRACE,
        &WRITE_TIMEOUT,
        &WRITE_QUEUE,
        &IDLE_TIMEOUT,
        &IDLE_CHECK,
        &CACHE_TIMEOUT,
        &shed::SHED_TOKEN,
        &POD_NAME,
        &logs::RUST_LOG,
        &cache::MEMCACHED_SERVICE,
        &cache::MEMCACHED_PORT,
        &kafka::KAFKA_BROKERS,
        &kafka::KAFKA_BCAST_TOPIC,
        &kafka::KAFKA_LOGGING_TOPIC,
        &kafka::KAFKA_SASL_USER,
        &kafka::KAFKA_SASL_PASSWORD,
        &kafka::KAFKA_MESSAGE_TIMEOUT,
        &kafka::KAFKA_FETCH_WAIT,
        &etcd::ETCD_ENDPOINTS,
        &etcd::ETCD_LEASE_TTL,
    ];

    /// Reads the settings.
    ///
    /// # Errors
    /// Every variable with a bad value.
    pub fn from_env(env: &Env) -> Result<Self, Invalid> {
        let mut reader = Reader::of_table(env, Self::VARIABLES);
        let DialectSetting(dialect) = reader.get(&DIALECT);
        let settings = Self {
            host: reader.get(&HOST),
            port: port(&mut reader, dialect),
            admin_host: reader.get(&ADMIN_HOST),
            admin_port: reader.get(&ADMIN_PORT),
            packet_bytes_max: packet_bytes_max(&mut reader),
            dialect,
            workers: reader.get::<Workers>(&WORKERS).0,
            sigterm_timeout: reader.duration(&SIGTERM_TIMEOUT),
            drain_spread: reader.duration(&DRAIN_SPREAD),
            drain_grace: reader.duration(&DRAIN_GRACE),
            write_timeout: reader.duration(&WRITE_TIMEOUT),
            write_queue_bytes_max: write_queue_bytes_max(&mut reader),
            idle_timeout: reader.duration(&IDLE_TIMEOUT),
            idle_check: idle_check(&mut reader),
            cache_timeout: reader.duration(&CACHE_TIMEOUT),
            shed_token: reader.optional(&shed::SHED_TOKEN),
            pod_name: reader.optional(&POD_NAME),
            cache: cache::Settings::read(&mut reader),
            kafka: kafka::Settings::read(&mut reader),
            etcd: etcd::Settings::read(&mut reader),
        };
        reader.finish(settings)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::from_env(&Env::default()).expect("the declared defaults are valid, as a test shows")
    }
}

/// Each dialect has its own default port.
fn port(reader: &mut Reader<'_>, dialect: Dialect) -> u16 {
    const SOCKETZ_PORT: u16 = 5151;
    if dialect == Dialect::Socketz && !reader.is_set(&PORT) { SOCKETZ_PORT } else { reader.get(&PORT) }
}

/// A packet is read at once into the shared read buffer, so it must fit twice.
fn packet_bytes_max(reader: &mut Reader<'_>) -> usize {
    let bytes: usize = reader.get(&BUFF_SIZE);
    if (16..=READ_BUFFER_BYTES / 2).contains(&bytes) {
        return bytes;
    }
    let expected = format!("a number of bytes from 16 to {}", READ_BUFFER_BYTES / 2);
    reader.refuse(&BUFF_SIZE, bytes.to_string(), expected);
    PACKET_BYTES_MAX
}

fn write_queue_bytes_max(reader: &mut Reader<'_>) -> usize {
    let bytes: usize = reader.get(&WRITE_QUEUE);
    if bytes < WRITE_QUEUE_BYTES_MIN {
        reader.refuse(
            &WRITE_QUEUE,
            bytes.to_string(),
            format!("a number of bytes from {WRITE_QUEUE_BYTES_MIN} on"),
        );
    }
    bytes
}

fn idle_check(reader: &mut Reader<'_>) -> Duration {
    let interval = reader.duration(&IDLE_CHECK);
    if interval < IDLE_CHECK_LEAST {
        reader.refuse_given(&IDLE_CHECK, "a duration of at least 10ms");
    }
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_match_the_contract() {
        let settings = Settings::default();
        assert_eq!(settings.port, 40_000);
        assert_eq!((settings.admin_host, settings.admin_port), (Host::LOOPBACK, 9100));
        assert_eq!(settings.packet_bytes_max, 512);
        assert_eq!(settings.dialect, Dialect::Playground);
        assert_eq!(settings.sigterm_timeout, Duration::from_secs(20));
        assert_eq!(settings.drain_spread, Duration::from_secs(10));
        assert_eq!(settings.write_queue_bytes_max, 65_536);
        assert!(settings.cache.is_none() && settings.kafka.is_none() && settings.etcd.is_none());
    }

    #[test]
    fn socketz_has_a_port_of_its_own_unless_one_is_set() {
        let port =
            |pairs: &[(&str, &str)]| Settings::from_env(&pairs.iter().copied().collect()).unwrap().port;
        assert_eq!(port(&[("DIALECT", "socketz")]), 5151);
        assert_eq!(port(&[("DIALECT", "socketz"), ("PORT", "7000")]), 7000);
        assert_eq!(port(&[("PORT", "7000")]), 7000);
    }

    #[test]
    fn every_bad_variable_is_named() {
        let env: Env = [
            ("HOST", "nowhere"),
            ("PORT", "70000"),
            ("BUFF_SIZE", "1"),
            ("DIALECT", "klingon"),
            ("WORKERS", "0"),
            ("SIGTERM_TIMEOUT", "soon"),
            ("WRITE_QUEUE", "1"),
            ("IDLE_CHECK", "0"),
            ("KAFKA_BROKERS", "broker:9092"),
            ("KAFKA_SASL_USER", "me"),
            ("ETCD_ENDPOINTS", "etcd01"),
            ("ETCD_LEASE_TTL", "1"),
        ]
        .into_iter()
        .collect();
        let invalid = Settings::from_env(&env).unwrap_err();
        let named: Vec<_> = invalid.0.iter().map(|problem| problem.variable).collect();
        assert_eq!(
            named,
            [
                "DIALECT",
                "HOST",
                "PORT",
                "BUFF_SIZE",
                "WORKERS",
                "SIGTERM_TIMEOUT",
                "WRITE_QUEUE",
                "IDLE_CHECK",
                "KAFKA_SASL_PASSWORD",
                "ETCD_LEASE_TTL",
                "ETCD_ENDPOINTS"
            ]
        );
    }

    #[test]
    fn every_variable_is_listed_once_and_described() {
        let mut names: Vec<_> = Settings::VARIABLES.iter().map(|variable| variable.name).collect();
        assert!(Settings::VARIABLES.iter().all(|variable| variable.meaning.ends_with('.')));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
