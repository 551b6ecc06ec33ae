//! Judges a record: it becomes a document or a dead letter, or is skipped.
//!
//! A record's value is a JSON object with at least `pod`, `text` and `timestamp`: Unix seconds, as an integer or with a
//! fraction, or RFC 3339. It becomes a document unchanged, including any further members, except that `timestamp` is
//! RFC 3339 in every document. Two things follow from the record alone, so that a record consumed again finds its own
//! document:
//! * the index: a prefix and the day (UTC) of the record's timestamp;
//! * the ID: `TOPIC-PARTITION-OFFSET-` and the first eight hex digits of the value's SHA-256, because offsets restart
//!   when Kafka is recreated.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Clocks differ; a record further ahead would only create an index that nobody looks for.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The verdict about a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is written to the index of its day.
    Document(Stamp),
    /// Older than the configured limit.
    TooOld,
    /// It cannot be a document, and why.
    Malformed(String),
}

/// A record's time, and its position in the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) time: Timestamp,
    pub(crate) place: Range<usize>,
}

impl Stamp {
    pub(crate) fn day(&self) -> Day {
        Day::of(self.time)
    }
}

/// A day, counted from 1970-01-01 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day(i64);

impl Day {
    fn of(timestamp: Timestamp) -> Self {
        const SECONDS: i64 = 24 * 60 * 60;
        Self(timestamp.as_second().div_euclid(SECONDS))
    }

    /// The format of index names: `2026.11.21`.
    pub(crate) fn name(self) -> String {
        let midnight = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * self.0);
        midnight.strftime("%Y.%m.%d").to_string()
    }
}

/// The required members of every record.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "pod")]
    _pod: Cow<'a, str>,
    #[serde(borrow, rename = "text")]
    _text: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: &'a RawValue,
    /// Our own services write it in addition to whole seconds.
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
}

/// Judges a record's value. Its age counts from `now`.
pub(crate) fn judge(value: Option<&[u8]>, now: Timestamp, age_max: Duration) -> Verdict {
    let Some(value) = value else {
        return Verdict::Malformed("it has no value".into());
    };
    // The deserializer would also accept an array as an object.
    if value.trim_ascii_start().first() != Some(&b'{') {
        return Verdict::Malformed("not a JSON object".into());
    }
    let line: Line<'_> = match serde_json::from_slice(value) {
        Ok(line) => line,
        Err(error) => return Verdict::Malformed(format!("not a log line: {error}")),
    };
    let text = line.timestamp.get();
    let Some(written) = time_of(text) else {
        let found: String = text.chars().take(64).collect();
        return Verdict::Malformed(format!(
            "timestamp {found}: expected Unix seconds or a time as in RFC 3339"
        ));
    };
    let age = now.duration_since(written);
    if age < -AHEAD_MAX {
        return Verdict::Malformed(format!(
            "timestamp {text}: more than a day ahead ({written}); a number is in seconds"
        ));
    }
    if age.unsigned_abs() > age_max && age.is_positive() {
        return Verdict::TooOld;
    }
    // `time` may only refine the same second.
    let finer = line.time.and_then(|time| time_of(time.get()));
    let finer = finer.filter(|time| is_whole_seconds(text) && time.as_second() == written.as_second());
    // The raw value is a slice of `value`.
    let start = text.as_ptr().addr() - value.as_ptr().addr();
    Verdict::Document(Stamp { time: finer.unwrap_or(written), place: start..start + text.len() })
}

/// The time that a JSON value denotes.
fn time_of(json: &str) -> Option<Timestamp> {
    if json.starts_with('"') {
        return serde_json::from_str::<Cow<'_, str>>(json).ok()?.parse().ok();
    }
    let (digits, fraction) = json.split_once('.').unwrap_or((json, ""));
    if let Ok(seconds) = digits.parse::<i64>()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        // Parsed as decimals: the nearest f64 is up to 120 ns away from a time of these years.
        let nanoseconds: i32 = format!("{fraction:0<9.9}").parse().ok()?;
        let sign = if json.starts_with('-') { -1 } else { 1 };
        return Timestamp::new(seconds, sign * nanoseconds).ok();
    }
    // With an exponent. `null`, `true` and the like are not numbers.
    let seconds: f64 = serde_json::from_str(json).ok()?;
    Timestamp::from_duration(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

fn is_whole_seconds(json: &str) -> bool {
    json.bytes().all(|byte| byte.is_ascii_digit())
}

/// Appends the ID of a record's document.
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
        let Verdict::Document(stamp) = judged(&line("2026-11-20T23:59:59.999999999Z")) else { panic!() };
        assert_eq!(stamp.day().name(), "2026.11.20");
        let Verdict::Document(stamp) = judged(&line("2026-11-21T00:30:00+01:00")) else { panic!() };
        assert_eq!(stamp.day().name(), "2026.11.20");
        let more = r#" {"level":7,"text":"a\nb","pod":"ü","timestamp":"2026-11-21T01:00:00Z","more":[{}]} "#;
        assert!(matches!(judged(more), Verdict::Document(_)));
    }

    fn time(timestamp: &str, more: &str) -> String {
        match judged(&format!(r#"{{"pod":"a","timestamp": {timestamp} ,"text":"x"{more}}}"#)) {
            Verdict::Document(stamp) => {
                assert_eq!(stamp.place, 24..24 + timestamp.len());
                stamp.time.to_string()
            }
            other => panic!("{timestamp}: {other:?}"),
        }
    }

    #[test]
    fn times_are_unix_seconds_or_as_in_rfc_3339() {
        assert_eq!(time("1795258800", ""), "2026-11-21T11:00:00Z");
        assert_eq!(time("1795258800.25", ""), "2026-11-21T11:00:00.25Z");
        assert_eq!(time("1795258800.1234567891", ""), "2026-11-21T11:00:00.123456789Z");
        assert_eq!(time("1.795258800e9", ""), "2026-11-21T11:00:00Z");
        assert_eq!(time(r#""2026-11-21T12:00:00.5+01:00""#, ""), "2026-11-21T11:00:00.5Z");
        for bad in ["null", "true", "[]", "{}", r#""1795258800""#, "1e999", "99999999999999999999"] {
            let line = format!(r#"{{"pod":"a","text":"x","timestamp":{bad}}}"#);
            assert!(matches!(judged(&line), Verdict::Malformed(reason) if reason.contains(bad)), "{bad}");
        }
        let milliseconds = judged(r#"{"pod":"a","text":"x","timestamp":1795258800000}"#);
        assert!(matches!(milliseconds, Verdict::Malformed(reason) if reason.contains("Unix seconds")));
        assert_eq!(judged(r#"{"pod":"a","text":"x","timestamp":-1.5}"#), Verdict::TooOld);
    }

    #[test]
    fn a_finer_time_refines_the_same_second_only() {
        let with = |time: &str| format!(r#","time":{time}"#);
        assert_eq!(time("1795258800", &with(r#""2026-11-21T11:00:00.125Z""#)), "2026-11-21T11:00:00.125Z");
        for other in [r#""2026-11-21T11:00:01.125Z""#, r#""noon""#, "7", "null"] {
            assert_eq!(time("1795258800", &with(other)), "2026-11-21T11:00:00Z", "{other}");
        }
        assert_eq!(time("1795258800.5", &with(r#""2026-11-21T11:00:00.125Z""#)), "2026-11-21T11:00:00.5Z");
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
    fn records_that_cannot_become_documents_say_why() {
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
        assert!(reason(&line("yesterday")).contains(r#"timestamp "yesterday": expected Unix seconds"#));
        assert!(reason(&format!("{}x", line("2026-11-21T01:00:00Z"))).contains("trailing characters"));
        assert_eq!(judge(None, Timestamp::UNIX_EPOCH, WEEK), Verdict::Malformed("it has no value".into()));
    }

    #[test]
    fn ids_match_the_contract() {
        let mut id = String::new();
        write_id(&mut id, "general-logs", 2, 42, b"abc");
        // The start of the SHA-256 of `abc`, as in FIPS 180-2.
        assert_eq!(id, "general-logs-2-42-ba7816bf");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(value in prop::collection::vec(any::<u8>(), 0..200)) {
            judge(Some(&value), Timestamp::UNIX_EPOCH, WEEK);
        }
    }
}
