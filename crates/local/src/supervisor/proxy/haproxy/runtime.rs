//! HAProxy's runtime socket: its current servers, and the commands that turn them into the desired ones.
//!
//! Every change begins by reading the current state, so it does not matter what was sent before, or to which process. A
//! drained server keeps its connections; one that is gone is deleted, which HAProxy refuses while it has connections:
//! it then stays out of use until the next change.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use ::platform::{
    endpoints::{Cluster, Endpoint},
    values::Gateway,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{sleep, timeout},
};

use super::milliseconds;
use crate::control;

const TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_EVERY: Duration = Duration::from_millis(10);
/// Longer answers are truncated.
const ANSWER_MAX: u64 = 1024 * 1024;
/// Bits of a server's administrative state, whatever set them (`SRV_ADMF_*` in HAProxy's source).
const MAINTENANCE: u32 = 0x01 | 0x02 | 0x04 | 0x20 | 0x40;
const DRAINING: u32 = 0x08 | 0x10;

/// The start of the answer when a server was added.
const ADDED: &str = "New server registered";

/// A server in HAProxy's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    name: String,
    address: SocketAddr,
    admin_state: u32,
}

/// One command, and what a refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    command: String,
    /// The start of the answer on success; empty: no answer.
    done: &'static str,
    /// A refusal is harmless.
    optional: bool,
}

impl Step {
    fn silent(command: String) -> Self {
        Self { command, done: "", optional: false }
    }

    /// Whether it adds a server.
    pub(super) fn adds(&self) -> bool {
        self.done == ADDED
    }

    pub(super) async fn carry_out(&self, socket: &Path) -> io::Result<()> {
        let answer = say(socket, &self.command).await?;
        let answer = answer.trim();
        let done = if self.done.is_empty() { answer.is_empty() } else { answer.starts_with(self.done) };
        if done || self.optional {
            return Ok(());
        }
        Err(io::Error::other(format!("HAProxy answered {answer:?} to {:?}", self.command)))
    }
}

/// Gives every server of a backend the value of its cookie: an added one has none.
pub(super) fn make_cookies(backend: &str) -> Step {
    Step::silent(format!("enable dynamic-cookie backend {backend}"))
}

/// Lists the servers of a backend.
pub(super) async fn servers(socket: &Path, backend: &str) -> io::Result<Vec<Server>> {
    let answer = say(socket, &format!("show servers state {backend}")).await?;
    parse(&answer)
        .ok_or_else(|| io::Error::other(format!("HAProxy answered {answer:?} to show servers state")))
}

async fn say(socket: &Path, command: &str) -> io::Result<String> {
    let exchange = async {
        let mut stream = connect(socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let slow = || io::Error::new(io::ErrorKind::TimedOut, format!("HAProxy does not answer to {command:?}"));
    timeout(TIMEOUT, exchange).await.map_err(|_| slow())?
}

/// Waits while HAProxy's queue of connections is full.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match control::connect(socket) {
            // Nothing signals that there is room again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(CONNECT_EVERY).await,
            Err(error) => return Err(error),
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                return UnixStream::from_std(stream);
            }
        }
    }
}

/// A version line, a line with the names of the columns after `# `, then a line per server.
fn parse(answer: &str) -> Option<Vec<Server>> {
    let mut lines = answer.lines().map(str::trim).filter(|line| !line.is_empty());
    let columns: Vec<&str> = lines.find_map(|line| line.strip_prefix("# "))?.split(' ').collect();
    let column = |name: &str| columns.iter().position(|column| *column == name);
    let (name, ip) = (column("srv_name")?, column("srv_addr")?);
    let (port, state) = (column("srv_port")?, column("srv_admin_state")?);
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let ip = fields.get(ip)?.parse().ok()?;
            Some(Server {
                name: (*fields.get(name)?).to_owned(),
                address: SocketAddr::new(ip, fields.get(port)?.parse().ok()?),
                admin_state: fields.get(state)?.parse().ok()?,
            })
        })
        .collect()
}

/// The commands that give HAProxy these servers.
pub(super) fn plan(there: &[Server], wanted: &Cluster, settings: &Gateway) -> Vec<Step> {
    let backend = &wanted.name;
    let mut steps = Vec::new();
    // New ones first: there is always at least one.
    for endpoint in &wanted.endpoints {
        let known = there.iter().find(|server| server.name == endpoint.name);
        match known {
            Some(server) if server.address == endpoint.address => {
                let (maintained, draining) =
                    (server.admin_state & MAINTENANCE != 0, server.admin_state & DRAINING != 0);
                if maintained || draining != endpoint.draining {
                    steps.push(state(backend, endpoint));
                }
            }
            Some(server) => {
                steps.extend(remove(backend, server));
                steps.extend(add(backend, endpoint, settings));
            }
            None => steps.extend(add(backend, endpoint, settings)),
        }
    }
    for server in there {
        if !wanted.endpoints.iter().any(|endpoint| endpoint.name == server.name) {
            steps.extend(remove(backend, server));
        }
    }
    steps
}

/// A server as in a configuration file: name, address and parameters.
pub(super) fn described(endpoint: &Endpoint, settings: &Gateway) -> String {
    let (name, address, most) = (&endpoint.name, endpoint.address, settings.max_connections);
    let id = match address.ip() {
        // Without an ID, added servers get the same place in the ring that `balance random` uses.
        IpAddr::V4(ip) => format!(" id {}", ip.octets()[3]),
        IpAddr::V6(_) => String::new(),
    };
    let check = endpoint.health.map_or_else(String::new, |admin| {
        let (ip, port, health) = (admin.ip(), admin.port(), &settings.rules.health);
        let (interval, fall, rise) = (milliseconds(health.interval), health.fall, health.rise);
        format!(" check addr {ip} port {port} inter {interval} fall {fall} rise {rise}")
    });
    format!("{name} {address} maxconn {most}{id}{check}")
}

/// New servers are in maintenance until they are enabled.
fn add(backend: &str, endpoint: &Endpoint, settings: &Gateway) -> Vec<Step> {
    let name = &endpoint.name;
    let command = format!("add server {backend}/{}", described(endpoint, settings));
    let mut steps = vec![Step { command, done: ADDED, optional: false }];
    if endpoint.health.is_some() {
        steps.push(Step::silent(format!("enable health {backend}/{name}")));
    }
    steps.push(state(backend, endpoint));
    steps
}

fn state(backend: &str, endpoint: &Endpoint) -> Step {
    let state = if endpoint.draining { "drain" } else { "ready" };
    Step::silent(format!("set server {backend}/{} state {state}", endpoint.name))
}

/// A server in maintenance accepts no connections but keeps existing ones; only such a server can be deleted.
fn remove(backend: &str, server: &Server) -> [Step; 2] {
    let name = &server.name;
    [
        Step::silent(format!("set server {backend}/{name} state maint")),
        Step { command: format!("del server {backend}/{name}"), done: "Server deleted", optional: true },
    ]
}

#[cfg(test)]
mod tests;
