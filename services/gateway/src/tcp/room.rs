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

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

/// What each of the first two reads may take: the kernel opens the window according to how much is read at once.
const FIRST_READS: usize = 64 * 1024;

/// Bytes that may wait unsent in the sink, and half of what may wait unread in the source. Most messages and all idle
/// sessions need less, and requests less than replies.
const SMALL_REPLY_BYTES: u32 = 32 * 1024;
const SMALL_REQUEST_BYTES: u32 = 8 * 1024;

/// The same for a direction that moves in bulk. With a quarter of it, each byte costs up to twice the CPU: packets are
/// smaller, and both ends sleep more often.
const SOURCE_BYTES: usize = 1024 * 1024;
const SINK_BYTES: u32 = 512 * 1024;

/// What a sink must have taken in large reads before its direction counts as moving in bulk.
const BULK_BYTES: u32 = 512 * 1024;

/// The room of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    stage: Stage,
    of_requests: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Untouched,
    ReadOnce,
    Small { large_reads: u8 },
    Large,
}

impl Room {
    /// From a client to its backend.
    pub(super) const REQUESTS: Self = Self { stage: Stage::Untouched, of_requests: true };

    /// From a backend to its client.
    pub(super) const REPLIES: Self = Self { stage: Stage::Untouched, of_requests: false };

    fn small_bytes(self) -> u32 {
        if self.of_requests { SMALL_REQUEST_BYTES } else { SMALL_REPLY_BYTES }
    }

    /// A read of half the small room is a large one.
    fn large_read(self) -> u32 {
        self.small_bytes() / 2
    }

    /// How much the next read may take.
    pub(super) fn read_max(self) -> usize {
        match self.stage {
            Stage::Untouched | Stage::ReadOnce => FIRST_READS,
            // What is read is written whole, however little room the sink has left.
            Stage::Small { .. } => self.small_bytes() as usize,
            Stage::Large => usize::MAX,
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
        let small_bytes = self.small_bytes();
        let is_large = bytes >= self.large_read() as usize;
        let is_bulk = |large_reads: u8| u32::from(large_reads) * self.large_read() >= BULK_BYTES;
        let (next, set) = match self.stage {
            Stage::Untouched => (Stage::ReadOnce, Ok(())),
            Stage::ReadOnce => {
                (Stage::Small { large_reads: 0 }, small(source, sink, small_bytes, stall_timeout))
            }
            Stage::Small { .. } if !is_large => return,
            Stage::Small { large_reads } if is_bulk(large_reads) => (Stage::Large, large(source, sink)),
            Stage::Small { large_reads } => (Stage::Small { large_reads: large_reads + 1 }, Ok(())),
            Stage::Large => return,
        };
        // Fails only on a socket that is closed; its own event says so.
        let _: io::Result<()> = set;
        self.stage = next;
    }
}

fn small(
    source: &TcpStream,
    sink: &TcpStream,
    bytes: u32,
    stall_timeout: Option<Duration>,
) -> io::Result<()> {
    // The kernel doubles it, to allow for a packet's overhead.
    SockRef::from(source).set_recv_buffer_size(bytes as usize)?;
    bound(sink, bytes, stall_timeout)
}

fn large(source: &TcpStream, sink: &TcpStream) -> io::Result<()> {
    SockRef::from(source).set_recv_buffer_size(SOURCE_BYTES)?;
    SockRef::from(sink).set_tcp_notsent_lowat(SINK_BYTES)
}

/// Bounds what waits in a client's socket and how long it may wait. Connections inherit it from their listener.
///
/// The time runs while data waits and the peer makes no progress: its window is closed, or it acknowledges nothing.
/// Then the kernel drops what is left and reports `ETIMEDOUT`. This holds after a close too, so no orphaned socket
/// stays behind.
pub(crate) fn bound_client(client: &impl AsFd, stall_timeout: Option<Duration>) -> io::Result<()> {
    bound(client, SMALL_REPLY_BYTES, stall_timeout)
}

fn bound(sink: &impl AsFd, bytes: u32, stall_timeout: Option<Duration>) -> io::Result<()> {
    let sink = SockRef::from(sink);
    sink.set_tcp_notsent_lowat(bytes)?;
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
            bound_client(&listener, stall_timeout).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert_eq!(accepted.tcp_user_timeout().unwrap(), stall_timeout);
            assert_eq!(accepted.tcp_notsent_lowat().unwrap(), SMALL_REPLY_BYTES);
        }
    }

    /// Two ends of one connection; each stands in for a socket of its own.
    fn pair() -> (mio::net::TcpStream, mio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        (mio::net::TcpStream::from_std(client), mio::net::TcpStream::from_std(accepted))
    }

    #[test]
    fn a_direction_gets_more_room_only_after_half_a_mebibyte_in_large_reads() {
        for (room, large_read) in [(Room::REQUESTS, 4 * 1024), (Room::REPLIES, 16 * 1024)] {
            let (source, sink) = pair();
            let lowat = || SockRef::from(&sink).tcp_notsent_lowat().unwrap();
            let mut direction = room;
            for _ in 0..1_000 {
                direction.read(large_read - 1, &source, &sink, None);
            }
            assert_eq!(lowat(), room.small_bytes(), "messages are not bulk, however many");

            let mut taken = 0;
            while lowat() != SINK_BYTES {
                assert!(taken <= BULK_BYTES as usize, "{taken}");
                direction.read(large_read, &source, &sink, None);
                taken += large_read;
            }
            assert!(taken >= BULK_BYTES as usize, "{taken}");
        }
    }
}
