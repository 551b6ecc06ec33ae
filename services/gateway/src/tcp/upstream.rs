//! Opening a connection to a backend without waiting for it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// Starts to connect to `address`, from `source` if one is given. Whether it succeeds is seen by using the stream:
/// on loopback it is connected when this returns, so waiting for an event first would cost a turn of the loop.
pub(super) fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        // The port is chosen at connect time, when the destination is known: one source address then has the whole
        // range of ports towards each backend, not one range for all of them.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// True if a failed connect says something about the backend, and not about what this process lacks.
pub(super) fn blames_backend(error: &io::Error) -> bool {
    let own = [Errno::ADDRNOTAVAIL, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::NOSPC];
    !own.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
