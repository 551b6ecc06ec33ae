//! Sockets to replicas: one per session, connected, so that replies reach their session and an ICMP "port unreachable"
//! is noticed.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use mio::net::UdpSocket;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send as send_one};
use socket2::{Domain, Protocol, Socket, Type};

use super::gso;

/// A socket connected to `address`, from `source` if one is given and of the same family.
pub(super) fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// How much of a group of packets was sent.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Packets that were sent.
    pub(super) packets: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Finished packets: sent, or too long for any socket.
    pub(super) done: usize,
    /// Why the rest was not sent.
    pub(super) error: Option<Errno>,
}

/// Sends `packets` on a connected socket, several per call if possible. `segments` says whether to try segmentation,
/// and is cleared if it is impossible.
pub(super) fn send(socket: &UdpSocket, packets: &[IoSlice<'_>], segments: &mut bool) -> Passed {
    let socket = socket.as_raw_fd();
    let mut passed = Passed::default();
    while passed.done < packets.len() && passed.error.is_none() {
        let rest = &packets[passed.done..];
        let run = if *segments { gso::run(rest.iter().map(|packet| packet.len())) } else { 1 };
        let run = &rest[..run];
        if let [packet] = run {
            passed.one(socket, packet);
            continue;
        }
        match gso::send(socket, run, run[0].len()) {
            Ok(()) => passed.sent(run),
            Err(Errno::EINTR) => {}
            Err(error) if gso::is_refused(error) => {
                *segments &= !gso::is_impossible(error);
                for packet in run {
                    if passed.error.is_none() {
                        passed.one(socket, packet);
                    }
                }
            }
            Err(error) => passed.error = Some(error),
        }
    }
    passed
}

impl Passed {
    fn sent(&mut self, packets: &[IoSlice<'_>]) {
        self.packets += packets.len() as u64;
        self.bytes += packets.iter().map(|packet| packet.len() as u64).sum::<u64>();
        self.done += packets.len();
    }

    fn one(&mut self, socket: RawFd, packet: &IoSlice<'_>) {
        loop {
            match send_one(socket, packet, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => self.sent(std::slice::from_ref(packet)),
                Err(Errno::EINTR) => continue,
                Err(Errno::EMSGSIZE) => self.done += 1,
                Err(error) => self.error = Some(error),
            }
            return;
        }
    }
}

/// True if the kernel has no room now, which says nothing about the replica.
pub(super) fn lacks_room(error: Errno) -> bool {
    matches!(error, Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM)
}

/// True if a socket could not be opened for lack of a file or port that another session holds.
pub(super) fn lacks_place(error: &io::Error) -> bool {
    // The last two: all ports of the source address are taken, as reported by `bind` and `connect`.
    let taken = [Errno::EMFILE, Errno::ENFILE, Errno::EADDRINUSE, Errno::EAGAIN];
    taken.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// True if failing to open a socket is the replica's fault, and not a shortage in this process.
pub(super) fn blames_backend(error: &io::Error) -> bool {
    let away = [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::ECONNREFUSED];
    away.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as StdUdpSocket;
    use std::time::Duration;

    use super::*;

    fn peer() -> StdUdpSocket {
        let peer = StdUdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer
    }

    #[test]
    fn packets_of_all_lengths_arrive_in_order_with_and_without_segments() {
        for mut segments in [true, false] {
            let peer = peer();
            let socket = open(peer.local_addr().unwrap(), Some("127.66.2.1".parse().unwrap())).unwrap();
            let lengths = [100_usize, 100, 100, 40, 0, 2_000, 2_000, 65_507, 65_508, 7];
            let bodies: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(index, length)| vec![index as u8; *length]).collect();
            let slices: Vec<_> = bodies.iter().map(|body| IoSlice::new(body)).collect();
            let passed = send(&socket, &slices, &mut segments);
            assert_eq!((passed.packets, passed.done, passed.error), (9, 10, None), "one is too long for any");
            let mut buffer = vec![0; 65_536];
            for body in bodies.iter().filter(|body| body.len() <= 65_507) {
                let (length, from) = peer.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..length], from.ip().to_string()), (&body[..], "127.66.2.1".into()));
            }
        }
    }

    #[test]
    fn an_unreachable_peer_is_an_error_at_the_next_packet() {
        let address = peer().local_addr().unwrap();
        let socket = open(address, None).unwrap();
        let packet = [IoSlice::new(b"x")];
        assert_eq!(send(&socket, &packet, &mut true).packets, 1);
        let refused = send(&socket, &packet, &mut true);
        assert_eq!((refused.done, refused.error), (0, Some(Errno::ECONNREFUSED)));
    }
}
