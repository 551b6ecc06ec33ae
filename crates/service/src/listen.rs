//! Sockets that clients connect or send to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use platform::values::Protocol;
use socket2::{Domain, SockRef, Socket, Type};

use crate::settings::{Host, Variable, common};

/// Length of the accept queue. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A non-blocking listener on `host` and `port` (0: any free port).
///
/// `::` covers both families; without IPv6 it becomes `0.0.0.0`. `TCP_NODELAY` is set on the listener because accepted
/// connections inherit it, which saves a system call for each of them.
///
/// # Errors
/// The kernel's error, with the address.
pub fn tcp(host: Host, port: u16) -> io::Result<TcpListener> {
    on(Protocol::Tcp, CLIENTS, host, port, bind_tcp)
}

/// The same for the admin port.
///
/// # Errors
/// The kernel's error, with the address.
pub fn admin(host: Host, port: u16) -> io::Result<TcpListener> {
    on(Protocol::Tcp, ADMIN, host, port, bind_tcp)
}

/// The variables of an address and a port.
type Variables = (&'static Variable, &'static str);

const CLIENTS: Variables = (&common::HOST, "PORT");
const ADMIN: Variables = (&common::ADMIN_HOST, common::ADMIN_PORT.name);

/// Why an address cannot be used: the inner error of this module's functions.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}{}", self.remedy())]
pub struct Refused {
    pub protocol: Protocol,
    pub address: SocketAddr,
    variables: Variables,
    source: io::Error,
}

impl Refused {
    /// The listening error in an error's chain, if any.
    pub fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let refused = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match refused.and_then(|inner| inner.downcast_ref()) {
            Some(refused) => Some(refused),
            None => Self::within(error.source()?),
        }
    }

    /// Whether somebody else has the address.
    pub fn is_taken(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    fn remedy(&self) -> String {
        let (host, port) = self.variables;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => format!("; {port} takes another port, {} another address", host.name),
            io::ErrorKind::PermissionDenied => format!("; {port} takes another port"),
            io::ErrorKind::AddrNotAvailable => format!("; {} takes an address of this machine", host.name),
            _ => String::new(),
        }
    }
}

/// Buffer for each direction of an accepted connection. The kernel doubles these numbers, counts its own overhead, and
/// may exceed the send buffer by one segment of 64 KiB: at most 160 KiB for both.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// Bounds what the kernel holds for a client that does not read, or sends faster than it is served: otherwise a send
/// buffer grows to 4 MiB and a receive buffer to 32 MiB. Accepted connections inherit the bounds. Only for services
/// with small requests and replies: it also limits the data in flight to a distant client.
///
/// # Errors
/// The kernel's error.
pub fn bound_buffers(listener: &TcpListener) -> io::Result<()> {
    bound_buffers_at(listener, SEND_BUFFER_BYTES)
}

/// The same with a different send buffer: larger for services that send much, smaller if a gateway's sockets add to it.
///
/// # Errors
/// The kernel's error.
pub fn bound_buffers_at(listener: &TcpListener, send_bytes: usize) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_send_buffer_size(send_bytes)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)
}

/// Turns the close that follows into a reset: unsent bytes are dropped, and the kernel keeps nothing for a client
/// that does not read.
pub fn reset_on_close(connection: &impl AsFd) {
    // Fails only if the connection is already gone.
    let _ = SockRef::from(connection).set_linger(Some(Duration::ZERO));
}

/// After the close that follows, lets the kernel hold unsent bytes for no longer than `timeout`.
pub fn give_up_after(connection: &impl AsFd, timeout: Duration) {
    // Zero would mean the kernel's own time, which is many minutes.
    let timeout = timeout.max(Duration::from_millis(1));
    // Fails only if the connection is already gone.
    let _ = SockRef::from(connection).set_tcp_user_timeout(Some(timeout));
}

/// Options of datagram sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpOptions {
    /// Number of sockets on the port; the kernel spreads peers over them, each peer to one.
    pub sockets: usize,
    /// Bytes of datagrams queued in each. The kernel caps it at `net.core.rmem_max`.
    pub receive_buffer: usize,
    /// How long a send may wait for room.
    pub write_timeout: Duration,
}

/// Blocking datagram sockets on `host` and `port` (0: any free port).
///
/// `::` covers both families; without IPv6 it becomes `0.0.0.0`. A socket of another process on the port is an error
/// even if it would share the port.
///
/// # Errors
/// The kernel's error, with the address.
pub fn udp(host: Host, port: u16, options: UdpOptions) -> io::Result<Vec<UdpSocket>> {
    on(Protocol::Udp, CLIENTS, host, port, |address| {
        if options.sockets == 1 {
            return Ok(vec![bind_udp(address, false, options)?]);
        }
        // First without SO_REUSEPORT: with it, a foreign socket that also has it would silently take its share.
        let address = bind_udp(address, false, options)?.local_addr()?;
        (0..options.sockets).map(|_| bind_udp(address, true, options)).collect()
    })
}

fn bind_udp(address: SocketAddr, shared: bool, options: UdpOptions) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_recv_buffer_size(options.receive_buffer)?;
    socket.set_write_timeout(Some(options.write_timeout))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Binds `host`, or `0.0.0.0` instead of `::` if there is no IPv6.
fn on<T>(
    protocol: Protocol,
    variables: Variables,
    host: Host,
    port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let named = |address, source: io::Error| {
        io::Error::new(source.kind(), Refused { protocol, address, variables, source })
    };
    let address = SocketAddr::new(host.0, port);
    match bind(address) {
        Err(error) if host == Host::ANY && ipv6_is_off(&error) => {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            bind(address).map_err(|error| named(address, error))
        }
        other => other.map_err(|error| named(address, error)),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
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

/// No IPv6 in the kernel, or disabled by `net.ipv6.conf.all.disable_ipv6`.
fn ipv6_is_off(error: &io::Error) -> bool {
    let off = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    off.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn an_unspecified_host_accepts_ipv4_clients() {
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
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on {address}: ")), "{text}");
        assert!(text.ends_with("; PORT takes another port, HOST another address"), "{text}");
        let admin_text = admin(Host::LOOPBACK, address.port()).unwrap_err().to_string();
        assert!(
            admin_text.ends_with("; ADMIN_PORT takes another port, ADMIN_HOST another address"),
            "{text}"
        );
        let error = crate::Error::Listen(error);
        let refused = Refused::within(&error).unwrap();
        assert_eq!((refused.protocol, refused.address, refused.is_taken()), (Protocol::Tcp, address, true));
        assert!(Refused::within(&crate::Error::Start(io::Error::other("no"))).is_none());
    }

    #[test]
    fn an_address_of_another_machine_names_the_variable() {
        let host = Host([192, 0, 2, 1].into());
        for (error, variable) in [(tcp(host, 0), "HOST"), (admin(host, 0), "ADMIN_HOST")] {
            let error = error.unwrap_err();
            assert!(
                error.to_string().ends_with(&format!("; {variable} takes an address of this machine")),
                "{error}"
            );
            assert!(!Refused::within(&error).unwrap().is_taken());
        }
    }

    const UDP: UdpOptions =
        UdpOptions { sockets: 1, receive_buffer: 1 << 16, write_timeout: Duration::from_millis(100) };

    #[test]
    fn datagrams_of_ipv4_clients_reach_an_unspecified_host() {
        let sockets = udp(Host::ANY, 0, UDP).unwrap();
        let [socket] = &sockets[..] else { panic!("{sockets:?}") };
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.send_to(b"x", (Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1);
    }

    #[test]
    fn a_group_shares_its_port_only_within_itself() {
        let group = udp(Host::LOOPBACK, 0, UdpOptions { sockets: 3, ..UDP }).unwrap();
        let address = group[0].local_addr().unwrap();
        assert_eq!(group.len(), 3);
        assert!(group.iter().all(|socket| socket.local_addr().unwrap() == address));
        for sockets in [1, 2] {
            let error = udp(Host::LOOPBACK, address.port(), UdpOptions { sockets, ..UDP }).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
    }
}
