//! A server that the load reaches without a proxy.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use local::embedded::redis;

use super::{Contestant, Programs};
use crate::{
    loopback,
    process::{Process, Start},
};

/// The message: the services answer with the part after the first colon, an echo server with all of it.
pub(crate) const MESSAGE: &[u8] = b"msg:12345";

const TCP: SocketAddr = loopback::address(1, 1, 40_000);
const UDP: SocketAddr = loopback::address(1, 1, 50_000);
const WS: SocketAddr = loopback::address(1, 1, 8088);
const PROFILES: SocketAddr = loopback::address(1, 1, 8080);
/// The address of the Redis in which `ws` lists its sessions, a thread of this process.
const REDIS: SocketAddr = loopback::address(1, 100, 6379);
const ADMIN_PORT: u16 = 9100;

pub(crate) struct Direct {
    process: Process,
    address: SocketAddr,
    contestant: Contestant,
    /// Must live as long as the process does.
    _redis: Option<redis::Server>,
}

impl Direct {
    /// The `tcp` service or the minimal echo server, with `threads` I/O threads.
    pub(crate) fn start(contestant: Contestant, programs: &Programs, threads: usize) -> Result<Self> {
        Self::with_environment(contestant, programs, threads, &[])
    }

    /// The same with further settings for ours.
    pub(crate) fn with_environment(
        contestant: Contestant,
        programs: &Programs,
        threads: usize,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let process = match contestant {
            Contestant::Playctl => {
                let mut start = service("tcp", programs, TCP)?.env("WORKERS", threads.to_string());
                for (name, value) in environment {
                    start = start.env(name, value);
                }
                start.answering(admin(TCP), "/readyz")?
            }
            Contestant::Reference => Start::reference("echo", "echo")?
                .args(["--listen".into(), TCP.to_string(), "--threads".into(), threads.to_string()])
                .serving(TCP)?,
            Contestant::HaProxy | Contestant::Envoy => bail!("{} is not a server", contestant.name()),
        };
        Ok(Self { process, address: TCP, contestant, _redis: None })
    }

    /// The `udp` service or the bare loop, with one I/O thread.
    pub(crate) fn datagrams(contestant: Contestant, programs: &Programs) -> Result<Self> {
        let start = match contestant {
            Contestant::Playctl => service("udp", programs, UDP)?,
            Contestant::Reference => Start::reference("datagrams", "datagrams")?.args([
                "--listen",
                &UDP.to_string(),
                "--health",
                &ADMIN_PORT.to_string(),
            ]),
            Contestant::HaProxy | Contestant::Envoy => bail!("{} is not a server", contestant.name()),
        };
        Ok(Self { process: start.answering(admin(UDP), "/readyz")?, address: UDP, contestant, _redis: None })
    }

    /// The `ws` service with a Redis, or the bare loop, with one I/O thread. No pings during the measurement.
    pub(crate) fn websockets(contestant: Contestant, programs: &Programs) -> Result<Self> {
        let (process, redis) = match contestant {
            Contestant::Playctl => {
                let redis = redis::Server::bind(REDIS)?;
                let start = service("ws", programs, WS)?
                    .env("REDIS_HOST", REDIS.ip().to_string())
                    .env("REDIS_PORT", REDIS.port().to_string())
                    .env("MAX_CONNECTIONS_PER_HOST", "20000")
                    .env("PING_INTERVAL", "1h");
                (start.answering(admin(WS), "/readyz")?, Some(redis))
            }
            Contestant::Reference => {
                let start = Start::reference("websocket", "websocket")?;
                (start.args(["--listen".to_owned(), WS.to_string()]).serving(WS)?, None)
            }
            Contestant::HaProxy | Contestant::Envoy => bail!("{} is not a server", contestant.name()),
        };
        Ok(Self { process, address: WS, contestant, _redis: redis })
    }

    /// The `profiles` service with a keyspace of Cassandra.
    pub(crate) fn profiles(programs: &Programs, keyspace: &str) -> Result<Self> {
        let process = service("profiles", programs, PROFILES)?
            .env("CASSANDRA_CONTACT_POINTS", programs.cassandra()?.contact_points())
            .env("CASSANDRA_KEYSPACE", keyspace)
            .env("CASSANDRA_TIMEOUT", "30s")
            .answering(admin(PROFILES), "/readyz")?;
        Ok(Self { process, address: PROFILES, contestant: Contestant::Playctl, _redis: None })
    }

    /// Several `tcp` services, each at its own address.
    pub(crate) fn replicas(programs: &Programs, count: u8) -> Result<Vec<(Process, SocketAddr)>> {
        (1..=count)
            .map(|number| {
                let address = loopback::address(1, number, TCP.port());
                let process = service("tcp", programs, address)?.answering(admin(address), "/readyz")?;
                Ok((process, address))
            })
            .collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `/metrics` of our service.
    pub(crate) fn admin(&self) -> SocketAddr {
        admin(self.address)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The answer to [`MESSAGE`].
    pub(crate) fn reply(&self) -> &'static [u8] {
        match self.contestant {
            Contestant::Playctl => MESSAGE.strip_prefix(b"msg:").unwrap_or(MESSAGE),
            _ => MESSAGE,
        }
    }

    pub(crate) fn into_process(self) -> Process {
        self.process
    }
}

fn admin(service: SocketAddr) -> SocketAddr {
    SocketAddr::new(service.ip(), ADMIN_PORT)
}

fn service(name: &'static str, programs: &Programs, address: SocketAddr) -> Result<Start<'static>> {
    let start = Start::program(name, programs.playctl()?)
        .args(["serve", name])
        .env("HOST", address.ip().to_string())
        .env("PORT", address.port().to_string())
        .env("ADMIN_HOST", address.ip().to_string())
        .env("ADMIN_PORT", ADMIN_PORT.to_string())
        .env("POD_NAME", format!("{name}-0"));
    Ok(start)
}
