//! Real servers instead of embedded parts: how to start them, and their state.
//!
//! A server is a process of a foreign program ([`crate::programs`]), on one of the platform's loopback addresses. Its
//! files are in the platform's state folder, and outlive a restart.

pub(crate) mod cassandra;
mod elasticsearch;
mod etcd;
mod kafka;
mod memcached;
mod prometheus;
mod redis;

use std::{
    ffi::OsString,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use controller::{PartKind, PartTemplate, ProbeFailure};
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};
use tokio::time::timeout;

use crate::{
    child::WRAPPER_COMMAND,
    http,
    paths::private_directory,
    programs::{Found, Program, Programs},
    slot::Addresses,
};

/// The template of a server; one started from a different template is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) program: Program,
    pub(crate) found: Found,
    /// Its own address on the platform.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// Its files.
    pub(crate) folder: PathBuf,
    /// Kafka: created when it is ready, as in an embedded one.
    pub(crate) topics: Vec<String>,
    /// etcd: all members and their addresses.
    pub(crate) members: Vec<(&'static str, IpAddr)>,
}

/// Why a server does not serve, or not yet. It is probed again.
#[derive(Debug, thiserror::Error)]
enum NotServing {
    #[error(transparent)]
    Connection(#[from] io::Error),
    #[error("{path} answered {} {}", answer.status, answer.body.trim())]
    Unhealthy { path: &'static str, answer: http::Answer },
    #[error("answered {answer} to {question}")]
    Unexpected { question: &'static str, answer: String },
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("could not create the topic {topic}: {error}")]
    Topic { topic: String, error: RDKafkaErrorCode },
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// In addition to the common variables of all processes of the platform.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: Option<PathBuf>,
}

impl Launch {
    /// The arguments of `playctl` that make it become this program. `listeners`: lent over its standard input.
    pub(crate) fn wrapped(self, listeners: bool) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![WRAPPER_COMMAND.into()];
        if let Some(directory) = self.directory {
            words.extend(["--directory".into(), directory.into_os_string()]);
        }
        words.extend(listeners.then(|| "--listeners".into()));
        words.extend(["--".into(), self.program.into_os_string()]);
        words.extend(self.arguments);
        words
    }
}

/// Program, position among the parts' addresses, and usual port. No server has the position of an embedded part, so
/// that one can replace the other.
fn place(kind: PartKind) -> (Program, u8, u16) {
    match kind {
        PartKind::Kafka => (Program::Kafka, 10, 9092),
        PartKind::Elasticsearch => (Program::Elasticsearch, 11, 9200),
        PartKind::Prometheus => (Program::Prometheus, 12, 9090),
        PartKind::Memcached => (Program::Memcached, 13, 11211),
        PartKind::Redis => (Program::Redis, 14, 6379),
        PartKind::Etcd | PartKind::Etcd01 => (Program::Etcd, 15, etcd::PORT),
        PartKind::Etcd02 => (Program::Etcd, 16, etcd::PORT),
        PartKind::Etcd03 => (Program::Etcd, 17, etcd::PORT),
        PartKind::Cassandra => (Program::Cassandra, 18, 9042),
    }
}

fn gateway() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a gateway is no server")
}

/// The program of a real part.
pub(crate) fn program(kind: PartKind) -> Program {
    place(kind).0
}

impl Spec {
    pub(crate) fn of(
        template: &PartTemplate,
        topics: Vec<String>,
        addresses: Addresses,
        programs: &Programs,
        parts: &Path,
    ) -> io::Result<Self> {
        let (program, part, port) = place(template.kind);
        let missing = || io::Error::other(format!("{} is needed, but was not looked for", program.name()));
        let found = programs.get(&program).cloned().ok_or_else(missing)?;
        let port = template.port.unwrap_or(port);
        let folder = parts.join(template.kind.name());
        let members = match program {
            Program::Etcd => {
                PartKind::ETCD_MEMBERS.map(|kind| (kind.name(), addresses.part(place(kind).1))).into()
            }
            _ => Vec::new(),
        };
        Ok(Self { program, found, ip: addresses.part(part), port, folder, topics, members })
    }

    /// The address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// All of its addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let beside = match self.program {
            Program::Kafka => Some(kafka::CONTROLLER_PORT),
            Program::Elasticsearch => Some(elasticsearch::TRANSPORT_PORT),
            Program::Etcd => Some(etcd::PEER_PORT),
            Program::Cassandra => Some(cassandra::STORAGE_PORT),
            _ => None,
        };
        let ip = self.ip;
        [Some(self.port), beside].into_iter().flatten().map(move |port| SocketAddr::new(ip, port))
    }

    /// Its URL for clients.
    pub(crate) fn url(&self) -> String {
        match self.program {
            Program::Elasticsearch | Program::Prometheus | Program::Etcd => {
                format!("http://{}", self.address())
            }
            _ => self.address().to_string(),
        }
    }

    /// Version and path.
    pub(crate) fn in_words(&self) -> String {
        self.found.in_words(self.program)
    }

    /// Writes its configuration into its folder and says how to start it.
    pub(crate) fn prepare(&self, run: uuid::Uuid) -> io::Result<Launch> {
        let folder = &self.folder;
        private_directory(folder)?;
        match self.program {
            Program::Kafka => kafka::prepare(self, folder, run),
            Program::Memcached => Ok(memcached::launch(self)),
            Program::Elasticsearch => elasticsearch::prepare(self, folder),
            Program::Prometheus => prometheus::prepare(self, folder),
            Program::Redis => redis::prepare(self, folder),
            Program::Etcd => Ok(etcd::launch(self, folder)),
            Program::Cassandra => cassandra::prepare(self, folder),
            Program::Envoy | Program::Haproxy => Err(gateway()),
        }
    }

    /// The password that clients of the platform's own server at this address need; `None`: it is not ours, or needs
    /// none. `parts`: the folder of all parts.
    pub(crate) fn redis_password(
        address: &str,
        addresses: Addresses,
        parts: &Path,
    ) -> io::Result<Option<String>> {
        let (program, part, port) = place(PartKind::Redis);
        let ours = SocketAddr::new(addresses.part(part), port).to_string() == address;
        ours.then(|| redis::password(&parts.join(program.name()))).transpose()
    }

    /// Asks it a question that only a serving server answers. `first`: it has not answered before. The first question
    /// to Kafka creates its topics.
    pub(crate) async fn look(&self, first: bool, patience: Duration) -> Result<(), ProbeFailure> {
        let answer = async {
            match self.program {
                Program::Kafka => kafka::ask(self, first).await,
                Program::Memcached => memcached::ask(self).await,
                Program::Elasticsearch => elasticsearch::ask(self).await,
                Program::Redis => redis::ask(self).await,
                Program::Etcd => etcd::ask(self).await,
                Program::Cassandra => cassandra::ask(self).await,
                Program::Prometheus => prometheus::ask(self).await,
                Program::Envoy | Program::Haproxy => Err(gateway().into()),
            }
        };
        let answered = timeout(patience, answer).await.unwrap_or(Err(NotServing::Late(patience)));
        answered.map_err(|error| ProbeFailure::NoAnswer { error: error.to_string() })
    }
}

#[cfg(test)]
mod tests;
