//! Servers of datagrams, and proxies in front of them.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use super::{
    Contestant, MESSAGE, Programs, envoy,
    proxy::{ADMIN, REPLICAS, gateway, relayed, start_envoy, write_endpoints},
};
use crate::{
    process::{Process, Start},
    reference::loopback,
};

/// Where the load sends to a server, and where the server says that it is ready.
const SERVER: SocketAddr = loopback(1, 1, 50_000);
const SERVER_HEALTH: SocketAddr = loopback(1, 1, 9100);
/// Where the load sends to a proxy.
const FRONT: SocketAddr = loopback(0, 1, 10_001);

/// A server that the load reaches without a proxy.
pub(crate) struct DatagramServer {
    process: Process,
    address: SocketAddr,
    contestant: Contestant,
}

impl DatagramServer {
    /// The `udp` service or the bare loop, with one I/O thread.
    pub(crate) fn start(contestant: Contestant, programs: &Programs) -> Result<Self> {
        let process = match contestant {
            Contestant::Playctl => Start::program("udp", programs.playctl()?)?
                .args(["serve", "udp"])
                .env("HOST", SERVER.ip().to_string())
                .env("PORT", SERVER.port().to_string())
                .env("ADMIN_HOST", SERVER_HEALTH.ip().to_string())
                .env("ADMIN_PORT", SERVER_HEALTH.port().to_string())
                .env("POD_NAME", "udp-0")
                .answering(SERVER_HEALTH, "/readyz")?,
            Contestant::Reference => reference("datagrams", &[SERVER], SERVER_HEALTH)?,
            Contestant::HaProxy | Contestant::Envoy => bail!("{} is not a server", contestant.name()),
        };
        Ok(Self { process, address: SERVER, contestant })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What answers [`MESSAGE`].
    pub(crate) fn reply(&self) -> &'static [u8] {
        match self.contestant {
            Contestant::Playctl => MESSAGE.strip_prefix(b"msg:").unwrap_or(MESSAGE),
            _ => MESSAGE,
        }
    }
}

/// A proxy with one I/O thread between the load and two bare loops.
pub(crate) struct DatagramProxy {
    process: Process,
    address: SocketAddr,
    /// One process with the addresses of all replicas. Ends after the proxy.
    _replicas: Process,
}

impl DatagramProxy {
    pub(crate) fn start(contestant: Contestant, programs: &Programs) -> Result<Self> {
        let replicas = REPLICAS.map(|replica| replica.address);
        let replicas = reference("replicas", &replicas, REPLICAS[REPLICAS.len() - 1].health)?;
        let process = match contestant {
            Contestant::Playctl => {
                let places = REPLICAS.map(|replica| (replica.address, replica.health));
                gateway(programs, FRONT, write_endpoints("udp", places)?)?
                    .env("PROTOCOL", "UDP")
                    .answering(ADMIN, "/readyz")?
            }
            Contestant::Envoy => start_envoy(programs, 1, &envoy::datagrams(FRONT, ADMIN))?,
            Contestant::Reference => relay()?,
            Contestant::HaProxy => bail!("{} is no proxy for datagrams", contestant.name()),
        };
        Ok(Self { process, address: FRONT, _replicas: replicas })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The minimal proxy, which does not check the replicas' health.
fn relay() -> Result<Process> {
    let start = Start::reference("relay", "datagram-relay")?.args(["--health", &ADMIN.to_string()]);
    start.args(relayed(FRONT)).answering(ADMIN, "/")
}

/// Bare loops at these addresses, ready when `last`, the health port of the last one, says so.
fn reference(name: &'static str, addresses: &[SocketAddr], last: SocketAddr) -> Result<Process> {
    let mut arguments = vec!["--health".to_owned(), last.port().to_string()];
    for address in addresses {
        arguments.extend(["--listen".to_owned(), address.to_string()]);
    }
    Start::reference(name, "datagrams")?.args(arguments).answering(last, "/readyz")
}
