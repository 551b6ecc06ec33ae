//! Current runs: one entry for every run that the controller has started, until its end.

use std::{net::SocketAddr, os::unix::net::UnixStream, time::Duration};

use ::platform::{ServiceKind, values::Protocol};
use controller::{ProbeFailure, Probed};
use uuid::Uuid;

use super::{probe, proxy::Proxied, servers::Spec};
use crate::process::Process;

/// The readiness path of our own services and gateways.
pub(crate) const GATEWAY_READY: &str = "/readyz";

#[derive(Debug)]
pub(crate) struct Run {
    /// `tcp-0`, `gateway-node-1`, `kafka`.
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) what: What,
    /// `None`: an embedded part.
    pub(crate) process: Option<Process>,
    /// A task that lives as long as the run.
    pub(crate) follower: Option<tokio::task::AbortHandle>,
    /// Our end of a gateway's stdin; closing it tells the gateway that we are gone.
    pub(crate) line: Option<UnixStream>,
    /// It has answered a probe, with this identity.
    pub(crate) answered: Option<Probed>,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Replica {
        service: ServiceKind,
        clients: SocketAddr,
        admin: SocketAddr,
        readiness: String,
    },
    /// `proxied`: it is not our own gateway.
    Gateway {
        admin: SocketAddr,
        proxied: Option<Box<Proxied>>,
    },
    Server(Spec),
    Embedded,
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

impl Run {
    pub(crate) fn new(name: String, node: &str, what: What, process: Option<Process>) -> Self {
        Self { name, node: node.to_owned(), what, process, follower: None, line: None, answered: None }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The address for clients of a replica, if it has any.
    pub(crate) fn connections_at(&self) -> Option<SocketAddr> {
        match &self.what {
            What::Replica { service, clients, .. } if service.row().transport == Protocol::Tcp => {
                Some(*clients)
            }
            _ => None,
        }
    }
}

/// Checks once whether something is ready. `answered`: its earlier answer.
pub(crate) async fn look(
    what: What,
    answered: Option<Probed>,
    timeout: Duration,
) -> Result<Probed, ProbeFailure> {
    match &what {
        What::Replica { service, clients, admin, readiness } => {
            probe::look(*admin, readiness, timeout).await?;
            match answered {
                Some(known) => Ok(known),
                None => Ok(Probed { server_id: identity(*service, *clients).await }),
            }
        }
        What::Gateway { admin, proxied } => {
            let path = proxied.as_ref().map_or(GATEWAY_READY, |proxied| proxied.readiness_path());
            probe::look(*admin, path, timeout).await.map(|()| Probed::default())
        }
        What::Server(spec) => spec.look(answered.is_none(), timeout).await.map(|()| Probed::default()),
        What::Embedded => Ok(Probed::default()),
    }
}

/// A service can only be asked for its identity over TCP, and only at its client port.
async fn identity(service: ServiceKind, clients: SocketAddr) -> Option<Uuid> {
    let row = service.row();
    if row.transport == Protocol::Tcp && row.has_clients { probe::identity(clients).await } else { None }
}
