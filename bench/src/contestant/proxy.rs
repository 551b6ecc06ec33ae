//! A proxy between the load and minimal servers.
//!
//! All proxies are set up alike: two replicas, chosen by the better of two random draws, active HTTP health checks once
//! a second, limits on connections, no access log.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use platform::endpoints::{Cluster, Endpoint, Endpoints};
use serde_json::Value;

use super::{Contestant, Programs, envoy, haproxy};
use crate::{
    process::{Process, Start, scratch},
    reference::loopback,
};

/// Where the load connects.
const FRONT: SocketAddr = loopback(0, 1, 10_000);
pub(super) const ADMIN: SocketAddr = loopback(0, 1, 9100);

/// What the replicas do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Echo,
    Sink,
}

/// What a row requires of a proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// I/O threads of the proxy, and of the replicas.
    pub(crate) threads: usize,
    pub(crate) backend: Backend,
    /// The connections carry much data at a time: HAProxy may splice (`splice-auto`).
    pub(crate) bulk: bool,
}

/// A replica: where it serves and where it says that it is ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replica {
    pub(super) address: SocketAddr,
    pub(super) health: SocketAddr,
}

pub(super) const REPLICAS: [Replica; 2] = [
    Replica { address: loopback(1, 1, 40_000), health: loopback(1, 1, 9100) },
    Replica { address: loopback(1, 2, 40_000), health: loopback(1, 2, 9100) },
];

pub(crate) struct Proxy {
    process: Process,
    address: SocketAddr,
    /// One process with the addresses of all replicas. Ends after the proxy.
    _replicas: Process,
}

impl Proxy {
    pub(crate) fn start(contestant: Contestant, programs: &Programs, setup: Setup) -> Result<Self> {
        let Setup { threads, backend, bulk } = setup;
        let replicas = start_replicas(threads, backend)?;
        let process = match contestant {
            Contestant::Playctl => playctl(programs, threads)?,
            Contestant::HaProxy => {
                let file = write("haproxy.cfg", &haproxy::configuration(FRONT, threads, bulk))?;
                Start::program("haproxy", programs.haproxy()?)?
                    .args(["-db".as_ref(), "-f".as_ref(), file.as_os_str()])
                    .serving(FRONT)?
            }
            Contestant::Envoy => start_envoy(programs, threads, &envoy::configuration(FRONT, ADMIN))?,
            Contestant::Reference => relay(threads)?,
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

/// Envoy with this bootstrap, and its admin port at [`ADMIN`].
pub(super) fn start_envoy(programs: &Programs, threads: usize, bootstrap: &Value) -> Result<Process> {
    let file = write("envoy.json", &bootstrap.to_string())?;
    Start::program("envoy", programs.envoy()?)?
        .args(["--config-path".as_ref(), file.as_os_str()])
        .args(["--concurrency", &threads.to_string(), "--log-level", "warn", "--use-dynamic-base-id"])
        .answering(ADMIN, "/ready")
}

fn start_replicas(threads: usize, backend: Backend) -> Result<Process> {
    let name = match backend {
        Backend::Echo => "echo",
        Backend::Sink => "sink",
    };
    let mut arguments = vec!["--threads".to_owned(), threads.to_string()];
    for replica in REPLICAS {
        arguments.extend(["--listen".to_owned(), replica.address.to_string()]);
    }
    arguments.extend(["--health".to_owned(), REPLICAS[0].health.port().to_string()]);
    Start::reference("replicas", name)?.args(arguments).serving(REPLICAS[REPLICAS.len() - 1].address)
}

/// The minimal proxy, which does not check the replicas' health.
fn relay(threads: usize) -> Result<Process> {
    let start = Start::reference("relay", "relay")?.args(["--threads", &threads.to_string()]);
    start.args(relayed(FRONT)).serving(FRONT)
}

/// The minimal proxy's arguments: its address and its replicas.
pub(super) fn relayed(front: SocketAddr) -> Vec<String> {
    let replicas = REPLICAS.map(|replica| ["--replica".to_owned(), replica.address.to_string()]);
    [["--listen".to_owned(), front.to_string()]].into_iter().chain(replicas).flatten().collect()
}

fn playctl(programs: &Programs, threads: usize) -> Result<Process> {
    let file = write_endpoints("tcp", REPLICAS.map(|replica| (replica.address, replica.health)))?;
    gateway(programs, FRONT, file)?.env("WORKERS", threads.to_string()).answering(ADMIN, "/readyz")
}

/// Several gateways of ours, each at an address of its own, with the same replicas behind them.
pub(crate) fn gateways(
    programs: &Programs,
    count: u8,
    replicas: &[SocketAddr],
) -> Result<Vec<(Process, SocketAddr)>> {
    let health = |address: SocketAddr| SocketAddr::new(address.ip(), ADMIN.port());
    let file = write_endpoints("tcp", replicas.iter().map(|&address| (address, health(address))))?;
    (1..=count)
        .map(|number| {
            let front = loopback(0, number, FRONT.port());
            let process = gateway(programs, front, file.clone())?.answering(health(front), "/readyz")?;
            Ok((process, front))
        })
        .collect()
}

pub(super) fn gateway(programs: &Programs, front: SocketAddr, endpoints: PathBuf) -> Result<Start<'static>> {
    let start = Start::program("gateway", programs.playctl()?)?
        .args(["serve", "gateway"])
        .env("HOST", front.ip().to_string())
        .env("PORT", front.port().to_string())
        .env("ADMIN_HOST", front.ip().to_string())
        .env("ADMIN_PORT", ADMIN.port().to_string())
        .env("ENDPOINTS_FILE", endpoints);
    Ok(start)
}

/// Each replica with the address of its health check.
pub(super) fn write_endpoints(
    cluster: &str,
    replicas: impl IntoIterator<Item = (SocketAddr, SocketAddr)>,
) -> Result<PathBuf> {
    let endpoints = (0..)
        .zip(replicas)
        .map(|(ordinal, (address, health))| Endpoint {
            name: format!("{cluster}-{ordinal}"),
            address,
            health: Some(health),
            draining: false,
        })
        .collect();
    let clusters = vec![Cluster { name: cluster.to_owned(), endpoints }];
    write("endpoints.json", &serde_json::to_string(&Endpoints { version: 1, clusters })?)
}

fn write(name: &str, text: &str) -> Result<PathBuf> {
    let path = scratch()?.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}
