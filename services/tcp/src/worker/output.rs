//! Writes to a connection: at once if possible, else queued.

use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use mio::{Interest, Token};

use super::connection::{Connection, Life};
use super::outbound::Outbound;
use super::{Clock, Worker};
use crate::metrics::{CloseReason, Tally};

/// How long a connection with a closed sending side waits for the client to close too.
const LINGER: Duration = Duration::from_secs(1);

impl Connection {
    /// Writes `bytes`; what the socket does not take is queued.
    ///
    /// # Errors
    /// The connection is broken.
    #[inline]
    pub(super) fn send(&mut self, bytes: &[u8], clock: Clock, tally: &mut Tally) -> io::Result<()> {
        if let Some(outbound) = &mut self.outbound {
            outbound.push(bytes);
            return Ok(());
        }
        let count = self.write(bytes, tally)?;
        if count < bytes.len() {
            self.queue(clock).push(&bytes[count..]);
        }
        Ok(())
    }

    /// Like [`Connection::send`] for the first `end` of `bytes`, which are not copied if they have to wait.
    pub(super) fn send_shared(
        &mut self,
        bytes: &Arc<[u8]>,
        end: usize,
        clock: Clock,
        tally: &mut Tally,
    ) -> io::Result<()> {
        if let Some(outbound) = &mut self.outbound {
            outbound.push_shared(Arc::clone(bytes), 0, end);
            return Ok(());
        }
        let count = self.write(&bytes[..end], tally)?;
        if count < end {
            self.queue(clock).push_shared(Arc::clone(bytes), count, end);
        }
        Ok(())
    }

    fn queue(&mut self, clock: Clock) -> &mut Outbound {
        self.outbound.insert(Box::new(Outbound::new(clock.millis())))
    }

    /// One write; returns how much the socket took.
    #[inline]
    fn write(&mut self, bytes: &[u8], tally: &mut Tally) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            match self.stream.write(bytes) {
                Ok(count) => {
                    tally.sent_bytes += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Worker {
    /// Sends a reply outside of a pass over the connection's input, with a line end if one is due.
    pub(super) fn send_reply(&mut self, index: usize, reply: &[u8]) -> bool {
        let connection = &mut self.connections[index];
        let replies = &mut self.buffers.replies;
        replies.clear();
        replies.extend_from_slice(reply);
        if connection.framer.in_line_mode() || self.shared.settings.dialect.always_ends_lines() {
            replies.push(b'\n');
        }
        let result = connection.send(replies, self.clock, &mut self.tally);
        self.sent(index, &result)
    }

    /// Handles the result of a send: closes a broken connection, and watches for room if not everything was written.
    /// Returns whether the connection still exists.
    pub(super) fn sent(&mut self, index: usize, result: &io::Result<()>) -> bool {
        if result.is_err() {
            self.close(index, CloseReason::Reset);
            return false;
        }
        let connection = &mut self.connections[index];
        if connection.outbound.is_none() || connection.in_stalled {
            return true;
        }
        connection.in_stalled = true;
        self.lists.stalled.push(connection.handle(index));
        if !connection.writes_watched {
            connection.writes_watched = true;
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) =
                self.poll.registry().reregister(&mut connection.stream, Token(index), interest)
            {
                tracing::warn!(%error, client = %connection.client, "cannot watch a connection for writing");
                self.close(index, CloseReason::Reset);
                return false;
            }
        }
        true
    }

    /// Writes pending output. Returns whether the connection still exists.
    pub(super) fn flush(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        let Some(outbound) = &mut connection.outbound else {
            return true;
        };
        match outbound.write_to(&mut connection.stream, self.clock.millis(), &mut self.tally.sent_bytes) {
            Ok(true) => {
                connection.outbound = None;
                self.shut_sending_side(index)
            }
            Ok(false) => true,
            Err(_) => {
                self.close(index, CloseReason::Reset);
                false
            }
        }
    }

    /// Starts the orderly end of a connection: its queue is written, then the sending side is closed.
    pub(super) fn begin_close(&mut self, index: usize, reason: CloseReason) {
        let connection = &mut self.connections[index];
        if connection.life != Life::Open {
            return;
        }
        connection.life = Life::Closing(reason);
        connection.held = Vec::new();
        connection.held_is_fresh = false;
        if let Some(place) = connection.place.take() {
            self.shared.roster.leave(place);
        }
        self.lists.lingering.push_back((self.clock.now + LINGER, connection.handle(index)));
        if self.shut_sending_side(index) {
            self.drive(index);
        }
    }

    /// Closes the sending side of a closing connection that has nothing left to write. Returns whether the connection
    /// still exists.
    fn shut_sending_side(&mut self, index: usize) -> bool {
        let connection = &mut self.connections[index];
        if let Life::Closing(reason) = connection.life
            && connection.outbound.is_none()
        {
            connection.life = Life::Lingering(reason);
            if connection.stream.shutdown(Shutdown::Write).is_err() {
                self.close(index, reason);
                return false;
            }
        }
        true
    }
}
