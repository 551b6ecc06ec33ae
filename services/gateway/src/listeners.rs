//! The listening sockets, bound here or handed over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use platform::values::Protocol;
use service::handover;
use socket2::SockRef;

use crate::settings::Listeners;
use crate::tcp::room;

/// The listeners of the gateway, and who else holds them.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listeners: Vec<TcpListener>,
    /// The socket they came over, whose end means that the supervisor is gone.
    pub(crate) supervisor: Option<OwnedFd>,
}

impl Bound {
    pub(crate) fn new(settings: Listeners, stall_timeout: Option<Duration>) -> io::Result<Self> {
        let bound = match settings {
            Listeners::Bind { host, port } => {
                Self { listeners: vec![service::listen::tcp(host, port)?], supervisor: None }
            }
            Listeners::Stdin => {
                let listeners = handover::receive(io::stdin(), Protocol::Tcp)?;
                let listeners = listeners.into_iter().map(TcpListener::from).collect();
                Self { listeners, supervisor: Some(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 0)?) }
            }
        };
        for listener in &bound.listeners {
            prepare(listener, stall_timeout)?;
        }
        Ok(bound)
    }

    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Copies of the listeners for another worker.
    pub(crate) fn copies(&self) -> io::Result<Vec<TcpListener>> {
        self.listeners.iter().map(TcpListener::try_clone).collect()
    }
}

/// Options that accepted connections inherit, which saves a system call per connection and option.
fn prepare(listener: &TcpListener, stall_timeout: Option<Duration>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let socket = SockRef::from(listener);
    socket.set_tcp_nodelay(true)?;
    room::bound_sink(listener, stall_timeout)?;
    // Sessions are idle for hours; without it, a vanished client would never be noticed.
    socket.set_keepalive(true)
}
