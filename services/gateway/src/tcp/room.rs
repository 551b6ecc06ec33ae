//! How much data the kernel may hold for one direction, and how long it may be stuck.
//!
//! By default the kernel lets a sending socket hold 4 MiB, and a receiving one up to 32 MiB. A peer that does not read
//! would fill all of that, on both of the gateway's sockets. So a direction starts with little room and gets more once
//! its sink has proved that it accepts large amounts.
//!
//! Nothing is set before a direction's second read, or its first large one: a session of one message pays no system
//! call here, and one small read cannot fill much. Setting `SO_RCVBUF` ends the kernel's own tuning, and from then on
//! the window stays within its size at that time, however large the buffer becomes; `TCP_WINDOW_CLAMP` lifts that.
//! `SO_RCVBUF` cannot exceed `net.core.rmem_max`, so a low limit there slows bulk transfers down.
//!
//! On loopback, a peer's packets carry up to half of the connection's initial window, so 32 KiB. A smaller window is
//! not filled: the peer waits for its persist timer, 200 ms at a time. So the initial room of a source cannot be
//! smaller than this.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use mio::net::TcpStream;
use nix::libc;
use nix::sys::socket::setsockopt;
use socket2::SockRef;

/// Maximum unread data in the source: the kernel doubles it, to allow for a packet's overhead. One read takes no more.
const SMALL_SOURCE_BYTES: usize = 32 * 1024;

/// Maximum unsent data in the sink, to which the kernel may add a packet. Most messages and all idle sessions need
/// less.
const SMALL_SINK_BYTES: u32 = 16 * 1024;

/// The same for a direction that moves in bulk. With a quarter of this, each byte costs up to twice the CPU: packets
/// are smaller, and both ends sleep more often.
const SOURCE_BYTES: usize = 1024 * 1024;
const SINK_BYTES: u32 = 512 * 1024;

/// A read of this size is a large one…
const LARGE_READ: usize = 16 * 1024;

/// …and after this many, a direction moves in bulk: its sink has then taken half a MiB.
const LARGE_READS: u8 = 32;

/// The maximum window of a connection. Nix has no type for this option, but a macro to define one: its only call to
/// `setsockopt` gets a `c_int` and its length.
#[derive(Debug, Clone, Copy)]
struct WindowClamp;

nix::setsockopt_impl!(
    WindowClamp,
    libc::IPPROTO_TCP,
    libc::TCP_WINDOW_CLAMP,
    usize,
    nix::sys::socket::sockopt::SetUsize
);

/// The room of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Room {
    #[default]
    Untouched,
    ReadOnce,
    Small {
        large_reads: u8,
    },
    Large,
}

impl Room {
    /// True once the direction moves in bulk.
    pub(super) fn is_large(self) -> bool {
        self == Self::Large
    }

    /// How much the next read may take, in bytes.
    pub(super) fn read_max(self) -> usize {
        match self {
            Self::Untouched | Self::ReadOnce | Self::Small { .. } => SMALL_SOURCE_BYTES,
            Self::Large => usize::MAX,
        }
    }

    /// Notes a read of `bytes` and adjusts the room. Call it before they are written.
    pub(super) fn read(
        &mut self,
        bytes: usize,
        source: &TcpStream,
        sink: &TcpStream,
        stall_timeout: Option<Duration>,
    ) {
        let (next, set) = match *self {
            Self::Untouched if bytes < LARGE_READ => (Self::ReadOnce, Ok(())),
            Self::Untouched | Self::ReadOnce => {
                (Self::Small { large_reads: 0 }, small(source, sink, stall_timeout))
            }
            Self::Small { large_reads } if bytes < LARGE_READ => (Self::Small { large_reads }, Ok(())),
            Self::Small { large_reads: LARGE_READS } => (Self::Large, large(source, sink)),
            Self::Small { large_reads } => (Self::Small { large_reads: large_reads + 1 }, Ok(())),
            Self::Large => return,
        };
        // Fails only on a closed socket; its own event says so.
        let _: io::Result<()> = set;
        *self = next;
    }
}

fn small(source: &TcpStream, sink: &TcpStream, stall_timeout: Option<Duration>) -> io::Result<()> {
    SockRef::from(source).set_recv_buffer_size(SMALL_SOURCE_BYTES)?;
    bound_sink(sink, stall_timeout)
}

fn large(source: &TcpStream, sink: &TcpStream) -> io::Result<()> {
    SockRef::from(source).set_recv_buffer_size(SOURCE_BYTES)?;
    setsockopt(source, WindowClamp, &SOURCE_BYTES)?;
    SockRef::from(sink).set_tcp_notsent_lowat(SINK_BYTES)
}

/// Bounds the pending data in `sink` and how long it may wait. Connections inherit it from their listener.
///
/// The time runs while data is pending and the peer makes no progress: its window is closed, or it acknowledges
/// nothing. Then the kernel drops the rest and reports `ETIMEDOUT`. This also holds after a close, so no orphaned
/// socket stays behind.
pub(crate) fn bound_sink(sink: &impl AsFd, stall_timeout: Option<Duration>) -> io::Result<()> {
    let sink = SockRef::from(sink);
    sink.set_tcp_notsent_lowat(SMALL_SINK_BYTES)?;
    // Set it even to "none": a listener may have a value from another process.
    sink.set_tcp_user_timeout(stall_timeout)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream as StdStream};

    use nix::sys::socket::getsockopt;
    use nix::sys::socket::sockopt::GetUsize;

    use super::*;

    #[test]
    fn connections_inherit_their_listeners_bounds_which_can_be_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for stall_timeout in [Some(Duration::from_secs(3)), None] {
            bound_sink(&listener, stall_timeout).unwrap();
            let _client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert_eq!(accepted.tcp_user_timeout().unwrap(), stall_timeout);
            assert_eq!(accepted.tcp_notsent_lowat().unwrap(), SMALL_SINK_BYTES);
        }
    }

    nix::getsockopt_impl!(WindowClamp, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, usize, GetUsize);

    #[test]
    fn the_window_may_open_once_a_direction_moves_in_bulk() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let source = TcpStream::from_std(accepted.try_clone().unwrap());
        let sink = TcpStream::from_std(StdStream::connect(listener.local_addr().unwrap()).unwrap());
        let (mut room, mut buffer) = (Room::default(), [0; LARGE_READ]);
        while room != Room::Large {
            peer.write_all(&buffer).unwrap();
            accepted.read_exact(&mut buffer).unwrap();
            room.read(LARGE_READ, &source, &sink, None);
        }
        assert!(getsockopt(&source, WindowClamp).unwrap() >= SOURCE_BYTES);
    }
}
