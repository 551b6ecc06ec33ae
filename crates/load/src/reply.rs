//! Finds the bytes that answer a message, in a stream without frames.
//!
//! The text protocol sends replies without a length or an end mark, and the server may send a `reconnect` notice (or a
//! broadcast) right before or after a reply, in the same packet or in pieces. So the bytes themselves decide: the
//! expected reply is matched byte by byte, and in parallel an automaton looks for the notice. At most one message per
//! connection is outstanding, so the matcher looks for at most one answer.
//!
//! Limits: bytes that are neither the reply nor a notice are a wrong answer if one was awaited, otherwise they are
//! ignored (another client's broadcast). A reply is indistinguishable from a broadcast of the same bytes.

mod numbered;

use scenario::{Expect, Payload};

pub(crate) use self::numbered::{Message, Numbered, Reading, Tag};
use crate::watch::{Place, Watch};

/// What the server sends before it closes a connection that should reconnect elsewhere.
pub const NOTICE: &[u8] = b"reconnect";
/// The greeting of the dialect `socketz`, before a line end: not an answer.
pub(crate) const GREETING: &[u8] = b"use 'WHY', 'WHO', 'WHERE', 'QUIT'";
/// The part after a greeting, if there is one.
pub(crate) fn behind_greeting(answer: &[u8]) -> &[u8] {
    let answer = answer.trim_ascii_start();
    answer.strip_prefix(GREETING).unwrap_or(answer).trim_ascii_start()
}

/// Sent some time after a broadcast that could not be delivered.
pub(crate) const BROADCAST_REFUSED: &[u8] = b"error: broadcast unavailable";

/// Finds answers and notices. Shared by all connections; each has a [`Progress`].
#[derive(Debug)]
pub(crate) struct Matcher {
    expect: Expect,
    /// For `echo`: the correct replies. The first byte decides which of them a server gives.
    replies: Vec<Vec<u8>>,
    /// The reply is the beginning of a message; in a stream nobody knows its end anyway.
    begins: bool,
    /// The notice, the greeting and, if the load broadcasts, the refusal and the broadcasts, in this order.
    watch: Watch,
}

/// How far a connection's stream has been matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes since the last boundary, all of which some candidate explains.
    matched: u32,
    /// One bit per reply that still matches.
    alive: u8,
    /// Which of the watched texts may have started.
    place: Place,
}

/// Between two replies.
impl Default for Progress {
    fn default() -> Self {
        Self { matched: 0, alive: u8::MAX, place: 0 }
    }
}

impl Progress {
    fn boundary(&mut self) {
        self.matched = 0;
        self.alive = u8::MAX;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Right,
    Wrong,
}

/// The contents of a piece of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) answer: Option<Answer>,
    pub(crate) notice: bool,
    /// A broadcast of this connection was refused.
    pub(crate) refused: bool,
    /// Broadcasts, by number.
    pub(crate) broadcasts: Vec<u16>,
}

impl Matcher {
    pub(crate) fn new<'a>(expect: Expect, payload: &[u8], broadcasts: impl Iterator<Item = &'a str>) -> Self {
        // As the server parses and repeats them.
        let texts: Vec<Vec<u8>> = broadcasts.map(unescaped).collect();
        let refusal = (!texts.is_empty()).then_some(BROADCAST_REFUSED);
        let watch =
            Watch::new([NOTICE, GREETING].into_iter().chain(refusal).chain(texts.iter().map(Vec::as_slice)));
        Self { expect, replies: replies_to(payload), begins: false, watch }
    }

    /// Takes any answer that begins with this one, and no echo.
    pub(crate) fn answered_by(self, answer: Option<&[u8]>) -> Self {
        match answer {
            Some(answer) => Self { replies: vec![answer.to_vec()], begins: true, ..self },
            None => self,
        }
    }

    /// Whether messages are answered at all.
    pub(crate) fn expects_answers(&self) -> bool {
        self.expect != Expect::None
    }

    /// Reads the next piece of a connection's stream. `awaiting`: a message is outstanding.
    pub(crate) fn feed(&self, progress: &mut Progress, piece: &[u8], awaiting: bool) -> Seen {
        let awaiting = awaiting && self.expects_answers();
        // Nearly every piece is exactly one reply.
        if awaiting && *progress == Progress::default() && self.expect == Expect::Echo && self.is_reply(piece)
        {
            return Seen { answer: Some(Answer::Right), ..Seen::default() };
        }
        let mut seen = Seen::default();
        for byte in piece {
            progress.place = self.watch.step(progress.place, *byte);
            if awaiting && seen.answer.is_none() {
                seen.answer = self.step(progress, *byte);
            }
            // A reply that contains such bytes is a reply, so it takes precedence while it still matches. Anything that
            // started before the message was sent cannot be its reply.
            let in_reply = awaiting
                && seen.answer.is_none()
                && self.watch.depth(progress.place) <= progress.matched
                && progress.matched > 0
                && self.any_alive(*progress);
            if let Some(number) = self.watch.found(progress.place).filter(|_| !in_reply) {
                seen.note(number);
                progress.place = 0;
                progress.boundary();
            }
        }
        // Any bytes will do, and no more may come: do not wait for a possible notice.
        if awaiting && self.expect == Expect::Any && seen.answer.is_none() && progress.matched > 0 {
            progress.boundary();
            seen.answer = Some(Answer::Right);
        }
        seen
    }

    /// Reads the next piece of a stream in which answers are numbered: their tags go to `tags`. Returns the other
    /// contents, and whether there were any other bytes.
    pub(crate) fn feed_numbered(
        &self,
        numbered: &Numbered,
        progress: &mut Progress,
        reading: &mut Reading,
        piece: &[u8],
        tags: &mut Vec<Tag>,
    ) -> (Seen, bool) {
        let (mut seen, mut is_wrong) = (Seen::default(), false);
        for byte in piece {
            progress.place = self.watch.step(progress.place, *byte);
            if !reading.has_begun() && reading.rubbish == 0 && matches!(byte, b'\r' | b'\n') {
                // The line end of earlier input, from a server in line mode.
                continue;
            }
            let agrees = numbered.step(reading, *byte);
            let rubbish = u32::from(reading.rubbish) + reading.bytes();
            let depth = self.watch.depth(progress.place);
            // After other bytes, an apparent start of an answer may be the end of a notice.
            let found = self.watch.found(progress.place).filter(|_| !agrees || reading.rubbish > 0);
            if let Some(number) = found {
                seen.note(number);
                is_wrong |= rubbish > depth;
                progress.place = 0;
                *reading = Reading::default();
            } else if agrees {
                if let Some(tag) = numbered.whole(reading) {
                    tags.push(tag);
                    progress.place = 0;
                    *reading = Reading::default();
                }
            } else {
                // Once no notice can explain all of it.
                is_wrong |= rubbish > depth;
                *reading = Reading::after(rubbish.min(depth));
            }
        }
        (seen, is_wrong)
    }

    /// Reads the next piece of a message with a length; `ends`: the last one. A whole message is an answer.
    pub(crate) fn feed_message(&self, progress: &mut Progress, piece: &[u8], ends: bool) -> Option<Answer> {
        let begin = progress.matched as usize;
        for (index, reply) in self.replies.iter().enumerate() {
            let (goes_on, is_whole) = if self.begins {
                let rest = reply.get(begin..).unwrap_or_default();
                let agrees = rest.starts_with(piece) || piece.starts_with(rest);
                (agrees, !ends || reply.len() <= begin + piece.len())
            } else {
                let agrees = reply.get(begin..).is_some_and(|rest| rest.starts_with(piece));
                (agrees, !ends || reply.len() == begin + piece.len())
            };
            if !goes_on || !is_whole {
                progress.alive &= !(1 << index);
            }
        }
        progress.matched = progress.matched.saturating_add(piece.len() as u32);
        if !ends {
            return None;
        }
        let right = self.expect == Expect::Any || self.any_alive(*progress);
        progress.boundary();
        Some(if right { Answer::Right } else { Answer::Wrong })
    }

    /// Reads a piece of the stream while something other than a message's answer is awaited: `others` receives
    /// everything except notices, broadcasts and their refusals.
    pub(crate) fn sift(&self, progress: &mut Progress, piece: &[u8], others: &mut Vec<u8>) -> Seen {
        let mut seen = Seen::default();
        for byte in piece {
            others.push(*byte);
            progress.place = self.watch.step(progress.place, *byte);
            if let Some(number) = self.watch.found(progress.place) {
                let length = self.watch.depth(progress.place) as usize;
                others.truncate(others.len().saturating_sub(length));
                seen.note(number);
                progress.place = 0;
            }
        }
        seen
    }

    /// Processes one byte of an awaited answer.
    fn step(&self, progress: &mut Progress, byte: u8) -> Option<Answer> {
        if progress.matched == 0 && matches!(byte, b'\r' | b'\n') && !self.reply_begins_with(byte) {
            // The line end of earlier input, from a server in line mode.
            return None;
        }
        let position = progress.matched as usize;
        progress.matched += 1;
        // More than was matched: the text started before the message was sent.
        let maybe_notice = self.watch.depth(progress.place) >= progress.matched;
        if self.expect == Expect::Any {
            if maybe_notice {
                return None;
            }
            progress.boundary();
            return Some(Answer::Right);
        }
        for (index, reply) in self.replies.iter().enumerate() {
            if progress.alive & (1 << index) == 0 {
                continue;
            }
            if reply.get(position) != Some(&byte) {
                progress.alive &= !(1 << index);
            } else if reply.len() == position + 1 {
                if self.watch.depth(progress.place) <= progress.matched {
                    progress.place = 0;
                }
                progress.boundary();
                return Some(Answer::Right);
            }
        }
        if self.any_alive(*progress) || maybe_notice {
            return None;
        }
        progress.boundary();
        Some(Answer::Wrong)
    }

    fn any_alive(&self, progress: Progress) -> bool {
        self.expect == Expect::Echo && progress.alive & ((1 << self.replies.len()) - 1) != 0
    }

    fn is_reply(&self, piece: &[u8]) -> bool {
        self.replies.iter().any(|reply| reply == piece)
    }

    fn reply_begins_with(&self, byte: u8) -> bool {
        self.expect == Expect::Echo && self.replies.iter().any(|reply| reply.first() == Some(&byte))
    }
}

/// The replies that echo `payload`: our protocol's answer to `msg:CONTENT`, and the payload itself.
pub(crate) fn replies_to(payload: &[u8]) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    if let Some(content) = payload.strip_prefix(b"msg:") {
        // Trailing white space of a packet is trimmed by the server, and CONTENT ends with the next `:`.
        let content = content.trim_ascii_end();
        let content = content.split(|byte| *byte == b':').next().unwrap_or_default();
        if !content.is_empty() {
            replies.push(content.to_vec());
        }
    }
    replies.push(payload.to_vec());
    replies
}

impl Seen {
    /// Notes that the watched text `number` was found.
    fn note(&mut self, number: u16) {
        match number {
            0 => self.notice = true,
            1 => {}
            2 => self.refused = true,
            number => self.broadcasts.push(number - 3),
        }
    }
}

/// A text of a scenario in the form that is sent. Texts are validated when the scenario is read.
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    text.parse::<Payload>().map_or_else(|_| text.as_bytes().to_vec(), |payload| payload.bytes().to_vec())
}

#[cfg(test)]
mod tests;
