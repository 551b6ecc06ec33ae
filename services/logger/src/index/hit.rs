//! What a search answers.

use jiff::Timestamp;
use serde::Deserialize;

use super::Line;

/// An answer.
#[derive(Deserialize)]
pub(super) struct Found {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
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

#[derive(Deserialize)]
struct Source {
    pod: String,
    text: String,
    timestamp: Timestamp,
}

impl Found {
    /// Its log lines. Other documents may be in an index of this name; they are none of ours.
    pub(super) fn hits(self) -> Vec<Hit> {
        let line = |raw: Raw| {
            let Source { pod, text, timestamp } = serde_json::from_value(raw.source).ok()?;
            Some(Hit { id: raw.id, line: Line { timestamp, pod, text } })
        };
        self.hits.hits.into_iter().filter_map(line).collect()
    }
}
