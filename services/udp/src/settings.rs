//! The settings, their variables and their defaults.

use std::num::NonZeroUsize;
use std::time::Duration;

use protocol::limits::PACKET_BYTES_MAX;
use service::cache::CACHE_TIMEOUT;
use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME, WORKERS};
use service::settings::{Env, Host, Invalid, Reader, Variable, Workers};
use service::{cache, kafka, logs};

pub(crate) const PORT: Variable =
    Variable::new("PORT", "50000", "UDP port of the service; 0 is any free one.");
pub(crate) const BUFF_SIZE: Variable = Variable::new(
    "BUFF_SIZE",
    "512",
    "Maximum length of a packet in bytes, not counting a trailing line end.",
);
pub(crate) const RECEIVE_BUFFER: Variable = Variable::new(
    "RECEIVE_BUFFER",
    "4194304",
    "Receive buffer for packets waiting for a worker, in bytes; the kernel caps it at net.core.rmem_max. At least 4096.",
);
pub(crate) const SIGTERM_TIMEOUT: Variable = Variable::new(
    "SIGTERM_TIMEOUT",
    "20",
    "How long to keep answering packets after SIGTERM, so that balancers can notice; seconds.",
);

/// Up to here, memory for a batch of the longest packets stays small.
const PACKET_BYTES_LIMIT: usize = 8192;
/// The kernel's own minimum is a little lower.
const RECEIVE_BUFFER_BYTES_MIN: usize = 4096;

/// All settings. [`Settings::default`] leaves every variable unset: no backend is used.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    /// Maximum length of a packet in bytes, not counting a trailing line end.
    pub packet_bytes_max: usize,
    /// I/O threads, each with its own socket.
    pub workers: NonZeroUsize,
    /// Bytes of packets that may wait in each socket.
    pub receive_buffer: usize,
    /// How long to keep answering packets after a drain starts.
    pub sigterm_timeout: Duration,
    /// Total time limit of a command that needs memcached.
    pub cache_timeout: Duration,
    /// This replica's name in logs.
    pub pod_name: Option<String>,
    /// memcached; without it commands that need it answer `error: cache unavailable`.
    pub cache: Option<cache::Settings>,
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
        &BUFF_SIZE,
        &WORKERS,
        &RECEIVE_BUFFER,
        &SIGTERM_TIMEOUT,
        &CACHE_TIMEOUT,
        &POD_NAME,
        &logs::RUST_LOG,
        &cache::MEMCACHED_SERVICE,
        &cache::MEMCACHED_PORT,
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
            packet_bytes_max: bytes(&mut reader, &BUFF_SIZE, 16, PACKET_BYTES_LIMIT)
                .unwrap_or(PACKET_BYTES_MAX),
            workers: reader.get::<Workers>(&WORKERS).0,
            // Socket options are signed 32-bit numbers.
            receive_buffer: bytes(&mut reader, &RECEIVE_BUFFER, RECEIVE_BUFFER_BYTES_MIN, 1 << 30)
                .unwrap_or(RECEIVE_BUFFER_BYTES_MIN),
            sigterm_timeout: reader.duration(&SIGTERM_TIMEOUT),
            cache_timeout: reader.duration(&CACHE_TIMEOUT),
            pod_name: reader.optional(&POD_NAME),
            cache: cache::Settings::read(&mut reader),
            kafka: kafka::Settings::read_for_logs(&mut reader),
        };
        reader.finish(settings)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::from_env(&Env::default()).expect("the declared defaults are valid, as a test shows")
    }
}

/// A number of bytes within bounds; otherwise `None`, and the problem is noted.
fn bytes(reader: &mut Reader<'_>, variable: &Variable, least: usize, most: usize) -> Option<usize> {
    let bytes: usize = reader.get(variable);
    if (least..=most).contains(&bytes) {
        return Some(bytes);
    }
    reader.refuse(variable, bytes.to_string(), format!("a number of bytes from {least} to {most}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_match_the_contract() {
        let settings = Settings::default();
        assert_eq!(settings.port, 50_000);
        assert_eq!((settings.admin_host, settings.admin_port), (Host::LOOPBACK, 9100));
        assert_eq!(settings.packet_bytes_max, 512);
        assert_eq!(settings.workers.get(), 1);
        assert_eq!(settings.sigterm_timeout, Duration::from_secs(20));
        assert_eq!(settings.cache_timeout, Duration::from_millis(500));
        assert!(settings.cache.is_none() && settings.kafka.is_none());
    }

    #[test]
    fn every_bad_variable_is_named() {
        let env: Env = [
            ("HOST", "nowhere"),
            ("PORT", "70000"),
            ("BUFF_SIZE", "1"),
            ("WORKERS", "65"),
            ("RECEIVE_BUFFER", "4095"),
            ("SIGTERM_TIMEOUT", "soon"),
            ("MEMCACHED_PORT", "x"),
        ]
        .into_iter()
        .collect();
        let invalid = Settings::from_env(&env).unwrap_err();
        let named: Vec<_> = invalid.0.iter().map(|problem| problem.variable).collect();
        assert_eq!(
            named,
            ["HOST", "PORT", "BUFF_SIZE", "WORKERS", "RECEIVE_BUFFER", "SIGTERM_TIMEOUT", "MEMCACHED_PORT"]
        );
        let text = invalid.to_string();
        assert!(text.contains(r#"BUFF_SIZE="1": expected a number of bytes from 16 to 8192"#), "{text}");
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
