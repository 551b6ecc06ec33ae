//! Listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::settings::Host;

/// How many connections may wait to be accepted. The kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A non-blocking listener on `host` and `port` (0: any free port).
///
/// `::` takes both families; where the machine has no IPv6 it becomes `0.0.0.0`. `TCP_NODELAY` is set on the
/// listener because accepted connections inherit it, which saves a system call for each of them.
///
/// # Errors
/// What the kernel says, with the address.
pub fn tcp(host: Host, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(host.0, port);
    match bind(address) {
        Err(error) if host == Host::ANY && ipv6_is_off(&error) => {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            bind(address).map_err(|error| named(address, &error))
        }
        other => other.map_err(|error| named(address, &error)),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// No IPv6 in the kernel, or switched off by `net.ipv6.conf.all.disable_ipv6`.
fn ipv6_is_off(error: &io::Error) -> bool {
    let off = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    off.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn named(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn any_host_takes_ipv4_clients() {
        let listener = tcp(Host::ANY, 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_taken_port_is_named() {
        let first = tcp(Host::LOOPBACK, 0).unwrap();
        let address = first.local_addr().unwrap();
        let error = tcp(Host::LOOPBACK, address.port()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
