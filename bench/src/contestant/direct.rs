//! A server that the load reaches without a proxy.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use super::{Contestant, Programs};
use crate::{
    process::{Process, Start},
    reference::loopback,
};

/// The message: the `tcp` service answers with the part after the first colon, an echo server with all of it.
pub(crate) const MESSAGE: &[u8] = b"msg:12345";

const ADDRESS: SocketAddr = loopback(1, 1, 40_000);
const ADMIN: SocketAddr = loopback(1, 1, 9100);

pub(crate) struct Direct {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    contestant: Contestant,
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
                let mut start = service(programs, ADDRESS)?.env("WORKERS", threads.to_string());
                for (name, value) in environment {
                    start = start.env(name, value);
                }
                start.answering(ADMIN, "/readyz")?
            }
            Contestant::Reference => Start::reference("echo", "echo")?
                .args(["--listen".into(), ADDRESS.to_string(), "--threads".into(), threads.to_string()])
                .serving(ADDRESS)?,
            Contestant::HaProxy | Contestant::Envoy => bail!("{} is not a server", contestant.name()),
        };
        Ok(Self { process, address: ADDRESS, admin: ADMIN, contestant })
    }

    /// Several `tcp` services, each at an address of its own.
    pub(crate) fn replicas(programs: &Programs, count: u8) -> Result<Vec<(Process, SocketAddr)>> {
        (1..=count)
            .map(|number| {
                let address = loopback(1, number, ADDRESS.port());
                let process = service(programs, address)?
                    .answering(SocketAddr::new(address.ip(), ADMIN.port()), "/readyz")?;
                Ok((process, address))
            })
            .collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where ours answers `/metrics`.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How long the answer to [`MESSAGE`] is.
    pub(crate) fn reply_length(&self) -> usize {
        match self.contestant {
            Contestant::Playctl => MESSAGE.len() - "msg:".len(),
            _ => MESSAGE.len(),
        }
    }

    pub(crate) fn into_process(self) -> Process {
        self.process
    }
}

fn service(programs: &Programs, address: SocketAddr) -> Result<Start<'static>> {
    let start = Start::program("tcp", programs.playctl()?)?
        .args(["serve", "tcp"])
        .env("HOST", address.ip().to_string())
        .env("PORT", address.port().to_string())
        .env("ADMIN_HOST", address.ip().to_string())
        .env("ADMIN_PORT", ADMIN.port().to_string())
        .env("POD_NAME", "tcp-0");
    Ok(start)
}
