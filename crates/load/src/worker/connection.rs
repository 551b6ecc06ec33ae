//! The state of one connection, as small as possible: the socket's memory in the kernel dominates.

use std::os::fd::OwnedFd;

use super::NEVER;
use crate::{clock::MS, reply::Progress};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Not started yet, or ended for good.
    #[default]
    Absent,
    Connecting,
    /// Connected; the WebSocket upgrade is not answered yet.
    Upgrading,
    /// Open; asked which replica serves it.
    Identifying,
    Open,
    /// Between two connections.
    Away,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a connection, one byte each")]
pub(super) struct Connection {
    pub(super) socket: Option<OwnedFd>,
    pub(super) state: State,
    /// Was open at least once.
    pub(super) opened_before: bool,
    /// Its first attempt has ended, with any outcome.
    pub(super) resolved: bool,
    /// Received a `reconnect` notice.
    pub(super) noticed: bool,
    /// Its user leaves for good.
    pub(super) leaving: bool,
    /// The first byte of this connection has arrived.
    pub(super) answered: bool,
    /// A message, or an action's request, is outstanding.
    pub(super) awaiting: bool,
    /// A request is partly written; the rest follows when the socket accepts it.
    pub(super) writing: bool,
    /// Consecutive attempts to reconnect that did not lead to a lasting connection.
    pub(super) failures: u8,
    /// Index into the worker's replicas.
    pub(super) replica: u16,
    pub(super) progress: Progress,
    /// Written bytes of the current request.
    pub(super) written: u32,
    /// When message 0 of this connection was due.
    pub(super) base_ms: u32,
    /// Messages started on this connection.
    pub(super) sequence: u32,
    /// When the outstanding message was due.
    pub(super) due_ms: u32,
    /// When the outstanding request was started.
    pub(super) sent_ms: u32,
    /// The tick of its valid entry in the wheel.
    pub(super) wake_ms: u32,
    /// When the current attempt started.
    pub(super) started_ns: u64,
    /// When the previous connection ended; 0: there was none.
    pub(super) ended_ns: u64,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self { wake_ms: NEVER, ..Self::default() }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::Identifying)
    }

    /// How long it has been open.
    pub(super) fn lasted_ms(&self, now_ns: u64) -> u32 {
        ((now_ns / MS) as u32).saturating_sub(self.base_ms)
    }

    /// Whether it is being opened.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting | State::Upgrading)
    }

    /// Whether nothing is in flight in either direction.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Open && !self.awaiting && !self.writing
    }

    /// Whether a request is outstanding or not even written.
    pub(super) fn is_waiting_for_peer(&self) -> bool {
        self.is_open() && !self.is_idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_at_most_64_bytes() {
        assert!(size_of::<Connection>() <= 64, "{}", size_of::<Connection>());
    }
}
