//! Messages as lines of a container's log.
//!
//! A log is not a pipe. The runtime cuts lines after 16 KiB, standard error is mixed in, and
//! following a log again repeats lines or, after a rotation, loses them. So a message is compressed and cut
//! into short lines, each with the message's number, its own number and a checksum of the whole. The reader reassembles
//! messages, accepts none twice, and knows when one is missing.

#[cfg(feature = "engine")]
mod encoder;

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::DeflateDecoder;
use serde::de::DeserializeOwned;

#[cfg(feature = "engine")]
pub(super) use self::encoder::Encoder;

/// The first word of each line.
const MARK: &str = "playctl-load";
/// Maximum bytes of data per line.
const DATA_BYTES: usize = 4096;
/// A longer message is not ours: histograms bound the reports.
const MESSAGE_MAX: u64 = 16 * 1024 * 1024;
const LINES_MAX: usize = MESSAGE_MAX as usize / DATA_BYTES;

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
