//! Broadcasts: each goes to all connections, some per turn, so that commands are answered in between.
//!
//! A client that keeps up gets it with one write. For a client with queued output, it joins the queue, or is dropped
//! and counted if the queue is full: a slow reader costs the others nothing.

use std::io;

use protocol::reply;

use super::Worker;
use super::connection::Life;
use crate::inbox::Broadcast;

/// Connections served per turn.
const CONNECTIONS_PER_TURN: usize = 512;
/// The part of the write queue reserved for replies and notices, which cannot be dropped.
pub(crate) const RESERVED_BYTES: usize = 4096;

/// Progress of a broadcast.
pub(super) struct Pass {
    broadcast: Broadcast,
    next_index: usize,
}

impl Worker {
    /// Sends the current broadcast, or the next one, to some of the connections.
    pub(super) fn broadcast(&mut self) {
        let mut left = CONNECTIONS_PER_TURN;
        // The inbox wakes this worker only for the first queued one.
        self.broadcasts_wait = true;
        while left > 0 {
            let next = || self.shared.inboxes[self.number].next_broadcast();
            let Some(mut pass) =
                self.pass.take().or_else(|| Some(Pass { broadcast: next()?, next_index: 0 }))
            else {
                self.broadcasts_wait = false;
                return;
            };
            let end = self.connections.capacity().min(pass.next_index + left);
            for index in pass.next_index..end {
                self.deliver(index, &pass.broadcast);
            }
            // A server without clients must consume broadcasts too.
            left -= (end - pass.next_index).clamp(1, left);
            pass.next_index = end;
            if end < self.connections.capacity() {
                self.pass = Some(pass);
            }
        }
    }

    fn deliver(&mut self, index: usize, broadcast: &Broadcast) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if connection.life != Life::Open {
            return;
        }
        let settings = &self.shared.settings;
        let bytes = broadcast.bytes(connection.framer.in_line_mode() || settings.dialect.always_ends_lines());
        let waiting = connection.outbound.as_ref().map_or(0, |outbound| outbound.copied_bytes());
        // Pending errors for the client's own broadcasts cannot be dropped either.
        let late_errors = usize::from(connection.late) * (reply::BROADCAST_UNAVAILABLE.len() + 1);
        if waiting + bytes.len() + late_errors > settings.write_queue_bytes_max - RESERVED_BYTES {
            self.tally.drops += 1;
            return;
        }
        self.tally.deliveries += 1;
        let result: io::Result<()> = connection.send(bytes, self.clock, &mut self.tally);
        self.sent(index, &result);
    }
}
