//! The gateway's listeners: created once, kept by the supervisor, lent to the gateway processes.
//!
//! All nodes' gateways share one port by `SO_REUSEPORT`, one listener each. Since the supervisor keeps them open, a
//! gateway that drains or dies closes none: queued connections wait for its successor. The same goes for UDP sockets.
//!
//! A gateway that cannot be lent listeners (Envoy) creates its own. The port is then only reserved: a socket that is
//! bound and does not listen gets no connections, and lets only this user's own processes share the port.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use ::platform::values;
use socket2::{Domain, Protocol, Socket, Type};

use crate::kernel::port::Unusable;

const BACKLOG: i32 = 4096;
/// Maximum bytes of packets queued for a gateway; the kernel caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// How the supervisor holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// With listeners to lend.
    Listening,
    /// Only reserved; the gateway creates its own listener.
    Reserved,
}

/// The listeners of one address, one per node.
#[derive(Debug)]
pub(crate) struct Listeners {
    address: SocketAddr,
    protocol: values::Protocol,
    hold: Hold,
    per_node: Vec<Socket>,
}

impl Listeners {
    /// Takes the port for `nodes` gateways.
    pub(crate) fn bind(
        address: SocketAddr,
        protocol: values::Protocol,
        nodes: u32,
        hold: Hold,
    ) -> Result<Self, Unusable> {
        // First without SO_REUSEPORT: with it, a foreign listener that also has it would silently share the traffic.
        drop(open(address, protocol, false, Hold::Listening)?);
        let mut listeners = Self { address, protocol, hold, per_node: Vec::new() };
        listeners.grow(nodes)?;
        Ok(listeners)
    }

    /// Adds listeners for nodes that join. Removes listeners of nodes that left: their queue is lost with them, as when
    /// a node dies.
    pub(crate) fn resize(&mut self, nodes: u32) -> Result<(), Unusable> {
        self.per_node.truncate(nodes as usize);
        self.grow(nodes)
    }

    fn grow(&mut self, nodes: u32) -> Result<(), Unusable> {
        while self.per_node.len() < nodes as usize {
            self.per_node.push(open(self.address, self.protocol, true, self.hold)?);
        }
        Ok(())
    }

    /// Switches to another kind of gateway. Opens our listeners before closing the old ones, so that the port stays
    /// ours; gateways keep what they were lent.
    pub(crate) fn hold(&mut self, hold: Hold) -> Result<(), Unusable> {
        if self.hold == hold {
            return Ok(());
        }
        let opened = self
            .per_node
            .iter()
            .map(|_| open(self.address, self.protocol, true, hold))
            .collect::<Result<_, _>>()?;
        (self.hold, self.per_node) = (hold, opened);
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `None`: no such node, or nothing to lend.
    pub(crate) fn of_node(&self, node: u32) -> Option<BorrowedFd<'_>> {
        self.per_node.get(node as usize).filter(|_| self.hold == Hold::Listening).map(AsFd::as_fd)
    }
}

fn open(
    address: SocketAddr,
    protocol: values::Protocol,
    shared: bool,
    hold: Hold,
) -> Result<Socket, Unusable> {
    let for_packets = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let for_connections = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of an earlier platform may still be in TIME-WAIT. Not if it does not listen: the kernel lets
        // anybody share a port with such a socket.
        socket.set_reuse_address(hold == Hold::Listening)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        if hold == Hold::Listening {
            socket.listen(BACKLOG)?;
        }
        Ok(socket)
    };
    let bound = match protocol {
        values::Protocol::Tcp => for_connections(),
        values::Protocol::Udp => for_packets(),
    };
    bound.map_err(|source| Unusable::new(protocol, address, source))
}

/// The two ends of the channel on which listeners are lent: ours, and the one that becomes the gateway's stdin.
pub(crate) fn line() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.as_fd().try_clone_to_owned()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use std::net::UdpSocket;

    use service::handover;

    use super::{
        values::Protocol::{Tcp as TCP, Udp as UDP},
        *,
    };

    fn free(ip: &str) -> SocketAddr {
        TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
    }

    #[test]
    fn a_taken_port_is_named_with_its_holder_even_if_it_would_share() {
        let address = free("127.76.6.1");
        let holder = open(address, TCP, true, Hold::Listening).unwrap();
        let error = Listeners::bind(address, TCP, 2, Hold::Listening).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(holder);
        Listeners::bind(address, TCP, 2, Hold::Listening).unwrap();
    }

    #[test]
    fn lent_listeners_outlive_their_borrower() {
        let address = free("127.76.6.2");
        let mut listeners = Listeners::bind(address, TCP, 1, Hold::Listening).unwrap();
        listeners.resize(2).unwrap();
        listeners.resize(1).unwrap();
        let (ours, theirs) = line().unwrap();
        handover::send(&ours, TCP, &[listeners.of_node(0).unwrap()]).unwrap();

        let lent = handover::receive(&theirs, TCP).unwrap();
        let [lent] = <[OwnedFd; 1]>::try_from(lent).unwrap();
        let lent = TcpListener::from(lent);
        lent.set_nonblocking(false).unwrap();
        let _first = TcpStream::connect(address).unwrap();
        lent.accept().unwrap();
        drop(lent);
        // Nobody accepts now, and yet nobody is refused.
        let _second = TcpStream::connect(address).unwrap();
        assert!(listeners.of_node(1).is_none());
    }

    #[test]
    fn a_reserved_port_is_shared_only_by_us_and_accepts_no_connection() {
        let address = free("127.76.6.3");
        let mut listeners = Listeners::bind(address, TCP, 1, Hold::Reserved).unwrap();
        assert!(listeners.of_node(0).is_none());
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(TcpListener::bind(address).is_err());

        let gateway = TcpListener::from(OwnedFd::from(open(address, TCP, true, Hold::Listening).unwrap()));
        gateway.set_nonblocking(false).unwrap();
        for _ in 0..8 {
            let _client = TcpStream::connect(address).unwrap();
            gateway.accept().unwrap();
        }
        // Back to listeners of our own, while that gateway is still there.
        listeners.hold(Hold::Listening).unwrap();
        assert!(listeners.of_node(0).is_some());
    }

    #[test]
    fn packets_wait_for_the_next_gateway() {
        let address = free("127.76.6.4");
        let holder = UdpSocket::bind(address).unwrap();
        let error = Listeners::bind(address, UDP, 1, Hold::Listening).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(holder);

        let listeners = Listeners::bind(address, UDP, 1, Hold::Listening).unwrap();
        let client = UdpSocket::bind("127.76.6.4:0").unwrap();
        for expected in [b"one", b"two"] {
            let (ours, theirs) = line().unwrap();
            handover::send(&ours, UDP, &[listeners.of_node(0).unwrap()]).unwrap();
            client.send_to(expected, address).unwrap();
            let [lent] = <[OwnedFd; 1]>::try_from(handover::receive(&theirs, UDP).unwrap()).unwrap();
            let lent = UdpSocket::from(lent);
            lent.set_nonblocking(false).unwrap();
            let mut packet = [0; 8];
            assert_eq!(lent.recv(&mut packet).unwrap(), 3);
            assert_eq!(&packet[..3], expected);
        }
    }
}
