//! The kernel's list of sockets, by netlink's `sock_diag` (as `ss` uses it).
//!
//! A dump requests one state and one local port, so that the kernel returns only the server's side: of a proxied
//! connection, that is one socket of four.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use parking_lot::Mutex;

/// The kernel fills at most 32 KiB per datagram of a dump.
const BUFFER_BYTES: usize = 64 * 1024;

/// The relevant fields of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// IPv4 addresses mapped into IPv6 (dual-stack listeners) are given as IPv4.
    pub(crate) local: SocketAddr,
    /// The peer's address; unspecified if there is none.
    pub(crate) remote: IpAddr,
    pub(crate) inode: u32,
}

/// Ports with an IPv6 listener. Connections outlive their listener, so none is ever removed.
static DUAL_STACK_PORTS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Visits every established TCP socket whose local port is `port`, of both families.
///
/// The kernel walks its table of all connections for each family, which takes a millisecond even if it is empty. So
/// IPv6 is skipped for ports without an IPv6 listener since the first call.
pub(crate) fn established(port: u16, visit: &mut dyn FnMut(Found)) -> io::Result<()> {
    dump_family(IPPROTO_TCP, AF_INET, &StateFlags::ESTABLISHED, port, visit)?;
    let mut is_dual_stack = DUAL_STACK_PORTS.lock().contains(&port);
    if !is_dual_stack {
        // Listeners have their own table: this takes a hundredth of the time.
        dump_family(IPPROTO_TCP, AF_INET6, &StateFlags::LISTEN, port, &mut |_| is_dual_stack = true)?;
        if is_dual_stack {
            DUAL_STACK_PORTS.lock().insert(port);
        }
    }
    if is_dual_stack {
        dump_family(IPPROTO_TCP, AF_INET6, &StateFlags::ESTABLISHED, port, visit)?;
    }
    Ok(())
}

/// Every listening TCP socket, of both families.
pub(crate) fn listening() -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    dump(IPPROTO_TCP, &StateFlags::LISTEN, 0, &mut |found| all.push(found))?;
    Ok(all)
}

/// Every UDP socket that receives packets from anybody, of both families.
pub(crate) fn receiving() -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    // A UDP socket without a peer is in the state that TCP calls closed.
    dump(IPPROTO_UDP, &StateFlags::CLOSE, 0, &mut |found| all.push(found))?;
    Ok(all)
}

fn dump(protocol: u8, states: &StateFlags, port: u16, visit: &mut dyn FnMut(Found)) -> io::Result<()> {
    dump_family(protocol, AF_INET, states, port, visit)?;
    dump_family(protocol, AF_INET6, states, port, visit)
}

fn dump_family(
    protocol: u8,
    family: u8,
    states: &StateFlags,
    port: u16,
    visit: &mut dyn FnMut(Found),
) -> io::Result<()> {
    let any = if family == AF_INET6 { SocketId::new_v6() } else { SocketId::new_v4() };
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: states.clone(),
        socket_id: SocketId { source_port: port, ..any },
    };
    match ask(request, visit) {
        // A kernel without IPv6 has nothing to report.
        Err(error) if family == AF_INET6 && error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn ask(request: InetRequest, visit: &mut dyn FnMut(Found)) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.send(&bytes, 0)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let received = socket.recv(&mut &mut buffer[..], 0)?;
        let mut rest = &buffer[..received];
        while !rest.is_empty() {
            let message = <NetlinkMessage<SockDiagMessage>>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let id = &response.header.socket_id;
                    let local = SocketAddr::new(id.source_address.to_canonical(), id.source_port);
                    let remote = id.destination_address.to_canonical();
                    visit(Found { local, remote, inode: response.header.inode });
                }
                _ => {}
            }
            // Messages are padded to 4 bytes.
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn count(address: SocketAddr) -> usize {
        let mut count = 0;
        established(address.port(), &mut |found| count += usize::from(found.local == address)).unwrap();
        count
    }

    #[test]
    fn counts_the_server_side_of_each_address_separately() {
        let one = TcpListener::bind("127.76.1.1:0").unwrap();
        let port = one.local_addr().unwrap().port();
        let two = TcpListener::bind(("127.76.1.2", port)).unwrap();
        let (one, two) = (one.local_addr().unwrap(), (two.local_addr().unwrap(), two));
        assert_eq!((count(one), count(two.0)), (0, 0));

        let mut clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(two.0).unwrap()).collect();
        assert_eq!((count(one), count(two.0)), (0, 100));
        clients.truncate(40);
        assert_eq!(count(two.0), 40);
    }

    #[test]
    fn a_dual_stack_listener_is_counted_by_its_ipv4_address() {
        let listener = match TcpListener::bind("[::]:0") {
            Ok(listener) => listener,
            Err(error) => {
                eprintln!("SKIPPED: this machine has no IPv6: {error}");
                return;
            }
        };
        let address = SocketAddr::from(([127, 76, 2, 1], listener.local_addr().unwrap().port()));
        let _client = TcpStream::connect(address).unwrap();
        let _accepted = listener.accept().unwrap();
        assert_eq!(count(address), 1);
        // A draining server accepts no more, but still has its connections.
        drop(listener);
        assert_eq!(count(address), 1);
    }

    #[test]
    fn listeners_are_found_with_their_inode() {
        let listener = TcpListener::bind("127.76.3.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found =
            listening().unwrap().into_iter().find(|found| found.local == address).expect("it listens");
        let link =
            std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&listener)))
                .unwrap();
        assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", found.inode));
    }

    #[test]
    fn sockets_for_packets_are_found_unless_they_have_a_peer() {
        let (one, two) = (UdpSocket::bind("127.76.3.2:0").unwrap(), UdpSocket::bind("127.76.3.2:0").unwrap());
        two.connect(one.local_addr().unwrap()).unwrap();
        let all = receiving().unwrap();
        let found = |socket: &UdpSocket| all.iter().any(|found| found.local == socket.local_addr().unwrap());
        assert!(found(&one) && !found(&two));
    }
}
