//! One peer: a socket, its place in the schedule, and its messages in flight.

use std::{collections::VecDeque, os::fd::OwnedFd};

use super::NEVER;

/// Maximum number of remembered messages per peer. One that sends more within the time-out forgets the earlier answered
/// ones, and waits if the oldest was not answered.
const REMEMBERED: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Peer {
    /// `None`: not opened, or not possible.
    pub(super) socket: Option<OwnedFd>,
    /// When message 0 of this peer was due, if it has its own schedule.
    pub(super) base_ms: u32,
    /// The tick of its valid entry in the wheel.
    pub(super) wake_ms: u32,
    /// Messages sent so far; also the number of the next one.
    pub(super) sequence: u32,
    /// A message was due while no more could be sent.
    pub(super) held_up: bool,
    /// One more than the latest answered message.
    answered_to: u32,
    /// Unanswered messages.
    outstanding: u32,
    /// The number of the first message in `sent`.
    oldest: u32,
    /// Messages sent within the time-out.
    sent: VecDeque<Sent>,
}

/// A sent message: when, and whether it was answered. In one word, since there may be many.
#[derive(Debug, Clone, Copy)]
struct Sent(u64);

impl Sent {
    fn at(ns: u64) -> Self {
        Self(ns << 1)
    }

    fn ns(self) -> u64 {
        self.0 >> 1
    }

    fn is_answered(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The verdict about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The first answer to a message sent at that time.
    Answer {
        sequence: u32,
        sent_ns: u64,
        reordered: bool,
    },
    Duplicate,
    /// Its message has timed out, or is forgotten.
    Overdue,
    /// No such message was sent.
    Stray,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self { wake_ms: NEVER, ..Self::default() }
    }

    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// How many more messages may be sent now.
    pub(super) fn room(&self, window: Option<u32>) -> usize {
        if self.sent.len() >= REMEMBERED && self.sent.front().is_some_and(|front| !front.is_answered()) {
            return 0;
        }
        window.unwrap_or(u32::MAX).saturating_sub(self.outstanding) as usize
    }

    /// Notes that the next message was sent. `awaited`: it will be answered.
    pub(super) fn was_sent(&mut self, now_ns: u64, awaited: bool) {
        self.sequence += 1;
        if !awaited {
            return;
        }
        if self.sent.len() >= REMEMBERED {
            self.forget_first();
        }
        if self.sent.is_empty() {
            self.oldest = self.sequence - 1;
        }
        self.sent.push_back(Sent::at(now_ns));
        self.outstanding += 1;
    }

    /// Notes that a datagram answers message `sequence`.
    pub(super) fn answered(&mut self, sequence: u32) -> Verdict {
        if sequence >= self.sequence {
            return Verdict::Stray;
        }
        let place = sequence.checked_sub(self.oldest).map(|place| place as usize);
        let Some(sent) = place.and_then(|place| self.sent.get_mut(place)) else {
            return Verdict::Overdue;
        };
        if sent.is_answered() {
            return Verdict::Duplicate;
        }
        sent.0 |= 1;
        let sent_ns = sent.ns();
        self.outstanding -= 1;
        let reordered = sequence < self.answered_to;
        self.answered_to = self.answered_to.max(sequence + 1);
        Verdict::Answer { sequence, sent_ns, reordered }
    }

    /// Notes that a datagram answers the oldest outstanding message, if there is one.
    pub(super) fn answered_oldest(&mut self) -> Verdict {
        if self.sent.is_empty() {
            return if self.sequence == 0 { Verdict::Stray } else { Verdict::Overdue };
        }
        let verdict = self.answered(self.oldest);
        self.forget_first();
        verdict
    }

    /// Gives up on messages sent before `ns`. Returns how many had no answer.
    pub(super) fn give_up_before(&mut self, ns: u64) -> u32 {
        let mut lost = 0;
        while let Some(front) = self.sent.front().filter(|front| front.ns() < ns) {
            lost += u32::from(!front.is_answered());
            self.forget_first();
        }
        self.outstanding -= lost;
        lost
    }

    fn forget_first(&mut self) {
        self.sent.pop_front();
        self.oldest += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u32) -> Peer {
        let mut peer = Peer::new();
        (0..count).for_each(|number| peer.was_sent(u64::from(number) * 10, true));
        peer
    }

    fn answer(sequence: u32, reordered: bool) -> Verdict {
        Verdict::Answer { sequence, sent_ns: u64::from(sequence) * 10, reordered }
    }

    #[test]
    fn answers_are_told_from_duplicates_and_late_ones() {
        let mut peer = sent(4);
        assert_eq!(peer.answered(1), answer(1, false));
        assert_eq!(peer.answered(1), Verdict::Duplicate);
        assert_eq!(peer.answered(3), answer(3, false));
        assert_eq!(peer.answered(2), answer(2, true));
        assert_eq!(peer.answered(4), Verdict::Stray);
        assert_eq!(peer.outstanding(), 1);
        assert_eq!(peer.give_up_before(10), 1, "message 0 had no answer");
        assert_eq!(peer.answered(0), Verdict::Overdue);
        assert_eq!(peer.give_up_before(u64::MAX), 0);
        assert_eq!(peer.outstanding(), 0);
        peer.was_sent(100, true);
        assert_eq!(peer.answered(4), Verdict::Answer { sequence: 4, sent_ns: 100, reordered: false });
    }

    #[test]
    fn without_numbers_the_oldest_is_answered() {
        let mut peer = sent(2);
        assert_eq!(peer.answered_oldest(), answer(0, false));
        assert_eq!(peer.answered_oldest(), answer(1, false));
        assert_eq!(peer.answered_oldest(), Verdict::Overdue);
        assert_eq!(Peer::new().answered_oldest(), Verdict::Stray);
    }

    #[test]
    fn a_window_bounds_what_is_outstanding() {
        let mut peer = sent(3);
        assert_eq!((peer.room(Some(3)), peer.room(Some(8))), (0, 5));
        peer.answered(0);
        assert_eq!(peer.room(Some(3)), 1);
        assert!(peer.room(None) > 60_000);
    }

    #[test]
    fn the_memory_of_past_entries_is_bounded() {
        let mut peer = Peer::new();
        for number in 0..2 * REMEMBERED as u32 {
            peer.was_sent(0, true);
            peer.answered(number);
        }
        assert_eq!(peer.sent.len(), REMEMBERED);
        assert_eq!(peer.answered(0), Verdict::Overdue);
        assert_eq!(peer.answered(2 * REMEMBERED as u32 - 1), Verdict::Duplicate);
    }

    #[test]
    fn a_peer_takes_at_most_80_bytes() {
        assert!(size_of::<Peer>() <= 80, "{}", size_of::<Peer>());
    }
}
