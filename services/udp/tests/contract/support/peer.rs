//! A peer for tests: blocking, with a deadline for each datagram.

use std::net::{SocketAddr, UdpSocket};

use super::DEADLINE;

pub(crate) struct Peer {
    socket: UdpSocket,
}

impl Peer {
    /// A peer connected to `server`: it receives nothing from other addresses.
    pub(crate) fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).expect("a port");
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket }
    }

    #[track_caller]
    pub(crate) fn send(&self, packet: impl AsRef<[u8]>) {
        let packet = packet.as_ref();
        assert_eq!(self.socket.send(packet).expect("sent"), packet.len());
    }

    /// `false`: the address no longer accepts packets.
    pub(crate) fn try_send(&self, packet: &[u8]) -> bool {
        self.socket.send(packet).is_ok()
    }

    #[track_caller]
    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = self.socket.recv(&mut buffer).expect("a reply");
        buffer.truncate(length);
        buffer
    }

    #[track_caller]
    pub(crate) fn ask(&self, packet: impl AsRef<[u8]>) -> String {
        self.send(packet);
        String::from_utf8_lossy(&self.receive()).into_owned()
    }

    /// The reply to `packet`, if it arrives before the reply to the next packet. For packets that are answered at once
    /// or not at all.
    #[track_caller]
    pub(crate) fn reply(&self, packet: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        const MARKER: &[u8] = b"end of what came before";
        self.send(packet);
        self.send([b"msg:", MARKER].concat());
        let first = self.receive();
        if first == MARKER {
            return None;
        }
        assert_eq!(self.receive(), MARKER, "a second reply");
        Some(first)
    }
}
