//! How much the kernel may keep of one direction, and how long it may be stuck.
//!
//! By default the kernel lets a sending socket hold 4 MiB, and a receiving one up to 32 MiB. A peer that does not read
//! would fill all of that, on both of the gateway's sockets. So a direction starts with little room and gets more once
//! its sink has proved that it takes large amounts.
//!
//! Nothing is set before a direction's second read: a session of one message pays no system call here, and one read
//! cannot fill much. Setting `SO_RCVBUF` also ends the kernel's own tuning: a window never grows beyond what was allowed
//! until then, whatever is set later. So the first reads are large enough to open the window of a peer that sends in bulk;
//! reads of 32 KiB there, or a size set beforehand, made bulk transfers two to four times as expensive. `SO_RCVBUF` cannot
//! exceed `net.core.rmem_max`, so a low limit there slows bulk transfers down.
//!
//! On loopback a window below 32 KiB (half of the one that a connection begins with) is not filled: the peer waits for its
//! persist timer, 200 ms at a time. So the first room cannot be smaller than this, although a client that never reads
//! then costs about 300 KiB.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

/// What each of the first two reads may take: the kernel opens the window according to how much is read at once.
const FIRST_READS: usize = 64 * 1024;

/// Bytes that may wait unsent in the sink, and half of what may wait unread in the source. Most messages and all idle
/// sessions need less.
const SMALL_BYTES: u32 = 32 * 1024;

/// The same for a direction that moves in bulk. With a quarter of it, each byte costs up to twice the CPU: packets are
/// smaller, and both ends sleep more often.
const SOURCE_BYTES: usize = 1024 * 1024;
const SINK_BYTES: u32 = 512 * 1024;

/// A read of this size is a large one…
const LARGE_READ: usize = 16 * 1024;

/// …and after this many a direction moves in bulk: its sink has then taken half a MiB.
const LARGE_READS: u8 = 32;

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
    /// How much the next read may take.
    pub(super) fn read_max(self) -> usize {
        match self {
            Self::Untouched | Self::ReadOnce => FIRST_READS,
            Self::Small { .. } | Self::Large => usize::MAX,
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
            Self::Untouched => (Self::ReadOnce, Ok(())),
            Self::ReadOnce => (Self::Small { large_reads: 0 }, small(source, sink, stall_timeout)),
            Self::Small { large_reads } if bytes < LARGE_READ => (Self::Small { large_reads }, Ok(())),
            Self::Small { large_reads: LARGE_READS } => (Self::Large, large(source, sink)),
            Self::Small { large_reads } => (Self::Small { large_reads: large_reads + 1 }, Ok(())),
            Self::Large => return,
        };
        // Fails only on a socket that is closed; its own event says so.
        let _: io::Result<()> = set;
        *self = next;
    }
}

fn small(source: &TcpStream, sink: &TcpStream, stall_timeout: Option<Duration>) -> io::Result<()> {
    // The kernel doubles it, to allow for a packet's overhead.
    SockRef::from(source).set_recv_buffer_size(SMALL_BYTES as usize)?;
    bound_sink(sink, stall_timeout)
}

fn large(source: &TcpStream, sink: &TcpStream) -> io::Result<()> {
    SockRef::from(source).set_recv_buffer_size(SOURCE_BYTES)?;
    SockRef::from(sink).set_tcp_notsent_lowat(SINK_BYTES)
}

/// Bounds what waits in `sink` and how long it may wait. Connections inherit it from their listener.
///
/// The time runs while data waits and the peer makes no progress: its window is closed, or it acknowledges nothing.
/// Then the kernel drops what is left and reports `ETIMEDOUT`. This holds after a close too, so no orphaned socket
/// stays behind.
pub(crate) fn bound_sink(sink: &impl AsFd, stall_timeout: Option<Duration>) -> io::Result<()> {
    let sink = SockRef::from(sink);
    sink.set_tcp_notsent_lowat(SMALL_BYTES)?;
    // Set it even to "none": a listener may bring a value from another process.
    sink.set_tcp_user_timeout(stall_timeout)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_inherit_their_listeners_bounds_and_a_later_one_takes_the_timeout_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for stall_timeout in [Some(Duration::from_secs(3)), None] {
            bound_sink(&listener, stall_timeout).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert_eq!(accepted.tcp_user_timeout().unwrap(), stall_timeout);
            assert_eq!(accepted.tcp_notsent_lowat().unwrap(), SMALL_BYTES);
        }
    }
}
