//! Datagrams in batches: one system call receives or sends up to [`BATCH`] of them (`recvmmsg`, `sendmmsg`).
//!
//! [`Inbound`] owns the memory for received datagrams, [`Outbound`] the kernel's description of those to send; both are
//! created once per thread and allocate nothing afterwards. Data to send is borrowed, so a reply that is part of its
//! request is never copied. Addresses are [`Peer`]s: in the kernel's format, an address of any family is eight times as
//! large as an IPv4 address, and it is copied twice for every datagram.
//!
//! Receiving never blocks. Sending waits for room in the socket's send buffer if the socket blocks: set a write
//! time-out, so that a stalled network cannot stop the thread.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, recvmmsg, sendmmsg,
};

/// Maximum number of datagrams per system call.
pub const BATCH: usize = 64;

/// The address of a peer: of any family, or of the one that the socket is bound to.
pub trait Peer: Copy {
    /// The kernel's format.
    type Kernel: SockaddrLike + Copy;

    /// `None`: it belongs to another family.
    fn from_kernel(address: &Self::Kernel) -> Option<Self>;
    fn to_kernel(self) -> Self::Kernel;

    /// `None`: it belongs to another family.
    fn of(address: SocketAddr) -> Option<Self>;
    fn address(self) -> SocketAddr;
}

impl Peer for SocketAddr {
    type Kernel = SockaddrStorage;

    fn from_kernel(address: &SockaddrStorage) -> Option<Self> {
        let v4 = address.as_sockaddr_in().map(|v4| Self::V4((*v4).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| Self::V6((*v6).into())))
    }

    fn to_kernel(self) -> SockaddrStorage {
        self.into()
    }

    fn of(address: SocketAddr) -> Option<Self> {
        Some(address)
    }

    fn address(self) -> SocketAddr {
        self
    }
}

/// For a socket that is bound to an IPv4 address.
impl Peer for SocketAddrV4 {
    type Kernel = SockaddrIn;

    fn from_kernel(address: &SockaddrIn) -> Option<Self> {
        Some((*address).into())
    }

    fn to_kernel(self) -> SockaddrIn {
        self.into()
    }

    fn of(address: SocketAddr) -> Option<Self> {
        if let SocketAddr::V4(address) = address { Some(address) } else { None }
    }

    fn address(self) -> SocketAddr {
        self.into()
    }
}

/// For a socket that is bound to an IPv6 address; IPv4 peers have mapped addresses there.
impl Peer for SocketAddrV6 {
    type Kernel = SockaddrIn6;

    fn from_kernel(address: &SockaddrIn6) -> Option<Self> {
        Some((*address).into())
    }

    fn to_kernel(self) -> SockaddrIn6 {
        self.into()
    }

    fn of(address: SocketAddr) -> Option<Self> {
        if let SocketAddr::V6(address) = address { Some(address) } else { None }
    }

    fn address(self) -> SocketAddr {
        self.into()
    }
}

/// Room for a batch of datagrams, and the last ones received.
pub struct Inbound<P: Peer = SocketAddr> {
    headers: MultiHeaders<P::Kernel>,
    memory: Box<[u8]>,
    bytes_max: usize,
    arrived: Vec<Arrived<P>>,
}

struct Arrived<P> {
    peer: P,
    length: usize,
    truncated: bool,
}

/// One datagram of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a, P = SocketAddr> {
    pub peer: P,
    pub bytes: &'a [u8],
    /// It was longer than the kept part.
    pub truncated: bool,
}

impl<P: Peer> Inbound<P> {
    /// Keeps up to `bytes_max` bytes of each datagram.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            memory: vec![0; BATCH * bytes_max].into_boxed_slice(),
            bytes_max,
            arrived: Vec::with_capacity(BATCH),
        }
    }

    /// Replaces the last batch with the pending datagrams. Returns how many; fewer than [`BATCH`] means
    /// that the socket is empty.
    ///
    /// # Errors
    /// The kernel's error; [`io::ErrorKind::WouldBlock`] if nothing is there.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.arrived.clear();
        let mut rooms = self.memory.chunks_exact_mut(self.bytes_max);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let received =
            recvmmsg(socket.as_raw_fd(), &mut self.headers, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
        self.arrived.extend(received.filter_map(|message| {
            // The kernel names the sender of every datagram.
            let peer = P::from_kernel(&message.address?)?;
            let truncated = message.flags.contains(MsgFlags::MSG_TRUNC);
            Some(Arrived { peer, length: message.bytes, truncated })
        }));
        Ok(self.arrived.len())
    }

    /// The last batch received.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = Datagram<'_, P>> {
        let rooms = self.memory.chunks_exact(self.bytes_max);
        self.arrived.iter().zip(rooms).map(|(arrived, room)| Datagram {
            peer: arrived.peer,
            bytes: &room[..arrived.length.min(room.len())],
            truncated: arrived.truncated,
        })
    }
}

/// Room for the addresses of a batch to send.
pub struct Outbound<P: Peer = SocketAddr> {
    headers: MultiHeaders<P::Kernel>,
    peers: Box<[Option<P::Kernel>]>,
}

/// A batch under construction. Dropping it sends nothing.
pub struct Outgoing<'a, P: Peer = SocketAddr> {
    outbound: &'a mut Outbound<P>,
    slices: [[IoSlice<'a>; 1]; BATCH],
    count: usize,
}

/// The outcome of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub datagrams: u64,
    pub bytes: u64,
    /// Datagrams that the kernel did not accept: no route to their peer, or no room within the write time-out.
    pub failed: u64,
}

impl<P: Peer> Outbound<P> {
    pub fn new() -> Self {
        Self { headers: MultiHeaders::preallocate(BATCH, None), peers: vec![None; BATCH].into_boxed_slice() }
    }

    /// An empty batch.
    pub fn batch(&mut self) -> Outgoing<'_, P> {
        Outgoing { outbound: self, slices: [[IoSlice::new(&[])]; BATCH], count: 0 }
    }
}

impl<P: Peer> Default for Outbound<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, P: Peer> Outgoing<'a, P> {
    /// Adds a datagram. Returns `false` if the batch is full.
    #[must_use]
    pub fn push(&mut self, bytes: &'a [u8], peer: P) -> bool {
        let Some(slice) = self.slices.get_mut(self.count) else {
            return false;
        };
        *slice = [IoSlice::new(bytes)];
        self.outbound.peers[self.count] = Some(peer.to_kernel());
        self.count += 1;
        true
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Sends the batch; one that cannot be sent does not hold up the others.
    pub fn send(self, socket: &UdpSocket) -> Sent {
        let Self { outbound, slices, count } = self;
        let mut sent = Sent::default();
        let mut next = 0;
        while next < count {
            let peers = &outbound.peers[next..count];
            match send_some(socket, &mut outbound.headers, &slices[next..count], peers) {
                Ok((datagrams, bytes)) => {
                    sent.datagrams += datagrams as u64;
                    sent.bytes += bytes as u64;
                    next += datagrams;
                }
                Err(Errno::EINTR) => {}
                // There was no room in time, and there would be none for the rest.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => {
                    sent.failed += (count - next) as u64;
                    break;
                }
                // An error concerns the first datagram.
                Err(_) => {
                    sent.failed += 1;
                    next += 1;
                }
            }
        }
        sent
    }
}

/// One system call; returns how many datagrams, and bytes, the kernel accepted: at least one datagram.
fn send_some<A: SockaddrLike + Copy>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<A>,
    slices: &[[IoSlice<'_>; 1]],
    peers: &[Option<A>],
) -> Result<(usize, usize), Errno> {
    let taken = sendmmsg(socket.as_raw_fd(), headers, slices, peers, [], MsgFlags::MSG_NOSIGNAL)?;
    Ok(taken.fold((0, 0), |(datagrams, bytes), message| (datagrams + 1, bytes + message.bytes)))
}

#[cfg(test)]
mod tests;
