//! Why a load could not run.

use std::io;

use platform::exit;

/// Why a run did not start, or ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The typed target is invalid.
    #[error("target `{text}`: {reason}")]
    Target { text: String, reason: String },
    /// Its name has no address, now.
    #[error("target `{text}`: the name {host} cannot be resolved: {reason}")]
    Name { text: String, host: String, reason: String },
    #[error(
        "there is no target: give an address such as 127.0.0.1:10000, or start a platform with: playctl up"
    )]
    NoTarget,
    #[error("{what} {value}: expected {expected}")]
    Value { what: &'static str, value: String, expected: &'static str },
    /// One process cannot have this many connections, and worker processes are not possible here.
    #[error(
        "{connections} connections need {needed} open files, but the limit is {limit}; \
         raise it with: ulimit -n {needed} (the hard limit with root)"
    )]
    OpenFiles { connections: u64, needed: u64, limit: u64 },
    /// One pair of addresses has a limited number of ephemeral ports.
    #[error(
        "{connections} connections to {target} need {connections} ephemeral ports, but {available} are there; \
         widen net.ipv4.ip_local_port_range, or give several targets"
    )]
    Ports { target: String, connections: u64, available: u64 },
    #[error("cannot create the users and profiles of the load at {profiles}: {reason}")]
    Pairs { profiles: std::net::SocketAddr, reason: String },
    #[error("cannot start a load worker: {0}")]
    Start(#[source] io::Error),
    #[error("load worker {worker} failed: {message}")]
    Worker { worker: u32, message: String },
    /// It was stopped before it started.
    #[error("interrupted")]
    Interrupted,
    /// This build has no engine of its own.
    #[error("this build makes no load on this machine: it only directs workers elsewhere")]
    NotHere,
    /// A worker process received an invalid specification.
    #[error("load worker: {0}")]
    Protocol(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LoadError {
    /// The exit code for this error. After a usage error, a retry changes nothing.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Target { .. } | Self::NoTarget | Self::Value { .. } => exit::USAGE,
            Self::Interrupted => exit::INTERRUPTED,
            _ => exit::FAILED,
        }
    }
}
