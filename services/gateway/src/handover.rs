//! Listeners handed from one process to another over a Unix socket.
//!
//! The supervisor makes the listeners, keeps them, and gives each gateway process copies through the socket pair
//! that is the gateway's standard input. A gateway that ends closes only its copies: what waits in the kernel's
//! queue waits for its successor.
//!
//! The whole handover is one message: one byte for each listener that says what it is (`t`: TCP listener, `u`: UDP
//! socket), and the listeners in the same order as `SCM_RIGHTS`. The socket then stays open without further bytes; its end means that the
//! supervisor is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{Protocol, SockRef, Type};

/// The most listeners of one handover.
pub const LISTENERS_MAX: usize = 16;

/// What a handover consists of; all of it is of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
}

impl Kind {
    /// The byte that announces one.
    fn name(self) -> u8 {
        match self {
            Self::Tcp => b't',
            Self::Udp => b'u',
        }
    }

    fn of(file: &OwnedFd) -> Option<Self> {
        let socket = SockRef::from(file);
        // These fail on what is no socket at all.
        match (socket.r#type().ok()?, socket.is_listener().unwrap_or(false)) {
            (Type::STREAM, true) => Some(Self::Tcp),
            (Type::DGRAM, _) if socket.protocol().ok()? == Some(Protocol::UDP) => Some(Self::Udp),
            _ => None,
        }
    }
}

const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(LISTENERS_MAX));

/// Hands copies of TCP `listeners` to the process at the other end of `socket`.
///
/// # Errors
/// If there are none or more than [`LISTENERS_MAX`], or what the kernel says.
pub fn send(socket: impl AsFd, listeners: &[impl AsFd]) -> io::Result<()> {
    send_all(socket, listeners, Kind::Tcp)
}

/// Hands copies of UDP `sockets` to the process at the other end of `socket`.
///
/// # Errors
/// As [`send`].
pub fn send_udp(socket: impl AsFd, sockets: &[UdpSocket]) -> io::Result<()> {
    send_all(socket, sockets, Kind::Udp)
}

fn send_all(socket: impl AsFd, listeners: &[impl AsFd], kind: Kind) -> io::Result<()> {
    if listeners.is_empty() || listeners.len() > LISTENERS_MAX {
        let text = format!("{} listeners to hand over, expected 1 to {LISTENERS_MAX}", listeners.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let files: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let names = vec![kind.name(); files.len()];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&files));
    debug_assert!(fits, "the space is made for LISTENERS_MAX files");
    sendmsg(socket, &[IoSlice::new(&names)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes the listeners that [`send`] hands over; waits for them if `socket` is blocking.
///
/// # Errors
/// If the socket ends first or is no Unix socket, or if the message is not a handover of TCP listeners.
pub fn receive(socket: impl AsFd) -> io::Result<Vec<TcpListener>> {
    Ok(receive_all(socket, Kind::Tcp)?.into_iter().map(TcpListener::from).collect())
}

/// Takes the sockets that [`send_udp`] hands over; waits for them if `socket` is blocking.
///
/// # Errors
/// If the socket ends first or is no Unix socket, or if the message is not a handover of UDP sockets.
pub fn receive_udp(socket: impl AsFd) -> io::Result<Vec<UdpSocket>> {
    Ok(receive_all(socket, Kind::Udp)?.into_iter().map(UdpSocket::from).collect())
}

fn receive_all(socket: impl AsFd, kind: Kind) -> io::Result<Vec<OwnedFd>> {
    // One more than allowed, so that a longer message is seen to be one.
    let mut names = [0; LISTENERS_MAX + 1];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message =
        recvmsg(socket, &mut [IoSliceMut::new(&mut names)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let names = &names[..message.bytes];
    if names.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the socket ended before the listeners came",
        ));
    }
    if message.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) || names.len() > LISTENERS_MAX {
        return Err(invalid(&format!("more than {LISTENERS_MAX} listeners")));
    }
    let files: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    if files.len() != names.len() {
        return Err(invalid(&format!("{} names for {} files", names.len(), files.len())));
    }
    if let Some(&name) = names.iter().find(|&&name| name != kind.name()) {
        let (name, expected) = (char::from(name), char::from(kind.name()));
        return Err(invalid(&format!("a listener named {name:?}, expected {expected:?}")));
    }
    if files.iter().any(|file| Kind::of(file) != Some(kind)) {
        let expected = match kind {
            Kind::Tcp => "TCP listener",
            Kind::Udp => "UDP socket",
        };
        return Err(invalid(&format!("a file that is no {expected}")));
    }
    Ok(files)
}

fn invalid(found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("handover of listeners: got {found}"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn listeners_arrive_in_order_and_accept() {
        let (supervisor, gateway) = UnixStream::pair().unwrap();
        let listeners =
            [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        send(&supervisor, &listeners).unwrap();
        let received = receive(&gateway).unwrap();
        for (sent, received) in listeners.iter().zip(&received) {
            let address = received.local_addr().unwrap();
            assert_eq!(sent.local_addr().unwrap(), address);
            let client = TcpStream::connect(address).unwrap();
            let (_, peer) = received.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
        assert_eq!(received.len(), 2);
    }

    #[test]
    fn udp_sockets_arrive_as_such_and_nothing_else_does() {
        let (supervisor, gateway) = UnixStream::pair().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        send_udp(&supervisor, std::slice::from_ref(&socket)).unwrap();
        let received = receive_udp(&gateway).unwrap();
        assert_eq!(received[0].local_addr().unwrap(), address);
        assert_eq!(received.len(), 1);

        send_udp(&supervisor, std::slice::from_ref(&socket)).unwrap();
        let error = receive(&gateway).unwrap_err().to_string();
        assert!(error.contains("a listener named 'u', expected 't'"), "{error}");
        send(&supervisor, &[socket]).unwrap();
        let error = receive(&gateway).unwrap_err().to_string();
        assert!(error.contains("no TCP listener"), "{error}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        send_all(&supervisor, &[listener], Kind::Udp).unwrap();
        let error = receive_udp(&gateway).unwrap_err().to_string();
        assert!(error.contains("no UDP socket"), "{error}");
    }

    #[test]
    fn what_is_no_handover_is_refused() {
        let (supervisor, gateway) = UnixStream::pair().unwrap();
        send(&supervisor, &[File::open("/dev/null").unwrap()]).unwrap();
        let error = receive(&gateway).unwrap_err();
        assert!(error.to_string().contains("no TCP listener"), "{error}");

        let connected = TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        send(&supervisor, &[connected.unwrap()]).unwrap();
        assert_eq!(receive(&gateway).unwrap_err().kind(), io::ErrorKind::InvalidData);

        io::Write::write_all(&mut &supervisor, b"tt").unwrap();
        let error = receive(&gateway).unwrap_err();
        assert!(error.to_string().contains("2 names for 0 files"), "{error}");

        drop(supervisor);
        assert_eq!(receive(&gateway).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_number_is_bounded() {
        let (supervisor, _gateway) = UnixStream::pair().unwrap();
        let none: [TcpListener; 0] = [];
        assert_eq!(send(&supervisor, &none).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let many: Vec<_> = (0..=LISTENERS_MAX).map(|_| listener.try_clone().unwrap()).collect();
        assert_eq!(send(&supervisor, &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
