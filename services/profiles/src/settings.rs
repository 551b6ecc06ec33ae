//! The settings, their variables and their defaults.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use service::settings::common::{ADMIN_HOST, ADMIN_PORT, HOST, POD_NAME, WORKERS};
use service::settings::{Env, Host, Invalid, Reader, Setting, Variable, Workers};
use service::{kafka, logs};

const PORT: Variable = Variable::new("PORT", "8080", "TCP port of the service; 0 is any free one.");
const CASSANDRA_CONTACT_POINTS: Variable = Variable::optional(
    "CASSANDRA_CONTACT_POINTS",
    "Initial contact points, `host` or `host:port` (9042), separated by commas. If not set, the data are in memory: \
     for one replica only, and lost with it.",
);
const CASSANDRA_KEYSPACE: Variable = Variable::new(
    "CASSANDRA_KEYSPACE",
    "kubescaler",
    "Keyspace of the tables `user` and `profile`; missing ones are created.",
);
const CASSANDRA_REPLICATION_FACTOR: Variable = Variable::new(
    "CASSANDRA_REPLICATION_FACTOR",
    "1",
    "Copies of the data in each data centre, for a keyspace that it creates.",
);
const CASSANDRA_USERNAME: Variable =
    Variable::optional("CASSANDRA_USERNAME", "User name for Cassandra; without it none is sent.");
const CASSANDRA_PASSWORD: Variable = Variable::optional("CASSANDRA_PASSWORD", "Password for Cassandra.");
const CASSANDRA_TIMEOUT: Variable = Variable::new(
    "CASSANDRA_TIMEOUT",
    "3",
    "How long a statement may take, including the driver's retries; seconds, at least 100ms.",
);
const MEMORY_LIMIT: Variable = Variable::new(
    "MEMORY_LIMIT",
    "256",
    "Megabytes of users and profiles kept in memory; beyond it, writes get 507.",
);
const ALLOW_DROP: Variable =
    Variable::new("ALLOW_DROP", "true", "Whether to allow `DELETE /users/drop` and `DELETE /profiles/drop`.");
const COMPAT_404: Variable = Variable::new(
    "COMPAT_404",
    "false",
    "Answer with an empty 404 instead of 503 while Cassandra is away, as the original did.",
);
const SIGTERM_TIMEOUT: Variable = Variable::new(
    "SIGTERM_TIMEOUT",
    "5",
    "How long to keep accepting requests after SIGTERM, so that clients can notice; seconds.",
);
const DRAIN_GRACE: Variable =
    Variable::new("DRAIN_GRACE", "10", "How long accepted requests may then take; seconds.");

/// Maximum length of an unquoted name in Cassandra.
const KEYSPACE_CHARS_MAX: usize = 48;
const CASSANDRA_PORT: u16 = 9042;
const TIMEOUT_LEAST: Duration = Duration::from_millis(100);

/// All settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub host: Host,
    pub port: u16,
    pub admin_host: Host,
    pub admin_port: u16,
    pub workers: NonZeroUsize,
    /// Cassandra; without it the data are in memory.
    pub cassandra: Option<Cassandra>,
    /// Megabytes of data in memory.
    pub memory_limit: usize,
    /// Whether one request may remove all objects of a table.
    pub allow_drop: bool,
    /// Answer with an empty 404 instead of 503.
    pub compat_404: bool,
    /// How long to keep accepting requests after a drain starts.
    pub sigterm_timeout: Duration,
    /// How long accepted requests may then take.
    pub drain_grace: Duration,
    /// This replica's name in logs, and what `GET /` answers.
    pub pod_name: Option<String>,
    /// Kafka; without it logs go to stderr alone.
    pub kafka: Option<kafka::Settings>,
}

/// The address of Cassandra and how to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct Cassandra {
    /// `host:port` of some nodes; the driver discovers the others.
    pub contact_points: Vec<String>,
    pub keyspace: String,
    pub replication_factor: u32,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// Time limit of one statement.
    pub timeout: Duration,
}

impl fmt::Debug for Cassandra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassandra")
            .field("contact_points", &self.contact_points)
            .field("keyspace", &self.keyspace)
            .finish_non_exhaustive()
    }
}

/// For messages.
impl fmt::Display for Cassandra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.contact_points.join(","))
    }
}

struct ContactPoints(Vec<String>);

impl Setting for ContactPoints {
    fn parse(text: &str) -> Result<Self, String> {
        let points: Option<Vec<String>> = text.split(',').map(|point| contact_point(point.trim())).collect();
        points.map(Self).ok_or_else(|| "host or host:port, several with commas between them".into())
    }
}

/// Adds the default port.
fn contact_point(text: &str) -> Option<String> {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '@', ' ', '[', ']', ':']);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let in_brackets = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = if let Some((host, port)) = in_brackets {
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (format!("[{host}]"), port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (is_host(host).then(|| host.to_owned())?, port)
    };
    match port.strip_prefix(':') {
        Some(port) => is_port(port).then(|| format!("{host}:{port}")),
        None => port.is_empty().then(|| format!("{host}:{CASSANDRA_PORT}")),
    }
}

struct Keyspace(String);

impl Setting for Keyspace {
    fn parse(text: &str) -> Result<Self, String> {
        let is_name = text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
            && text.len() <= KEYSPACE_CHARS_MAX;
        // Cassandra folds unquoted names to lower case.
        let name = is_name.then(|| Self(text.to_ascii_lowercase()));
        name.ok_or_else(|| {
            format!("a letter, then letters, digits and _, at most {KEYSPACE_CHARS_MAX} characters")
        })
    }
}

impl Settings {
    /// Every variable the service reads, for documentation and help.
    pub const VARIABLES: &[&Variable] = &[
        &HOST,
        &PORT,
        &ADMIN_HOST,
        &ADMIN_PORT,
        &WORKERS,
        &CASSANDRA_CONTACT_POINTS,
        &CASSANDRA_KEYSPACE,
        &CASSANDRA_REPLICATION_FACTOR,
        &CASSANDRA_USERNAME,
        &CASSANDRA_PASSWORD,
        &CASSANDRA_TIMEOUT,
        &MEMORY_LIMIT,
        &ALLOW_DROP,
        &COMPAT_404,
        &SIGTERM_TIMEOUT,
        &DRAIN_GRACE,
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
            workers: reader.get::<Workers>(&WORKERS).0,
            cassandra: Cassandra::read(&mut reader),
            memory_limit: reader.get::<NonZeroUsize>(&MEMORY_LIMIT).get(),
            allow_drop: reader.get(&ALLOW_DROP),
            compat_404: reader.get(&COMPAT_404),
            sigterm_timeout: reader.duration(&SIGTERM_TIMEOUT),
            drain_grace: reader.duration(&DRAIN_GRACE),
            pod_name: reader.optional(&POD_NAME),
            kafka: kafka::Settings::read_for_logs(&mut reader),
        };
        reader.finish(settings)
    }
}

impl Cassandra {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        // Read all of them, so that a bad value is reported even if nothing uses it.
        let points: Option<ContactPoints> = reader.optional(&CASSANDRA_CONTACT_POINTS);
        let Keyspace(keyspace) = reader.get(&CASSANDRA_KEYSPACE);
        let replication_factor = reader.get(&CASSANDRA_REPLICATION_FACTOR);
        if replication_factor == 0 {
            reader.refuse(&CASSANDRA_REPLICATION_FACTOR, "0", "1 or more");
        }
        let timeout = reader.duration(&CASSANDRA_TIMEOUT);
        if timeout < TIMEOUT_LEAST {
            reader.refuse(&CASSANDRA_TIMEOUT, format!("{timeout:?}"), "at least 100ms");
        }
        let username: Option<String> = reader.optional(&CASSANDRA_USERNAME);
        let password: Option<String> = reader.optional(&CASSANDRA_PASSWORD);
        let login = match (username, password) {
            (None, None) => None,
            (Some(username), Some(password)) => Some((username, password)),
            (Some(username), None) => {
                reader.refuse(&CASSANDRA_USERNAME, username, "CASSANDRA_PASSWORD too");
                None
            }
            (None, Some(password)) => {
                reader.refuse(&CASSANDRA_PASSWORD, password, "CASSANDRA_USERNAME too");
                None
            }
        };
        let ContactPoints(contact_points) = points?;
        Some(Self { contact_points, keyspace, replication_factor, login, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Invalid> {
        Settings::from_env(&variables.iter().copied().collect())
    }

    #[test]
    fn without_contact_points_the_data_are_in_memory() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.port, settings.cassandra, settings.allow_drop), (8080, None, true));
        let points = "a, b:1,127.0.0.1:29042,[::1],[::1]:2";
        let cassandra = read(&[("CASSANDRA_CONTACT_POINTS", points)]).unwrap().cassandra.unwrap();
        assert_eq!(cassandra.contact_points, ["a:9042", "b:1", "127.0.0.1:29042", "[::1]:9042", "[::1]:2"]);
        assert_eq!((&*cassandra.keyspace, cassandra.login), ("kubescaler", None));
    }

    #[test]
    fn bad_values_are_named_together_and_passwords_are_not_shown() {
        for bad in ["", "a,", ":1", "a:0", "a:x", "a:1:2", "[x]:1", "[::1]1", "u@a", "http://a"] {
            let found = read(&[("CASSANDRA_CONTACT_POINTS", bad)]);
            assert_eq!(found.is_ok(), bad.is_empty(), "{bad}");
        }
        let text = read(&[
            ("CASSANDRA_KEYSPACE", "a; DROP"),
            ("CASSANDRA_REPLICATION_FACTOR", "0"),
            ("CASSANDRA_TIMEOUT", "1ms"),
            ("CASSANDRA_PASSWORD", "hunter2"),
            ("MEMORY_LIMIT", "0"),
            ("ALLOW_DROP", "maybe"),
        ])
        .unwrap_err()
        .to_string();
        for part in [
            r#"CASSANDRA_KEYSPACE="a; DROP": expected a letter"#,
            r#"CASSANDRA_REPLICATION_FACTOR="0": expected 1 or more"#,
            "CASSANDRA_TIMEOUT=\"1ms\": expected at least 100ms",
            "expected CASSANDRA_USERNAME too",
            "MEMORY_LIMIT",
            "ALLOW_DROP",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    }
}
