//! Orders to shed: the longest silent connections are told to reconnect, then closed, as in a drain.

use protocol::reply;

use super::Worker;
use super::connection::Life;
use super::drain::pop_due;
use crate::metrics::CloseReason;

impl Worker {
    /// Tells the `count` longest silent connections to reconnect; returns how many were told. A draining worker tells
    /// all of them anyway.
    pub(super) fn shed(&mut self, count: u64) -> u64 {
        if self.drain.has_begun() {
            return 0;
        }
        let mut staying: Vec<(u32, usize)> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.life == Life::Open && !connection.was_shed)
            .map(|(index, connection)| (self.clock.millis().wrapping_sub(connection.heard_ms), index))
            .collect();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(staying.len());
        if count < staying.len() {
            staying.select_nth_unstable_by_key(count, |&(silent_ms, index)| {
                (std::cmp::Reverse(silent_ms), index)
            });
        }
        let close_at = self.clock.now + self.shared.settings.drain_grace;
        for &(_, index) in &staying[..count] {
            let connection = &mut self.connections[index];
            connection.was_shed = true;
            self.lists.shed.push_back((close_at, connection.handle(index)));
            self.send_reply(index, reply::RECONNECT);
        }
        count as u64
    }

    /// Closes connections that were told long enough ago and are still here.
    pub(super) fn close_shed(&mut self) {
        while let Some(handle) = pop_due(&mut self.lists.shed, self.clock.now) {
            if let Some(index) = self.find(handle) {
                self.begin_close(index, CloseReason::Shed);
            }
        }
    }
}
