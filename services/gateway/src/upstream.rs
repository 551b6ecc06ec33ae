//! Opens a connection to a backend without blocking.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use crate::shortages::Shortage;

/// What to send as soon as the connection is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing yet: the backend may speak first.
    Nothing,
    Bytes,
}

impl Follows {
    pub(crate) fn of(bytes: bool) -> Self {
        if bytes { Self::Bytes } else { Self::Nothing }
    }
}

/// Starts to connect to `address`, from `source` if one is given. `unread_max`: about half of the maximum unread data;
/// `None` leaves that to the kernel. Using the stream shows whether the connect succeeded: on loopback it is connected
/// when this returns, so waiting for an event first would cost a turn of the loop.
pub(crate) fn connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    follows: Follows,
    unread_max: Option<usize>,
) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        // The port is chosen at connect time, when the destination is known: one source address then has the whole
        // range of ports to each backend, not one range for all of them.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    if let Some(bytes) = unread_max {
        // Before the connect, which tells the backend how much it may send.
        socket.set_recv_buffer_size(bytes)?;
    }
    if follows == Follows::Bytes {
        // The handshake's last packet then carries the bytes instead of going out alone before them (tcp(7)). Without
        // bytes it would only be delayed, and so would a backend that speaks first.
        sockopt::set_tcp_quickack(&socket, false)?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// What a failed connect reveals: a fault of the backend, or a shortage in this process.
pub(crate) fn shortage(error: &io::Error) -> Shortage {
    if lacks_resources(error) {
        Shortage::Resources
    } else if is_any(error, &[Errno::ADDRNOTAVAIL, Errno::ADDRINUSE]) {
        Shortage::SourcePorts
    } else {
        Shortage::ConnectFailed
    }
}

/// True if there was no room for another socket.
pub(crate) fn lacks_resources(error: &io::Error) -> bool {
    is_any(error, &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC])
}

fn is_any(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
