//! Listeners handed from one process to another over a Unix socket.
//!
//! The supervisor creates the listeners, keeps them, and gives each gateway process copies through the socket pair that
//! is the gateway's standard input. A gateway that ends closes only its copies: connections in the kernel's queue wait
//! for its successor.
//!
//! The whole handover is one message: one byte per listener with its kind (`t`: TCP listener, `u`: UDP socket), and the
//! listeners in the same order as `SCM_RIGHTS`. The socket then stays open without further bytes; its end means that
//! the supervisor is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use platform::values::Protocol;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{SockRef, Type};

/// Maximum number of listeners per handover.
pub const LISTENERS_MAX: usize = 16;

const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(LISTENERS_MAX));

/// The byte for a kind.
fn name(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => b't',
        Protocol::Udp => b'u',
    }
}

/// The kind of `file`, if it can be handed over.
fn kind(file: &OwnedFd) -> Option<Protocol> {
    let socket = SockRef::from(file);
    // These calls fail on anything that is not a socket.
    match (socket.r#type().ok()?, socket.is_listener().unwrap_or(false)) {
        (Type::STREAM, true) => Some(Protocol::Tcp),
        (Type::DGRAM, _) if socket.protocol().ok()? == Some(socket2::Protocol::UDP) => Some(Protocol::Udp),
        _ => None,
    }
}

/// Hands copies of `listeners` to the process at the other end of `socket`: TCP listeners or UDP sockets.
///
/// # Errors
/// There are none or more than [`LISTENERS_MAX`], or the kernel reports an error.
pub fn send(socket: impl AsFd, protocol: Protocol, listeners: &[impl AsFd]) -> io::Result<()> {
    if listeners.is_empty() || listeners.len() > LISTENERS_MAX {
        let text = format!("{} listeners to hand over, expected 1 to {LISTENERS_MAX}", listeners.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let files: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let names = vec![name(protocol); files.len()];
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&files));
    debug_assert!(fits, "the space is made for LISTENERS_MAX files");
    sendmsg(socket, &[IoSlice::new(&names)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives the listeners that [`send`] hands over; waits for them if `socket` is blocking.
///
/// # Errors
/// The socket ended first or is not a Unix socket, or the message is not a handover of `protocol`'s listeners.
pub fn receive(socket: impl AsFd, protocol: Protocol) -> io::Result<Vec<OwnedFd>> {
    // One more than allowed, to detect a longer message.
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
    let expected = name(protocol);
    if let Some(&name) = names.iter().find(|&&name| name != expected) {
        let (name, expected) = (char::from(name), char::from(expected));
        return Err(invalid(&format!("a listener named {name:?}, expected {expected:?}")));
    }
    if files.iter().any(|file| kind(file) != Some(protocol)) {
        let expected = match protocol {
            Protocol::Tcp => "TCP listener",
            Protocol::Udp => "UDP socket",
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
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;

    use super::*;
    use Protocol::{Tcp as TCP, Udp as UDP};

    #[test]
    fn listeners_arrive_in_order_and_accept() {
        let (supervisor, gateway) = UnixStream::pair().unwrap();
        let listeners =
            [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        send(&supervisor, TCP, &listeners).unwrap();
        let received: Vec<_> = receive(&gateway, TCP).unwrap().into_iter().map(TcpListener::from).collect();
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
    fn a_handover_accepts_only_sockets_of_its_protocol() {
        let (supervisor, gateway) = UnixStream::pair().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        send(&supervisor, UDP, std::slice::from_ref(&socket)).unwrap();
        let received: Vec<_> = receive(&gateway, UDP).unwrap().into_iter().map(UdpSocket::from).collect();
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].local_addr().unwrap(), address);

        send(&supervisor, UDP, std::slice::from_ref(&socket)).unwrap();
        let error = receive(&gateway, TCP).unwrap_err().to_string();
        assert!(error.contains("a listener named 'u', expected 't'"), "{error}");
        send(&supervisor, TCP, &[socket]).unwrap();
        let error = receive(&gateway, TCP).unwrap_err().to_string();
        assert!(error.contains("no TCP listener"), "{error}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        send(&supervisor, UDP, &[listener]).unwrap();
        let error = receive(&gateway, UDP).unwrap_err().to_string();
        assert!(error.contains("no UDP socket"), "{error}");
    }

    #[test]
    fn an_invalid_handover_is_refused() {
        let (supervisor, gateway) = UnixStream::pair().unwrap();
        send(&supervisor, TCP, &[File::open("/dev/null").unwrap()]).unwrap();
        let error = receive(&gateway, TCP).unwrap_err();
        assert!(error.to_string().contains("no TCP listener"), "{error}");

        let connected = TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        send(&supervisor, TCP, &[connected.unwrap()]).unwrap();
        assert_eq!(receive(&gateway, TCP).unwrap_err().kind(), io::ErrorKind::InvalidData);

        io::Write::write_all(&mut &supervisor, b"tt").unwrap();
        let error = receive(&gateway, TCP).unwrap_err();
        assert!(error.to_string().contains("2 names for 0 files"), "{error}");

        drop(supervisor);
        assert_eq!(receive(&gateway, TCP).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_number_is_bounded() {
        let (supervisor, _gateway) = UnixStream::pair().unwrap();
        let none: [TcpListener; 0] = [];
        assert_eq!(send(&supervisor, TCP, &none).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let many: Vec<_> = (0..=LISTENERS_MAX).map(|_| listener.try_clone().unwrap()).collect();
        assert_eq!(send(&supervisor, TCP, &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
