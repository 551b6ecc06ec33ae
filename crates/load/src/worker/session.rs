//! Sessions with numbered messages, across all their connections.

use super::{Stream, Worker, ending::End};
use crate::reply::{Answer, Reading, Tag};

/// Answers to this many recent messages are distinguished.
const REMEMBERED: u32 = 64;

/// The state of a session, whichever connection it uses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Session {
    pub(super) reading: Reading,
    /// Bit `k`: message `next - 1 - k` was answered.
    answered: u64,
    /// Since when it has had no answer because its connection ended; 0: it has.
    away_since_ns: u64,
    /// The number of its next message.
    next: u32,
    /// The client's own delay since then.
    own_delay_ms: u32,
    /// The last replica that served it.
    replica: u16,
    /// The last message crossed the server's request to reconnect, and is sent again.
    repeats: bool,
}

/// The meaning of an answer for its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// To the outstanding message.
    Awaited,
    Again,
    /// To an earlier message; `overtaken`: a later one was answered first.
    Late {
        overtaken: bool,
    },
    Stray,
}

impl Session {
    /// The number of the message to send now.
    fn take_number(&mut self) -> u32 {
        if std::mem::take(&mut self.repeats) {
            return self.next.saturating_sub(1);
        }
        self.answered <<= 1;
        self.next = self.next.wrapping_add(1);
        self.next.wrapping_sub(1)
    }

    fn judge(&mut self, number: u32, awaiting: bool) -> Judged {
        let age = self.next.wrapping_sub(1).wrapping_sub(number);
        if age >= REMEMBERED.min(self.next) {
            return Judged::Stray;
        }
        let bit = 1 << age;
        if self.answered & bit != 0 {
            return Judged::Again;
        }
        let overtaken = self.answered & (bit - 1) != 0;
        self.answered |= bit;
        if age == 0 && awaiting { Judged::Awaited } else { Judged::Late { overtaken } }
    }
}

impl Worker<Stream> {
    /// The next message of a numbered session, or the rest of one; `None`: messages are not numbered.
    pub(super) fn next_numbered(&mut self, index: u32) -> Option<Vec<u8>> {
        let session = self.transport.sessions.get_mut(index as usize)?;
        session.take_number();
        self.last_numbered(index)
    }

    /// The last started message.
    pub(super) fn last_numbered(&self, index: u32) -> Option<Vec<u8>> {
        let number = self.transport.sessions.get(index as usize)?.next.wrapping_sub(1);
        let session = self.spec.number(index as usize) as u32;
        Some(self.transport.numbered.as_ref()?.message(Tag { session, number }))
    }

    /// Handles complete answers, or invalid bytes.
    pub(super) fn judge(&mut self, index: u32, tags: &[Tag], is_wrong: bool, shown: &[u8]) {
        let own = self.spec.number(index as usize) as u32;
        for tag in tags {
            let awaiting = self.transport.connections[index as usize].awaiting;
            let session = &mut self.transport.sessions[index as usize];
            let judged = if tag.session == own { session.judge(tag.number, awaiting) } else { Judged::Stray };
            let totals = &mut self.tally.totals;
            match judged {
                Judged::Awaited => {
                    self.arrived(index);
                    self.answered(index, Answer::Right, shown);
                }
                Judged::Again => totals.messages_duplicated += 1,
                Judged::Late { overtaken: true } => totals.messages_reordered += 1,
                Judged::Late { overtaken: false } => totals.messages_overdue += 1,
                Judged::Stray => totals.messages_stray += 1,
            }
        }
        if is_wrong && self.transport.connections[index as usize].awaiting {
            // It was answered, though incorrectly: a correct answer to it would be a second one.
            self.transport.sessions[index as usize].answered |= 1;
            self.answered(index, Answer::Wrong, shown);
        }
    }

    /// A session has its first answer, perhaps after a move.
    fn arrived(&mut self, index: u32) {
        let session = &mut self.transport.sessions[index as usize];
        let since_ns = std::mem::take(&mut session.away_since_ns);
        if since_ns == 0 {
            return;
        }
        let own_ns = u64::from(std::mem::take(&mut session.own_delay_ms)) * crate::clock::MS;
        let gap_ns = self.clock.now_ns().saturating_sub(since_ns);
        self.tally.distributions.gap.record_ns(gap_ns);
        self.tally.distributions.gap_without_delay.record_ns(gap_ns.saturating_sub(own_ns));
    }

    /// A session's connection ended. `outstanding`: before a message was answered.
    pub(super) fn session_left(&mut self, index: u32, end: End, outstanding: bool) {
        let (now_ns, closing) = (self.clock.now_ns(), self.is_closing());
        let asked_back = self.transport.connections[index as usize].noticed;
        let Some(session) = self.transport.sessions.get_mut(index as usize) else { return };
        session.reading = Reading::default();
        if closing {
            return;
        }
        if session.away_since_ns == 0 {
            (session.away_since_ns, session.own_delay_ms) = (now_ns, 0);
        }
        if !outstanding {
            return;
        }
        if asked_back && matches!(end, End::Eof | End::Close) {
            session.repeats = true;
            self.tally.totals.messages_resumed += 1;
        } else {
            self.tally.totals.messages_lost += 1;
        }
    }

    /// Its client waits this long before it tries to continue.
    pub(super) fn session_waits(&mut self, index: u32, delay_ms: u32) {
        if let Some(session) = self.transport.sessions.get_mut(index as usize) {
            session.own_delay_ms = session.own_delay_ms.saturating_add(delay_ms);
        }
    }

    /// A session has a connection again, perhaps with a known replica.
    pub(super) fn session_continues(&mut self, index: u32) {
        let replica = self.transport.connections[index as usize].replica;
        let Some(session) = self.transport.sessions.get_mut(index as usize) else { return };
        if session.away_since_ns > 0 {
            self.tally.totals.moves += 1;
            let are_known = replica != 0 && session.replica != 0;
            self.tally.totals.moves_elsewhere += u64::from(are_known && replica != session.replica);
        }
        session.replica = replica;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_at_most_48_bytes() {
        assert!(size_of::<Session>() <= 48, "{}", size_of::<Session>());
    }

    #[test]
    fn answers_are_told_apart() {
        let mut session = Session::default();
        assert_eq!(session.judge(0, true), Judged::Stray, "nothing was sent");
        assert_eq!((session.take_number(), session.judge(0, true)), (0, Judged::Awaited));
        assert_eq!(session.judge(0, false), Judged::Again);
        assert_eq!((session.take_number(), session.take_number()), (1, 2));
        assert_eq!(session.judge(2, true), Judged::Awaited);
        assert_eq!(session.judge(1, false), Judged::Late { overtaken: true });
        assert_eq!(session.judge(1, false), Judged::Again);
        assert_eq!(session.judge(3, false), Judged::Stray);
        assert_eq!((session.take_number(), session.take_number()), (3, 4));
        assert_eq!(session.judge(3, true), Judged::Late { overtaken: false });
        for number in 5..100 {
            assert_eq!(session.take_number(), number);
        }
        assert_eq!(
            (session.judge(36, true), session.judge(35, true)),
            (Judged::Late { overtaken: false }, Judged::Stray)
        );
    }

    #[test]
    fn messages_that_crossed_a_notice_are_resent_with_their_numbers() {
        let mut session = Session::default();
        assert_eq!(session.take_number(), 0);
        session.repeats = true;
        assert_eq!((session.take_number(), session.take_number()), (0, 1));
    }
}
