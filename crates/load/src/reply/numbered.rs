//! Messages with their session and sequence number.
//!
//! Both are eight hexadecimal digits, after the `msg:` of our protocol or before any other payload. The fixed number of
//! digits makes answers recognisable even in a stream without frames: [`super::Matcher`] does that.

use std::ops::Range;

use super::replies_to;

const COMMAND: &[u8] = b"msg:";
const DIGITS: usize = 8;
const TAG: usize = 2 * DIGITS;

/// A session's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) session: u32,
    pub(crate) number: u32,
}

/// The kind of a server's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// Incomplete so far.
    Partial,
    Answer(Tag),
    Wrong,
}

/// The format of messages and their answers.
#[derive(Debug)]
pub(crate) struct Numbered {
    message: Vec<u8>,
    /// The position of a message's tag.
    at: usize,
    /// Correct answers, and the positions of their tags.
    replies: Vec<(Vec<u8>, Range<usize>)>,
}

/// Progress of reading an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    tag: u64,
    matched: u32,
    /// Bytes since the last answer or notice that belong to neither.
    pub(super) rubbish: u16,
    /// One bit per reply that still matches.
    alive: u8,
}

impl Default for Reading {
    fn default() -> Self {
        Self { tag: 0, matched: 0, rubbish: 0, alive: u8::MAX }
    }
}

impl Reading {
    /// At a new start, after bytes that a notice may explain.
    pub(super) fn after(rubbish: u32) -> Self {
        Self { rubbish: u16::try_from(rubbish).unwrap_or(u16::MAX), ..Self::default() }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.matched > 0
    }

    pub(super) fn bytes(&self) -> u32 {
        self.matched
    }
}

impl Numbered {
    pub(crate) fn new(payload: &[u8]) -> Self {
        let (command, content) = match payload.strip_prefix(COMMAND) {
            Some(content) => (COMMAND, content),
            None => (&[][..], payload),
        };
        let message = [command, &[b'0'; TAG], content].concat();
        let replies = replies_to(&message)
            .into_iter()
            .map(|reply| {
                let at = if reply.starts_with(COMMAND) { COMMAND.len() } else { 0 };
                (reply, at..at + TAG)
            })
            .collect();
        Self { message, at: command.len(), replies }
    }

    pub(crate) fn message(&self, tag: Tag) -> Vec<u8> {
        let mut message = self.message.clone();
        let digits = format!("{:08x}{:08x}", tag.session, tag.number);
        message[self.at..self.at + TAG].copy_from_slice(digits.as_bytes());
        message
    }

    /// Processes a byte. Returns whether some answer still matches.
    pub(super) fn step(&self, reading: &mut Reading, byte: u8) -> bool {
        let at = reading.matched as usize;
        let digit = char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
        let mut is_digit = false;
        for (index, (reply, digits)) in self.replies.iter().enumerate() {
            if reading.alive & (1 << index) == 0 {
                continue;
            }
            let agrees = if digits.contains(&at) { digit.is_some() } else { reply.get(at) == Some(&byte) };
            if agrees {
                is_digit |= digits.contains(&at);
            } else {
                reading.alive &= !(1 << index);
            }
        }
        if let Some(digit) = digit.filter(|_| is_digit) {
            reading.tag = reading.tag << 4 | u64::from(digit);
        }
        reading.matched = reading.matched.saturating_add(1);
        self.any_alive(*reading)
    }

    fn any_alive(&self, reading: Reading) -> bool {
        reading.alive & ((1 << self.replies.len()) - 1) != 0
    }

    /// The complete answer.
    pub(super) fn whole(&self, reading: &Reading) -> Option<Tag> {
        let is_whole = self.replies.iter().enumerate().any(|(index, (reply, _))| {
            reading.alive & (1 << index) != 0 && reply.len() == reading.matched as usize
        });
        is_whole.then_some(Tag { session: (reading.tag >> 32) as u32, number: reading.tag as u32 })
    }

    /// Reads the next piece of a message with a length; `ends`: the last one.
    pub(crate) fn feed_message(&self, reading: &mut Reading, piece: &[u8], ends: bool) -> Message {
        for byte in piece {
            self.step(reading, *byte);
        }
        if !ends {
            return Message::Partial;
        }
        self.whole(&std::mem::take(reading)).map_or(Message::Wrong, Message::Answer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scenario::Expect;

    use super::*;
    use crate::reply::{Matcher, NOTICE, Progress, Seen};

    fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
    }

    fn feed(payload: &[u8], pieces: &[&[u8]]) -> (Vec<Tag>, Seen, bool) {
        let matcher = Matcher::new(Expect::Echo, payload, [].into_iter());
        let numbered = Numbered::new(payload);
        let (mut progress, mut reading) = (Progress::default(), Reading::default());
        let (mut tags, mut all, mut is_wrong) = (Vec::new(), Seen::default(), false);
        for piece in pieces {
            let (seen, wrong) =
                matcher.feed_numbered(&numbered, &mut progress, &mut reading, piece, &mut tags);
            all.notice |= seen.notice;
            is_wrong |= wrong;
        }
        (tags, all, is_wrong)
    }

    #[test]
    fn messages_carry_their_numbers_behind_the_command_or_first() {
        let tag = Tag { session: 0xdead_beef, number: 0x1f };
        assert_eq!(Numbered::new(b"msg:hi:x").message(tag), b"msg:deadbeef0000001fhi:x");
        assert_eq!(Numbered::new(b"hello").message(tag), b"deadbeef0000001fhello");
        let (tags, seen, wrong) = feed(b"msg:hi:x", &[b"deadbeef0000001fhimsg:deadbeef0000001fhi:x"]);
        assert_eq!((tags, seen.notice, wrong), (vec![tag, tag], false, false));
    }

    #[test]
    fn any_other_bytes_are_wrong() {
        for stream in [&b"error: no"[..], b"deadbeef0000001fho", b"DEADBEEF", b"reconfigure"] {
            let (tags, seen, wrong) = feed(b"msg:hi", &[stream]);
            assert!(tags.is_empty() && wrong && !seen.notice, "{stream:?}");
        }
        let numbered = Numbered::new(b"hi");
        let read = |text: &[u8]| numbered.feed_message(&mut Reading::default(), text, true);
        assert_eq!(read(b"0000000100000002hi"), Message::Answer(Tag { session: 1, number: 2 }));
        for text in [&b""[..], b"0000000100000002h", b"0000000100000002hi!", b"x000000100000002hi"] {
            assert_eq!(read(text), Message::Wrong);
        }
    }

    proptest! {
        /// However a stream is cut, all answers and the notice are found in it, and nothing else.
        #[test]
        fn numbered_answers_are_found_however_the_stream_is_cut(
            tags in prop::collection::vec(any::<(u32, u32)>(), 1..5),
            notice_at in any::<prop::sample::Index>(),
            line_mode: bool,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let tags: Vec<Tag> = tags.into_iter().map(|(session, number)| Tag { session, number }).collect();
            let numbered = Numbered::new(b"msg:12345");
            let end: &[u8] = if line_mode { b"\n" } else { b"" };
            let mut replies: Vec<Vec<u8>> =
                tags.iter().map(|tag| [&numbered.message(*tag)[4..], end].concat()).collect();
            replies.insert(notice_at.index(tags.len() + 1), [NOTICE, end].concat());
            let stream = replies.concat();
            let (found, seen, wrong) = feed(b"msg:12345", &cut(&stream, &cuts));
            prop_assert_eq!((found, seen.notice, wrong), (tags.clone(), true, false));
            let mut reading = Reading::default();
            let message = numbered.message(tags[0]);
            let pieces = cut(&message, &cuts);
            for piece in &pieces[..pieces.len() - 1] {
                prop_assert_eq!(numbered.feed_message(&mut reading, piece, false), Message::Partial);
            }
            prop_assert_eq!(numbered.feed_message(&mut reading, pieces[pieces.len() - 1], true), Message::Answer(tags[0]));
        }
    }
}
