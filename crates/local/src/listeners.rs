//! The gateway's listeners: made once, kept by the supervisor, lent to the gateway processes.
//!
//! All nodes' gateways share one port by `SO_REUSEPORT`, one listener each. Since the supervisor keeps them open, a
//! gateway that drains or dies closes none: what is queued waits for its successor.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::SocketAddr,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, Protocol, Socket, Type};

use crate::kernel::port;

const BACKLOG: i32 = 4096;
/// Listeners in one message.
const LENT_MAX: usize = 8;
/// How a TCP listener is announced in the message's payload.
const TCP: u8 = b't';

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("{address} is taken by {holder}")]
    Taken { address: SocketAddr, holder: String },
    #[error("cannot listen on {address}: {source}")]
    Failed { address: SocketAddr, source: io::Error },
}

/// The listeners of one address, one per node.
#[derive(Debug)]
pub(crate) struct Listeners {
    address: SocketAddr,
    per_node: Vec<Socket>,
}

impl Listeners {
    /// Takes the port for `nodes` gateways.
    pub(crate) fn bind(address: SocketAddr, nodes: u32) -> Result<Self, ListenError> {
        // First without SO_REUSEPORT: with it, a foreign listener that has it too would share the traffic silently.
        drop(listen(address, false)?);
        let mut listeners = Self { address, per_node: Vec::new() };
        listeners.grow(nodes)?;
        Ok(listeners)
    }

    /// Adds listeners for nodes that join. Those of nodes that left go: their queue is lost with them, as it is when
    /// a node dies.
    pub(crate) fn resize(&mut self, nodes: u32) -> Result<(), ListenError> {
        self.per_node.truncate(nodes as usize);
        self.grow(nodes)
    }

    fn grow(&mut self, nodes: u32) -> Result<(), ListenError> {
        while self.per_node.len() < nodes as usize {
            self.per_node.push(listen(self.address, true)?);
        }
        Ok(())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn of_node(&self, node: u32) -> Option<BorrowedFd<'_>> {
        self.per_node.get(node as usize).map(std::os::fd::AsFd::as_fd)
    }
}

fn listen(address: SocketAddr, shared: bool) -> Result<Socket, ListenError> {
    let bound = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of a platform that was here before may still be in TIME-WAIT.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    };
    bound().map_err(|source| {
        if source.kind() != io::ErrorKind::AddrInUse {
            return ListenError::Failed { address, source };
        }
        match port::holder(address) {
            Some(holder) => ListenError::Taken { address, holder },
            None => ListenError::Failed { address, source },
        }
    })
}

/// Hands listeners to the process at the other end of `socket`: one message whose payload has one byte per listener,
/// with the descriptors in the same order.
pub(crate) fn lend(socket: &UnixStream, listeners: &[BorrowedFd<'_>]) -> io::Result<()> {
    let listeners = &listeners[..listeners.len().min(LENT_MAX)];
    let payload = [TCP; LENT_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LENT_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(listeners)) {
        return Err(io::Error::other("the listeners do not fit into one message"));
    }
    sendmsg(socket, &[IoSlice::new(&payload[..listeners.len()])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The two ends of the line on which listeners are lent: ours, and the one that becomes the gateway's stdin.
pub(crate) fn line() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.as_fd().try_clone_to_owned()?))
}

#[cfg(test)]
mod tests {
    use std::{
        io::IoSliceMut,
        net::{TcpListener, TcpStream},
    };

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    fn free(ip: &str) -> SocketAddr {
        TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_holder_even_if_it_would_share() {
        let address = free("127.76.6.1");
        let holder = listen(address, true).unwrap();
        let error = Listeners::bind(address, 2).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(holder);
        Listeners::bind(address, 2).unwrap();
    }

    #[test]
    fn lent_listeners_outlive_their_borrower() {
        let address = free("127.76.6.2");
        let mut listeners = Listeners::bind(address, 1).unwrap();
        listeners.resize(2).unwrap();
        listeners.resize(1).unwrap();
        let (ours, theirs) = line().unwrap();
        lend(&ours, &[listeners.of_node(0).unwrap()]).unwrap();

        let mut payload = [0; 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LENT_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(
            theirs.as_fd(),
            &mut [IoSliceMut::new(&mut payload)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .unwrap();
        assert_eq!(&payload[..message.bytes], b"t");
        let lent: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
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
}
