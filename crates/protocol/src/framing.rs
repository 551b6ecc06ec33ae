//! Splits a connection's input into packets or lines.
//!
//! A connection starts in *packet mode*: each read returns one packet. Its first line end switches it to *line mode*
//! permanently: every line is one command, blank lines are ignored, and bytes after the last line end wait for theirs.
//!
//! A packet or line above the limit is answered with one error and discarded completely. A line ends with its line end.
//! A packet has no visible end, so everything that arrives until the connection falls quiet belongs to it. Only then is
//! the error due ([`Framer::quiet`]): until a client has it, it cannot know that it may send something else.
//!
//! The framer is one byte of state. It never holds input: the caller keeps the rest after a [`Step::Incomplete`] and
//! passes it again together with later bytes. That is never more than the limit and two bytes.

/// The state of one connection's input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Framer(State);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Packet,
    /// In packet mode, discarding until the connection is quiet or a line ends.
    PacketExcess,
    Line,
    /// In line mode, discarding until the line ends; its error was already returned.
    LineExcess,
}

/// What the input starts with, and how many of its bytes are consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A packet or a line (without its line end), to be parsed and answered.
    Unit { bytes: &'a [u8], consumed: usize },
    /// A packet or line was above the limit: the error is due now.
    TooLong { consumed: usize },
    /// Nothing more can be done with this input; the caller keeps what follows `consumed`.
    Incomplete { consumed: usize },
}

impl Framer {
    /// The next step. `input` is the kept bytes plus those read since, minus what earlier steps consumed; `limit` is
    /// the maximum length of a packet or line in bytes.
    #[inline]
    pub fn step<'a>(&mut self, input: &'a [u8], limit: usize) -> Step<'a> {
        match self.0 {
            State::Packet if input.is_empty() => Step::Incomplete { consumed: 0 },
            State::Packet if input.contains(&b'\n') => {
                self.0 = State::Line;
                self.line(input, limit)
            }
            State::Packet if input.len() <= limit => Step::Unit { bytes: input, consumed: input.len() },
            State::Packet => {
                self.0 = State::PacketExcess;
                Step::Incomplete { consumed: input.len() }
            }
            State::PacketExcess => match line_end(input) {
                Some(at) => {
                    self.0 = State::Line;
                    Step::TooLong { consumed: at + 1 }
                }
                None => Step::Incomplete { consumed: input.len() },
            },
            State::Line => self.line(input, limit),
            State::LineExcess => match line_end(input) {
                Some(at) => {
                    self.0 = State::Line;
                    match self.line(&input[at + 1..], limit) {
                        Step::Unit { bytes, consumed } => Step::Unit { bytes, consumed: at + 1 + consumed },
                        Step::TooLong { consumed } => Step::TooLong { consumed: at + 1 + consumed },
                        Step::Incomplete { consumed } => Step::Incomplete { consumed: at + 1 + consumed },
                    }
                }
                None => Step::Incomplete { consumed: input.len() },
            },
        }
    }

    fn line<'a>(&mut self, input: &'a [u8], limit: usize) -> Step<'a> {
        let mut start = 0;
        while let Some(length) = line_end(&input[start..]) {
            let line = &input[start..start + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            start += length + 1;
            if line.len() > limit {
                return Step::TooLong { consumed: start };
            }
            if !line.trim_ascii().is_empty() {
                return Step::Unit { bytes: line, consumed: start };
            }
        }
        let rest = &input[start..];
        // A last `\r` may turn out to be part of the line end.
        if rest.strip_suffix(b"\r").unwrap_or(rest).len() > limit {
            self.0 = State::LineExcess;
            return Step::TooLong { consumed: input.len() };
        }
        Step::Incomplete { consumed: start }
    }

    /// Whether a packet above the limit is being discarded, so that the caller must watch for quiet.
    pub fn awaits_quiet(self) -> bool {
        self.0 == State::PacketExcess
    }

    /// The connection has fallen quiet (or ended). `true` if a packet above the limit ended with that: its error
    /// is due now.
    pub fn quiet(&mut self) -> bool {
        let ended = self.awaits_quiet();
        if ended {
            self.0 = State::Packet;
        }
        ended
    }

    /// Whether replies to this client end with a line end.
    #[inline]
    pub fn in_line_mode(self) -> bool {
        matches!(self.0, State::Line | State::LineExcess)
    }
}

fn line_end(input: &[u8]) -> Option<usize> {
    input.iter().position(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests;
