//! The state of one connection: small, because there are many and most are idle.

use std::net::SocketAddr;

use mio::event::Event;
use mio::net::TcpStream;
use protocol::Framer;

use super::outbound::Outbound;
use crate::metrics::CloseReason;
use crate::request::Handle;
use crate::roster::Place;

/// Maximum number of a connection's `brd` commands in flight; further input stays unread. A broker answers in
/// milliseconds; while it is down, each command takes its message time-out, and only a client that does nothing but
/// broadcast sends this many in that time.
pub(super) const LATE_MAX: u16 = 1024;

/// A connection's state of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Accepts no more commands; ends when its queue is written.
    Closing(CloseReason),
    /// Its sending side is closed. Further input is read and discarded until the client closes too: closing with unread
    /// input would reset the connection and could lose the last replies.
    Lingering(CloseReason),
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, a byte each")]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) client: SocketAddr,
    pub(super) generation: u32,
    /// In the roster; `None` once the connection is being closed.
    pub(super) place: Option<Place>,
    /// When the client last sent something: milliseconds of the worker's clock.
    pub(super) heard_ms: u32,
    /// Input that was read but not consumed: part of a line, or commands behind one that waits.
    pub(super) held: Vec<u8>,
    /// Output that could not be written yet.
    pub(super) outbound: Option<Box<Outbound>>,
    pub(super) life: Life,
    pub(super) framer: Framer,
    /// `brd` commands whose outcome is not known yet.
    pub(super) late: u16,
    /// A command is with a backend; those behind it wait.
    pub(super) awaits_reply: bool,
    /// `held` has input that was not examined yet.
    pub(super) held_is_fresh: bool,
    /// There may be something to read.
    pub(super) readable: bool,
    /// The poller reported that the client closed its side: read until reads say so too.
    pub(super) end_announced: bool,
    /// The client closed its side, and everything it sent was read.
    pub(super) ended: bool,
    /// The poller watches for room to write.
    pub(super) writes_watched: bool,
    pub(super) in_stalled: bool,
    pub(super) in_noisy: bool,
    pub(super) queued_again: bool,
    /// It was told to reconnect elsewhere.
    pub(super) was_shed: bool,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        client: SocketAddr,
        generation: u32,
        place: Place,
        now_ms: u32,
    ) -> Self {
        Self {
            stream,
            client,
            generation,
            place: Some(place),
            heard_ms: now_ms,
            held: Vec::new(),
            outbound: None,
            life: Life::Open,
            framer: Framer::default(),
            late: 0,
            awaits_reply: false,
            held_is_fresh: false,
            readable: false,
            end_announced: false,
            ended: false,
            writes_watched: false,
            in_stalled: false,
            in_noisy: false,
            queued_again: false,
            was_shed: false,
        }
    }

    pub(super) fn handle(&self, index: usize) -> Handle {
        Handle { index: index as u32, generation: self.generation }
    }

    pub(super) fn note_event(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.end_announced |= event.is_read_closed() || event.is_error();
    }

    /// Both directions are dead and nobody reads: nothing could reach the client any more.
    pub(super) fn is_broken(&self, event: &Event) -> bool {
        (event.is_error() || (event.is_read_closed() && event.is_write_closed())) && !self.takes_commands()
    }

    /// Whether the next command may be handled.
    #[inline]
    pub(super) fn takes_commands(&self) -> bool {
        !self.awaits_reply && self.outbound.is_none() && self.late < LATE_MAX
    }

    /// The client has closed its side and received all replies.
    pub(super) fn is_finished(&self) -> bool {
        self.ended && !self.awaits_reply && self.outbound.is_none() && self.late == 0 && !self.held_is_fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The budget of an idle connection is 1.2 KiB of resident memory in all; most of it should stay unused.
    #[test]
    fn the_state_of_a_connection_is_small() {
        assert!(size_of::<Connection>() <= 128, "{}", size_of::<Connection>());
    }
}
