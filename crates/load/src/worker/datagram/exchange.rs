//! Messages and their answers.

use nix::errno::Errno;

use super::{Datagram, Due, Worker, batch::BATCH, peer::Verdict, tag::Answer};
use crate::clock::MS;

/// Falling further behind schedule is worth a warning: the figures then measure this machine.
const FAR_BEHIND_NS: u64 = 250 * MS;
/// Consecutive batches of one peer: one that never stops must not starve the others.
const TURNS: usize = 16;

impl Worker<Datagram> {
    /// Sends a peer's due messages, or schedules the next one.
    pub(super) fn advance(&mut self, index: u32) {
        for _ in 0..TURNS {
            let now_ns = self.clock.now_ns();
            let peer = &self.transport.peers[index as usize];
            if self.is_closing() || peer.socket.is_none() {
                return;
            }
            let (room, sequence) = (peer.room(self.spec.scenario.messages.window), peer.sequence);
            let mut count = 0;
            let mut next = Due::Now;
            while count < BATCH {
                next = self.due_of(index, sequence.saturating_add(count as u32));
                let is_due = match next {
                    Due::At(ms) => u64::from(ms) * MS <= now_ns,
                    Due::Now => true,
                    Due::Never => false,
                };
                if !is_due || count == room {
                    break;
                }
                count += 1;
            }
            if count > 0 && !self.send(index, sequence, count, now_ns) {
                return;
            }
            if count == BATCH {
                continue;
            }
            match next {
                Due::At(ms) if u64::from(ms) * MS > now_ns => {
                    let peer = &mut self.transport.peers[index as usize];
                    peer.held_up = false;
                    peer.wake_ms = self.wheel.insert(index, ms);
                }
                // Answers and time-outs make room.
                Due::At(_) | Due::Now => self.transport.peers[index as usize].held_up = true,
                Due::Never => {}
            }
            return;
        }
        self.come_back_soon(index);
    }

    /// Sends the next `count` messages. Returns false if the peer cannot continue now.
    fn send(&mut self, index: u32, sequence: u32, count: usize, now_ns: u64) -> bool {
        let source = self.source(index);
        for at in 0..count {
            self.transport.form.number(self.transport.outgoing.message(at), source, sequence + at as u32);
        }
        let Some(socket) = &self.transport.peers[index as usize].socket else { return false };
        let sent = match self.transport.outgoing.send(socket, count) {
            Ok(sent) => sent,
            // An earlier datagram's error; this call sent nothing.
            Err(Errno::ECONNREFUSED) => {
                self.tally.totals.refused += 1;
                0
            }
            // The network accepts no more: due messages go in the next millisecond.
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => 0,
            Err(error) => {
                self.tally.totals.connect_errors += 1;
                self.say_error("sending to", index, error);
                0
            }
        };
        let behind = self.transport.peers[index as usize].held_up;
        for at in 0..sent {
            let late_ns = match self.due_of(index, sequence + at as u32) {
                Due::At(ms) => now_ns.saturating_sub(u64::from(ms) * MS),
                Due::Now | Due::Never => 0,
            };
            self.tally.distributions.lateness.record_ns(late_ns);
            self.tally.totals.messages_late += u64::from(behind && late_ns > MS);
            if late_ns > FAR_BEHIND_NS && !behind {
                self.warn_of_lateness(late_ns);
            }
            self.transport.peers[index as usize].was_sent(now_ns, self.transport.form.expects_answers());
        }
        self.tally.totals.messages_sent += sent as u64;
        self.tally.totals.bytes_sent += (sent * self.transport.form.template().len()) as u64;
        if sent < count {
            self.transport.peers[index as usize].held_up = true;
            self.come_back_soon(index);
        }
        sent == count
    }

    fn warn_of_lateness(&mut self, late_ns: u64) {
        if !self.said.lateness {
            self.said.lateness = true;
            self.warn(format!(
                "the load is {} ms behind its schedule: this machine cannot keep up, and overdue messages are sent at once",
                late_ns / MS
            ));
        }
    }

    fn come_back_soon(&mut self, index: u32) {
        let tick = self.now_ms() + 1;
        self.transport.peers[index as usize].wake_ms = self.wheel.insert(index, tick);
    }

    /// Peers of different runs also have different numbers: a port may receive datagrams for its previous owner.
    fn source(&self, index: u32) -> u32 {
        (self.spec.seed as u32).wrapping_add(self.spec.number(index as usize) as u32)
    }

    /// Reads a peer's datagrams.
    pub(super) fn read(&mut self, index: u32) {
        let mut drained = false;
        for _ in 0..TURNS {
            let Some(socket) = &self.transport.peers[index as usize].socket else { return };
            match self.transport.incoming.receive(socket) {
                Ok(count) => {
                    self.take_in(index, count);
                    drained = count < BATCH;
                }
                Err(Errno::EAGAIN) => drained = true,
                Err(Errno::ECONNREFUSED) => self.tally.totals.refused += 1,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    self.tally.totals.connect_errors += 1;
                    self.say_error("receiving from", index, error);
                }
            }
            if drained {
                break;
            }
        }
        if !drained {
            self.unfinished.push(index);
        }
        if self.transport.peers[index as usize].held_up {
            self.advance(index);
        }
    }

    fn take_in(&mut self, index: u32, count: usize) {
        let now_ns = self.clock.now_ns();
        let source = self.source(index);
        for at in 0..count {
            let datagram = self.transport.incoming.datagram(at);
            self.tally.totals.bytes_received += datagram.len() as u64;
            let peer = &mut self.transport.peers[index as usize];
            let (verdict, right) = match self.transport.form.read(datagram, source) {
                Answer::To { sequence, right } => (peer.answered(sequence), right),
                Answer::ToOldest { right } => (peer.answered_oldest(), right),
                Answer::Stray => (Verdict::Stray, false),
            };
            if !right && !self.said.wrong_answer && self.transport.form.expects_answers() {
                let datagram = datagram.to_vec();
                self.say_wrong_answer(&datagram);
            }
            self.count(index, verdict, right, now_ns);
        }
    }

    fn count(&mut self, index: u32, verdict: Verdict, right: bool, now_ns: u64) {
        let totals = &mut self.tally.totals;
        match verdict {
            Verdict::Answer { sequence, sent_ns, reordered } => {
                totals.messages_reordered += u64::from(reordered && self.transport.form.is_numbered());
                if !right {
                    totals.messages_wrong += 1;
                    return;
                }
                totals.messages_answered += 1;
                let due_ns = match self.due_of(index, sequence) {
                    Due::At(ms) => u64::from(ms) * MS,
                    Due::Now | Due::Never => sent_ns,
                };
                self.tally.distributions.message.record_ns(now_ns.saturating_sub(due_ns));
            }
            Verdict::Duplicate => totals.messages_duplicated += 1,
            Verdict::Overdue => totals.messages_overdue += 1,
            Verdict::Stray => totals.messages_stray += 1,
        }
    }

    /// Gives up on messages that were not answered in time.
    pub(super) fn sweep(&mut self) {
        let timeout_ns = u64::from(self.spec.message_timeout_ms()) * MS;
        let Some(before_ns) = self.clock.now_ns().checked_sub(timeout_ns) else { return };
        for index in 0..self.started {
            let peer = &mut self.transport.peers[index];
            let lost = u64::from(peer.give_up_before(before_ns));
            let held_up = peer.held_up;
            self.tally.totals.message_timeouts += lost;
            self.tally.totals.messages_unanswered += lost;
            if lost > 0 && held_up {
                self.advance(index as u32);
            }
        }
    }
}
