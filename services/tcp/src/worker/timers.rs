//! Deadlines, checked once per turn. A worker with only idle connections wakes only for the idle check.

use std::time::{Duration, Instant};

use protocol::reply;

use super::Worker;
use crate::metrics::CloseReason;

/// A packet above the limit has ended when nothing has arrived for this long.
const QUIET: Duration = Duration::from_millis(5);
/// Minimum interval between checks for clients that leave their output unread.
const STALL_CHECK: Duration = Duration::from_millis(250);

impl Worker {
    /// How long the poller may wait: `None` if nothing is due.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.broadcasts_wait || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = [
            self.acceptor.as_ref().and_then(|acceptor| acceptor.due(self.clock.now)),
            self.lists.lingering.front().map(|(at, _)| *at),
            self.lists.shed.front().map(|(at, _)| *at),
            self.lists
                .next_stall_check
                .or_else(|| self.first_check(!self.lists.stalled.is_empty(), self.stall_check())),
            self.lists.next_quiet_check.or_else(|| self.first_check(!self.lists.noisy.is_empty(), QUIET)),
            self.lists.next_idle_check,
            self.drain.due(),
        ];
        let next = due.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(self.clock.now))
    }

    fn first_check(&self, wanted: bool, interval: Duration) -> Option<Instant> {
        wanted.then(|| self.clock.now + interval)
    }

    fn stall_check(&self) -> Duration {
        STALL_CHECK.min(self.shared.settings.write_timeout / 4)
    }

    pub(super) fn fire_timers(&mut self) {
        self.end_lingering();
        self.close_shed();
        self.check_quiet();
        self.check_stalled();
        self.check_idle();
        self.fire_drain();
    }

    fn end_lingering(&mut self) {
        while let Some((at, handle)) = self.lists.lingering.front().copied() {
            if at > self.clock.now {
                return;
            }
            self.lists.lingering.pop_front();
            if let Some(index) = self.find(handle) {
                self.close(index, CloseReason::Client);
            }
        }
    }

    /// Sends the error for packets above the limit to connections that have fallen quiet.
    fn check_quiet(&mut self) {
        if !is_due(&mut self.lists.next_quiet_check, self.lists.noisy.is_empty(), self.clock.now, QUIET) {
            return;
        }
        for handle in std::mem::take(&mut self.lists.noisy) {
            let Some(index) = self.find(handle) else { continue };
            let connection = &mut self.connections[index];
            if connection.framer.awaits_quiet() && self.clock.age(connection.heard_ms) < QUIET {
                self.lists.noisy.push(handle);
                continue;
            }
            connection.in_noisy = false;
            if connection.framer.quiet() {
                self.tally.too_long += 1;
                self.send_reply(index, reply::PACKET_TOO_LONG);
            }
        }
    }

    /// Closes connections that leave their output unread.
    fn check_stalled(&mut self) {
        let interval = self.stall_check();
        if !is_due(&mut self.lists.next_stall_check, self.lists.stalled.is_empty(), self.clock.now, interval)
        {
            return;
        }
        for handle in std::mem::take(&mut self.lists.stalled) {
            let Some(index) = self.find(handle) else { continue };
            let connection = &mut self.connections[index];
            match &connection.outbound {
                None => connection.in_stalled = false,
                Some(outbound) if self.clock.age(outbound.moved_ms) >= self.shared.settings.write_timeout => {
                    self.close(index, CloseReason::Slow);
                }
                Some(_) => self.lists.stalled.push(handle),
            }
        }
    }

    /// Closes connections that have been silent for too long.
    fn check_idle(&mut self) {
        let now = self.clock.now;
        if self.lists.next_idle_check.is_none_or(|at| at > now) {
            return;
        }
        self.lists.next_idle_check = Some(now + self.shared.settings.idle_check);
        let silent: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                self.clock.age(connection.heard_ms) >= self.shared.settings.idle_timeout
            })
            .map(|(index, _)| index)
            .collect();
        for index in silent {
            self.close(index, CloseReason::Idle);
        }
    }
}

/// Schedules a check that repeats while a list has entries. Returns whether it is due now.
fn is_due(next: &mut Option<Instant>, list_is_empty: bool, now: Instant, interval: Duration) -> bool {
    if list_is_empty {
        *next = None;
        return false;
    }
    match *next {
        Some(at) if at > now => false,
        Some(_) => {
            *next = Some(now + interval);
            true
        }
        None => {
            *next = Some(now + interval);
            false
        }
    }
}
