//! Invariants for records and answers of any program. Panics if one is violated.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::record::{self, Verdict};

const NOW: i64 = 1_795_258_800;
const AGE_MAX: Duration = Duration::from_hours(168);

/// A document's timestamp is in RFC 3339 format at the position of the record's own.
pub fn record(value: &[u8]) {
    let now = Timestamp::from_second(NOW).expect("a time");
    let Verdict::Document(stamp) = record::judge(Some(value), now, AGE_MAX) else { return };
    let mut id = String::new();
    record::write_id(&mut id, "t", 0, 0, value);
    assert!(id.starts_with("t-0-0-") && id.len() == 14 && stamp.day().name().starts_with("2026."));
    let time = format!("\"{}\"", stamp.time);
    let document = [&value[..stamp.place.start], time.as_bytes(), &value[stamp.place.end..]].concat();
    // Other parts of the document may exceed this parser's limits.
    if let Ok(document) = serde_json::from_slice::<Value>(&document) {
        assert_eq!(document["timestamp"], stamp.time.to_string());
    }
}

/// The answer to a search is parsed or rejected, whatever it contains.
pub fn search_answer(answer: &[u8]) {
    crate::index::fuzz_answer(answer);
}
