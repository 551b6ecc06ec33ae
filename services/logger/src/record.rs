//! What becomes of a record: a document, nothing, or a dead letter.
//!
//! A record's value is a JSON object with at least `pod`, `text` and `timestamp` (RFC 3339). It becomes a document
//! as it is, further members included. Two things follow from the record alone, so that a record that is consumed
//! again meets its own document:
//! * the index: a prefix and the day (UTC) of the record's time stamp;
//! * the id: `TOPIC-PARTITION-OFFSET-` and the first eight hex digits of the value's SHA-256, because offsets start
//!   anew when Kafka is made anew.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// Clocks differ; a record that is further ahead would only make an index that nobody looks for.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is written to the index of its day.
    Document(Day),
    /// Older than what is wanted.
    TooOld,
    /// It cannot be a document, and why.
    Malformed(String),
}

/// A day, counted from 1970-01-01 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day(i64);

impl Day {
    fn of(timestamp: Timestamp) -> Self {
        const SECONDS: i64 = 24 * 60 * 60;
        Self(timestamp.as_second().div_euclid(SECONDS))
    }

    /// As indices are named: `2026.11.21`.
    pub(crate) fn name(self) -> String {
        let midnight = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * self.0);
        midnight.strftime("%Y.%m.%d").to_string()
    }
}

/// What every record has to have.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "pod")]
    _pod: Cow<'a, str>,
    #[serde(borrow, rename = "text")]
    _text: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
}

/// Looks at a record's value. `now`: what its age counts from.
pub(crate) fn judge(value: Option<&[u8]>, now: Timestamp, age_max: Duration) -> Verdict {
    let Some(value) = value else {
        return Verdict::Malformed("it has no value".into());
    };
    // The deserializer would take an array for an object as well.
    if value.trim_ascii_start().first() != Some(&b'{') {
        return Verdict::Malformed("not a JSON object".into());
    }
    let line: Line<'_> = match serde_json::from_slice(value) {
        Ok(line) => line,
        Err(error) => return Verdict::Malformed(format!("not a log line: {error}")),
    };
    let Ok(timestamp) = line.timestamp.parse::<Timestamp>() else {
        let found: String = line.timestamp.chars().take(64).collect();
        return Verdict::Malformed(format!("timestamp {found:?}: expected a time as in RFC 3339"));
    };
    let age = now.duration_since(timestamp);
    if age < -AHEAD_MAX {
        return Verdict::Malformed(format!("timestamp {timestamp}: more than a day ahead"));
    }
    if age.unsigned_abs() > age_max && age.is_positive() {
        return Verdict::TooOld;
    }
    Verdict::Document(Day::of(timestamp))
}

/// Appends the id of a record's document.
pub(crate) fn write_id(out: &mut String, topic: &str, partition: i32, offset: i64, value: &[u8]) {
    const DIGEST_BYTES: usize = 4;
    let digest = ring::digest::digest(&ring::digest::SHA256, value);
    // Writing to a string cannot fail.
    let _ = write!(out, "{topic}-{partition}-{offset}-");
    for byte in &digest.as_ref()[..DIGEST_BYTES] {
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEEK: Duration = Duration::from_hours(24 * 7);

    fn judged(value: &str) -> Verdict {
        judge(Some(value.as_bytes()), "2026-11-21T12:00:00Z".parse().unwrap(), WEEK)
    }

    fn line(timestamp: &str) -> String {
        format!(r#"{{"pod":"tcp-0","text":"started","timestamp":"{timestamp}"}}"#)
    }

    #[test]
    fn a_line_becomes_a_document_of_its_own_day_in_utc() {
        let Verdict::Document(day) = judged(&line("2026-11-20T23:59:59.999999999Z")) else { panic!() };
        assert_eq!(day.name(), "2026.11.20");
        let Verdict::Document(day) = judged(&line("2026-11-21T00:30:00+01:00")) else { panic!() };
        assert_eq!(day.name(), "2026.11.20");
        let more = r#" {"level":7,"text":"a\nb","pod":"ü","timestamp":"2026-11-21T01:00:00Z","more":[{}]} "#;
        assert!(matches!(judged(more), Verdict::Document(_)));
    }

    #[test]
    fn age_comes_from_the_record() {
        assert_eq!(judged(&line("2026-11-14T11:59:59Z")), Verdict::TooOld);
        assert!(matches!(judged(&line("2026-11-14T12:00:01Z")), Verdict::Document(_)));
        assert!(matches!(judged(&line("2026-11-22T11:00:00Z")), Verdict::Document(_)));
        assert!(matches!(judged(&line("2026-11-22T13:00:00Z")), Verdict::Malformed(_)));
        assert_eq!(judged(&line("-009999-01-02T01:59:59Z")), Verdict::TooOld);
    }

    #[test]
    fn what_cannot_be_a_document_says_why() {
        let reason = |value: &str| match judged(value) {
            Verdict::Malformed(reason) => reason,
            other => panic!("{value}: {other:?}"),
        };
        assert!(reason("").contains("not a JSON object"));
        assert!(reason("hello").contains("not a JSON object"));
        assert!(reason(r#"["tcp-0","text","2026-11-21T01:00:00Z"]"#).contains("not a JSON object"));
        assert!(reason(r#"{"pod":"tcp-0","text":"x"}"#).contains("missing field `timestamp`"));
        assert!(
            reason(r#"{"pod":1,"text":"x","timestamp":"2026-11-21T01:00:00Z"}"#)
                .contains("expected a string")
        );
        assert!(reason(&line("yesterday")).contains(r#"timestamp "yesterday": expected a time"#));
        assert!(reason(&format!("{}x", line("2026-11-21T01:00:00Z"))).contains("trailing characters"));
        assert_eq!(judge(None, Timestamp::UNIX_EPOCH, WEEK), Verdict::Malformed("it has no value".into()));
    }

    #[test]
    fn ids_are_those_of_the_contract() {
        let mut id = String::new();
        write_id(&mut id, "general-logs", 2, 42, b"abc");
        // The beginning of the SHA-256 of `abc`, as in FIPS 180-2.
        assert_eq!(id, "general-logs-2-42-ba7816bf");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(value in prop::collection::vec(any::<u8>(), 0..200)) {
            judge(Some(&value), Timestamp::UNIX_EPOCH, WEEK);
        }
    }
}
