//! Broadcasts: each goes to all connections, some per turn, so that commands are answered in between.
//!
//! Whoever takes it at once gets it by one write. For a client with something waiting it is queued as long as the
//! queue's bound holds, else dropped and counted: a slow reader costs the others nothing.

use std::io;

use protocol::reply;

use super::Worker;
use super::connection::Life;
use crate::inbox::Broadcast;

/// Connections served per turn.
const CONNECTIONS_PER_TURN: usize = 512;
/// Of the write queue, kept for replies and notices, which cannot be dropped.
pub(crate) const RESERVED_BYTES: usize = 4096;

/// How far a broadcast has come.
pub(super) struct Pass {
    broadcast: Broadcast,
    next_index: usize,
}

impl Worker {
    /// Serves a part of the connections, of the broadcast in hand or of the next one.
    pub(super) fn broadcast(&mut self) {
        let mut left = CONNECTIONS_PER_TURN;
        // The inbox woke this worker for the first one that waits, and does not for those behind it.
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
            // An empty server must get through its broadcasts too.
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
        // Errors that may still come for broadcasts of its own cannot be dropped either.
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
