//! Which bytes answer a message, found in a stream without frames.
//!
//! The text protocol sends replies without a length or an end mark, and the server may put a `reconnect` notice
//! (or a broadcast) right before or behind a reply, in the same packet or in pieces. So the bytes themselves
//! decide: the expected reply is matched byte by byte, and beside it an automaton looks for the notice. At most one
//! message of a connection is outstanding, hence at most one answer is looked for.
//!
//! Limits: bytes that are neither the reply nor a notice are a wrong answer if one was awaited, otherwise they are
//! ignored (another client's broadcast). A reply cannot be told from a broadcast of the same bytes.

use std::{fmt, str::FromStr};

/// What the server says before it closes a connection that should come back elsewhere.
pub const NOTICE: &[u8] = b"reconnect";

/// What counts as the answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// The payload comes back: as it is, or, for `msg:CONTENT`, CONTENT up to the next `:`.
    #[default]
    Echo,
    /// Whatever bytes come first.
    Any,
    /// Nothing: messages are sent by schedule and never waited for.
    None,
}

impl Expect {
    const NAMES: [(&'static str, Self); 3] = [("echo", Self::Echo), ("any", Self::Any), ("none", Self::None)];
}

impl fmt::Display for Expect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, value)| value == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("`{text}` is none of echo, any, none"))
    }
}

/// Finds answers and notices. Shared by all connections; each has a [`Progress`].
#[derive(Debug)]
pub(crate) struct Matcher {
    expect: Expect,
    /// For `echo`: the replies that are right. The first byte decides which of them a server gives.
    replies: Vec<Vec<u8>>,
}

/// How far a connection's stream has been matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes since the last boundary, all of which some candidate explains.
    matched: u32,
    /// One bit per reply that still agrees.
    alive: u8,
    /// Bytes of the notice seen so far.
    notice: u8,
}

impl Progress {
    pub(crate) const START: Self = Self { matched: 0, alive: u8::MAX, notice: 0 };

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

/// What a piece of the stream held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) answer: Option<Answer>,
    pub(crate) notice: bool,
}

impl Matcher {
    pub(crate) fn new(expect: Expect, payload: &[u8]) -> Self {
        Self { expect, replies: replies_to(payload) }
    }

    /// Whether messages are answered at all.
    pub(crate) fn expects_answers(&self) -> bool {
        self.expect != Expect::None
    }

    /// Reads the next piece of a connection's stream. `awaiting`: a message is outstanding.
    pub(crate) fn feed(&self, progress: &mut Progress, piece: &[u8], awaiting: bool) -> Seen {
        let awaiting = awaiting && self.expects_answers();
        // Nearly every piece is exactly one reply.
        if awaiting && *progress == Progress::START && self.expect == Expect::Echo && self.is_reply(piece) {
            return Seen { answer: Some(Answer::Right), notice: false };
        }
        let mut seen = Seen::default();
        for byte in piece {
            progress.notice = step_notice(progress.notice, *byte);
            if awaiting && seen.answer.is_none() {
                seen.answer = self.step(progress, *byte);
            }
            // A reply that contains the notice's bytes is a reply, so it goes first while it still agrees.
            let in_reply =
                awaiting && seen.answer.is_none() && progress.matched > 0 && self.any_alive(*progress);
            if usize::from(progress.notice) == NOTICE.len() && !in_reply {
                seen.notice = true;
                progress.notice = 0;
                progress.boundary();
            }
        }
        // Any bytes will do, and no more may come: do not wait for what might become a notice.
        if awaiting && self.expect == Expect::Any && seen.answer.is_none() && progress.matched > 0 {
            progress.boundary();
            seen.answer = Some(Answer::Right);
        }
        seen
    }

    /// Takes one byte of an awaited answer.
    fn step(&self, progress: &mut Progress, byte: u8) -> Option<Answer> {
        if progress.matched == 0 && matches!(byte, b'\r' | b'\n') && !self.reply_begins_with(byte) {
            // The line end of what came before, from a server in line mode.
            return None;
        }
        let position = progress.matched as usize;
        progress.matched += 1;
        let maybe_notice = u32::from(progress.notice) == progress.matched;
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
                progress.boundary();
                progress.notice = 0;
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

/// The replies that echo `payload`: what our protocol answers to `msg:CONTENT`, and the payload itself.
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

/// The automaton that looks for [`NOTICE`]. Its first byte occurs nowhere else in it, so a mismatch falls back to
/// one byte or none.
fn step_notice(seen: u8, byte: u8) -> u8 {
    if NOTICE.get(usize::from(seen)) == Some(&byte) { seen + 1 } else { u8::from(byte == NOTICE[0]) }
}

#[cfg(test)]
mod tests;
