//! What a search answers.

use jiff::Timestamp;
use serde::Deserialize;

use super::Line;

/// An answer.
#[derive(Deserialize)]
pub(super) struct Found {
    hits: Inner,
}

#[derive(Deserialize)]
struct Inner {
    hits: Vec<Raw>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: serde_json::Value,
}

/// One document.
pub(super) struct Hit {
    pub(super) id: String,
    pub(super) line: Line,
}

/// The log lines of one page.
pub(super) struct Hits {
    pub(super) lines: Vec<Hit>,
    /// There is nothing beyond this page.
    pub(super) is_last: bool,
}

#[derive(Deserialize)]
struct Source {
    pod: String,
    text: String,
    timestamp: Timestamp,
}

impl Found {
    /// Its log lines, if pages have at most so many documents. Others may be in an index of this name; they are none
    /// of ours.
    pub(super) fn hits(self, page: usize) -> Hits {
        let line = |raw: Raw| {
            let Source { pod, text, timestamp } = serde_json::from_value(raw.source).ok()?;
            Some(Hit { id: raw.id, line: Line { timestamp, pod, text } })
        };
        let is_last = self.hits.hits.len() < page;
        Hits { lines: self.hits.hits.into_iter().filter_map(line).collect(), is_last }
    }
}
