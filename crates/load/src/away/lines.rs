//! Messages as lines of a container's log.
//!
//! A log is not a pipe. The runtime cuts lines after 16 KiB, standard error is mixed in, and
//! following a log again repeats lines or, after a rotation, loses them. So a message is compressed and cut
//! into short lines, each with the message's number, its own number and a checksum of the whole. The reader reassembles
//! messages, accepts none twice, and knows when one is missing.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use serde::{Serialize, de::DeserializeOwned};

/// The first word of each line.
const MARK: &str = "playctl-load";
/// Maximum bytes of data per line.
const DATA_BYTES: usize = 4096;
/// A longer message is not ours: histograms bound the reports.
const MESSAGE_MAX: u64 = 16 * 1024 * 1024;
const LINES_MAX: usize = MESSAGE_MAX as usize / DATA_BYTES;

/// Numbers the messages of one worker.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    next: u64,
}

impl Encoder {
    /// The lines of a message, each with its line end.
    pub(super) fn encode(&mut self, message: &impl Serialize) -> io::Result<String> {
        let mut compressed = DeflateEncoder::new(Vec::new(), Compression::default());
        serde_json::to_writer(&mut compressed, message)?;
        compressed.flush()?;
        let compressed = compressed.finish()?;
        let (number, sum) = (self.next, crc32fast::hash(&compressed));
        self.next += 1;
        let text = STANDARD.encode(&compressed);
        let count = text.len().div_ceil(DATA_BYTES);
        let mut lines = String::with_capacity(text.len() + count * 64);
        let mut rest = text.as_str();
        for part in 0..count {
            // The alphabet is ASCII.
            let (data, after) = rest.split_at(rest.len().min(DATA_BYTES));
            rest = after;
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{MARK} {number} {part} {count} {sum:08x} {data}");
        }
        Ok(lines)
    }
}

/// The meaning of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    Message(T),
    /// A part of a message, new or already known.
    Part,
    /// Not one of ours.
    Other,
}

/// Reassembles the messages of one worker.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The message being reassembled, or the next one.
    number: u64,
    /// Its parts so far, in order.
    data: String,
    parts: usize,
    lost: u64,
}

impl Decoder {
    /// How many messages did not arrive complete.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn take<T: DeserializeOwned>(&mut self, line: &str) -> Taken<T> {
        let Some(line) = Line::parse(line) else { return Taken::Other };
        if line.number > self.number {
            self.lost += line.number - self.number;
            self.begin(line.number);
        }
        if line.number < self.number || line.part < self.parts {
            return Taken::Part;
        }
        if line.part > self.parts {
            // The rest of it is useless; the next message counts it as lost.
            return Taken::Part;
        }
        self.data.push_str(line.data);
        self.parts += 1;
        if self.parts < line.count {
            return Taken::Part;
        }
        let message = decode(&self.data, line.sum);
        self.begin(line.number + 1);
        message.map_or_else(
            || {
                self.lost += 1;
                Taken::Part
            },
            Taken::Message,
        )
    }

    fn begin(&mut self, number: u64) {
        (self.number, self.parts) = (number, 0);
        self.data.clear();
    }
}

fn decode<T: DeserializeOwned>(text: &str, sum: u32) -> Option<T> {
    let compressed = STANDARD.decode(text).ok().filter(|compressed| crc32fast::hash(compressed) == sum)?;
    let mut json = Vec::new();
    DeflateDecoder::new(compressed.as_slice()).take(MESSAGE_MAX + 1).read_to_end(&mut json).ok()?;
    if json.len() as u64 > MESSAGE_MAX {
        return None;
    }
    serde_json::from_slice(&json).ok()
}

struct Line<'a> {
    number: u64,
    part: usize,
    count: usize,
    sum: u32,
    data: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.trim_end().split(' ');
        if words.next()? != MARK {
            return None;
        }
        let line = Self {
            number: words.next()?.parse().ok()?,
            part: words.next()?.parse().ok()?,
            count: words.next()?.parse().ok()?,
            sum: u32::from_str_radix(words.next()?, 16).ok()?,
            data: words.next()?,
        };
        let is_whole = words.next().is_none() && line.data.len() <= DATA_BYTES;
        let is_sane = line.part < line.count && line.count <= LINES_MAX && line.number < u64::MAX;
        (is_whole && is_sane).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(lines: &[String]) -> (Vec<String>, u64) {
        let mut decoder = Decoder::default();
        let taken = lines.iter().filter_map(|line| match decoder.take(line) {
            Taken::Message(message) => Some(message),
            Taken::Part | Taken::Other => None,
        });
        (taken.collect(), decoder.lost())
    }

    fn lines(all: &[String]) -> Vec<String> {
        let mut encoder = Encoder::default();
        let lines = all.iter().map(|message| encoder.encode(message).unwrap());
        lines.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Text that hardly compresses, long enough for several lines.
    fn text() -> impl Strategy<Value = String> {
        (0_usize..30_000, any::<u64>()).prop_map(|(length, seed)| {
            let mut state = seed | 1;
            let letter = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(b' ' + (state % 95) as u8)
            };
            std::iter::repeat_with(letter).take(length).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn messages_arrive_whole_and_once_even_if_a_log_is_read_again(
            all in prop::collection::vec(text(), 1..6),
            noise in prop::collection::vec((any::<prop::sample::Index>(), ".{0,40}"), 0..5),
            again in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
        ) {
            let mut log = lines(&all);
            prop_assert!(log.iter().all(|line| line.len() < 8 * 1024));
            for (at, words) in noise {
                let at = at.index(log.len());
                log.insert(at, words);
            }
            // Followed again, from any earlier line.
            let mut read = Vec::new();
            let mut at = 0;
            for (until, back) in again {
                let until = at + until.index(log.len() - at + 1).min(log.len() - at);
                read.extend_from_slice(&log[at..until]);
                at = if until == 0 { 0 } else { back.index(until) };
            }
            read.extend_from_slice(&log[at..]);
            prop_assert_eq!(messages(&read), (all, 0));
        }

        #[test]
        fn missing_or_damaged_entries_are_counted_and_the_rest_is_returned(
            all in prop::collection::vec(text(), 2..6),
            at in any::<prop::sample::Index>(),
            damage in any::<bool>(),
        ) {
            let mut log = lines(&all);
            let at = at.index(log.len() - 1);
            let number: usize = log[at].split(' ').nth(1).unwrap().parse().unwrap();
            if damage {
                let other = if log[at].ends_with('A') { "B" } else { "A" };
                let whole = log[at].len();
                log[at].replace_range(whole - 1.., other);
            } else {
                log.remove(at);
            }
            let (came, lost) = messages(&log);
            let mut expected = all.clone();
            expected.remove(number);
            // A lost message at the end of the log goes unnoticed.
            let is_last = number == all.len() - 1;
            prop_assert_eq!(came, expected);
            prop_assert!(lost == 1 || (is_last && !damage), "{} lost", lost);
        }

        #[test]
        fn any_log_text_is_handled(text in "(playctl-load )?[0-9 a-f]{0,60}") {
            let mut decoder = Decoder::default();
            prop_assert!(!matches!(decoder.take::<String>(&text), Taken::Message(_)));
        }
    }
}
