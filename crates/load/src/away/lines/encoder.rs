//! The writer's side.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::DeflateEncoder};
use serde::Serialize;

use super::{DATA_BYTES, MARK};

/// Numbers the messages of one worker.
#[derive(Debug, Default)]
pub(in crate::away) struct Encoder {
    next: u64,
}

impl Encoder {
    /// The lines of a message, each with its line end.
    pub(in crate::away) fn encode(&mut self, message: &impl Serialize) -> io::Result<String> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Decoder, Taken},
        *,
    };

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
