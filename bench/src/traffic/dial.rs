//! Opens connections.

use std::{
    io,
    net::{SocketAddr, TcpStream},
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, Socket, Type};

/// One address has some 28,000 ports for connections to one destination; this many are taken from each.
const PER_SOURCE: usize = 20_000;

/// A connection, established on return, then non-blocking.
pub(super) fn one(target: SocketAddr, source: SocketAddr) -> io::Result<TcpStream> {
    let socket = bound(source, false)?;
    socket.connect(&target.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A connection that may still be connecting.
pub(super) fn begin(target: SocketAddr, source: SocketAddr) -> io::Result<TcpStream> {
    let socket = bound(source, true)?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}

fn bound(source: SocketAddr, nonblocking: bool) -> io::Result<Socket> {
    let kind = if nonblocking { Type::STREAM.nonblocking() } else { Type::STREAM };
    let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    // Choose the port when the destination is known; otherwise one address allows only 28,000 connections in total.
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(&source.into())?;
    Ok(socket)
}

/// `count` connections to `target`.
pub(crate) fn many(target: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|index| one(target, source(index / PER_SOURCE))).collect()
}

/// The `index`-th address that connections come from.
pub(super) fn source(index: usize) -> SocketAddr {
    crate::loopback::address(128, index as u8, 0)
}
