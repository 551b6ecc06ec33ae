//! The answer to a search.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Line;

/// Documents stay unparsed until each is read, so that a bad one hides no others.
#[derive(Deserialize)]
pub(super) struct Found {
    hits: Inner,
    /// Number of documents that the embedded Elasticsearch cannot read; a real one does not report it.
    #[serde(default)]
    unreadable: u64,
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
    source: Box<RawValue>,
}

/// One document.
pub(super) struct Hit {
    pub(super) id: String,
    pub(super) timestamp: Timestamp,
    /// `None`: it is not a log line, or cannot be read.
    pub(super) line: Option<Line>,
}

/// The documents of one page.
pub(super) struct Hits {
    pub(super) readable: Vec<Hit>,
    /// IDs of documents without a time: they have no place in the order.
    pub(super) timeless: Vec<String>,
    /// Documents that the index itself cannot read.
    pub(super) damaged: u64,
    /// There is nothing beyond this page.
    pub(super) is_last: bool,
}

#[derive(Deserialize)]
struct Source {
    pod: String,
    text: String,
}

/// The time by which pages are delimited.
#[derive(Deserialize)]
struct Time {
    timestamp: Timestamp,
}

impl Found {
    /// The documents, if a page has at most `page` of them.
    pub(super) fn hits(self, page: usize) -> Hits {
        let is_last = self.hits.hits.len() < page;
        let mut hits = Hits { readable: Vec::new(), timeless: Vec::new(), damaged: self.unreadable, is_last };
        for Raw { id, source } in self.hits.hits {
            let Ok(Time { timestamp }) = serde_json::from_str(source.get()) else {
                hits.timeless.push(id);
                continue;
            };
            let line = serde_json::from_str(source.get()).ok();
            let line = line.map(|Source { pod, text }| Line { timestamp, pod, text });
            hits.readable.push(Hit { id, timestamp, line });
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_document_hides_no_other() {
        let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        let sources = [
            r#"{"pod":"tcp-0","text":"a","timestamp":"2026-11-21T10:00:00Z","more":1e999}"#,
            r#"{"pod":"tcp-0","text":"\ud800","timestamp":"2026-11-21T10:00:01Z"}"#,
            r#"{"pod":7,"text":"x","timestamp":"2026-11-21T10:00:02Z"}"#,
            &nested,
            r#"{"pod":"tcp-0","text":"e","timestamp":"2026-11-21T10:00:04Z","more":"\udead"}"#,
        ];
        let hits: Vec<String> = (0..)
            .zip(sources)
            .map(|(id, source)| format!(r#"{{"_id":"{id}","_source":{source}}}"#))
            .collect();
        let answer = format!(r#"{{"unreadable":2,"hits":{{"hits":[{}]}}}}"#, hits.join(","));
        let found = serde_json::from_str::<Found>(&answer).unwrap().hits(10);
        let lines: Vec<Option<&str>> =
            found.readable.iter().map(|hit| hit.line.as_ref().map(|line| line.text.as_str())).collect();
        assert_eq!(lines, [Some("a"), None, None, Some("e")]);
        assert_eq!((found.timeless, found.damaged), (vec!["3".to_owned()], 2));
        assert!(found.is_last);
    }
}
