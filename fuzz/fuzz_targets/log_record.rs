//! Records from Kafka, as any program may write them. A document's time stamp is RFC 3339 at the place where the
//! record had its own.
#![no_main]

use std::time::Duration;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The module itself: the crate does not show it.
#[path = "../../services/logger/src/record.rs"]
mod record;

const NOW: i64 = 1_795_258_800;

fuzz_target!(|value: &[u8]| {
    let now = Timestamp::from_second(NOW).expect("a time");
    let record::Verdict::Document(stamp) = record::judge(Some(value), now, Duration::from_hours(168)) else {
        return;
    };
    let mut id = String::new();
    record::write_id(&mut id, "t", 0, 0, value);
    assert!(id.starts_with("t-0-0-") && id.len() == 14 && stamp.day().name().starts_with("2026."));
    let time = format!("\"{}\"", stamp.time);
    let document = [&value[..stamp.place.start], time.as_bytes(), &value[stamp.place.end..]].concat();
    // What else is in it may be more than this parser takes.
    if let Ok(document) = serde_json::from_slice::<Value>(&document) {
        assert_eq!(document["timestamp"], stamp.time.to_string());
    }
});
