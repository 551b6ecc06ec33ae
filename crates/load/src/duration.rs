//! Durations as people type them: `240s`, `4m`, `1m30s`, `5ms`, `250us`, `1.5s`.

use std::{fmt::Write as _, time::Duration};

/// The longest duration accepted anywhere: 30 days. Times within a run are kept as milliseconds in 32 bits.
pub(crate) const LONGEST: Duration = Duration::from_hours(30 * 24);

/// Units by their nanoseconds, longest first, as printing takes them.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("`{0}` is not a duration; expected a number and a unit (h, m, s, ms, us), such as 240s or 1m30s")]
    Shape(String),
    #[error("`{0}` has no unit; write it as {0}s, {0}ms or {0}m")]
    NoUnit(String),
    #[error("`{text}`: unknown unit `{unit}`; expected h, m, s, ms or us")]
    Unit { text: String, unit: String },
    #[error("`{0}` is longer than 30 days")]
    TooLong(String),
}

/// Reads a duration: one or more numbers, each with its unit, longest unit first or not.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    let shape = || DurationError::Shape(text.to_owned());
    let mut rest = trimmed;
    let mut total_ns = 0.0_f64;
    if rest.is_empty() {
        return Err(shape());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| shape())?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = if unit == "µs" { "us" } else { unit };
        if unit.is_empty() {
            // `0` needs no unit.
            if number == 0.0 && rest.len() == trimmed.len() {
                return Ok(Duration::ZERO);
            }
            return Err(if rest.len() == trimmed.len() {
                DurationError::NoUnit(text.to_owned())
            } else {
                shape()
            });
        }
        let (_, unit_ns) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::Unit { text: text.to_owned(), unit: unit.to_owned() })?;
        total_ns += number * *unit_ns as f64;
        rest = tail;
    }
    if total_ns > LONGEST.as_nanos() as f64 {
        return Err(DurationError::TooLong(text.to_owned()));
    }
    Ok(Duration::from_nanos(total_ns.round() as u64))
}

/// The shortest exact form: `1m30s`, `5ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, unit_ns) in UNITS {
        let count = rest / unit_ns;
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{count}{unit}");
            rest %= unit_ns;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_type() {
        for (text, ms) in [
            ("240s", 240_000),
            ("4m", 240_000),
            ("1m30s", 90_000),
            ("5ms", 5),
            ("1.5s", 1_500),
            ("2h", 7_200_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_duration("250µs"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse_duration("5"), Err(DurationError::NoUnit("5".to_owned())));
        assert_eq!(
            parse_duration("5 min"),
            Err(DurationError::Unit { text: "5 min".to_owned(), unit: " min".to_owned() })
        );
        assert_eq!(parse_duration("1000h"), Err(DurationError::TooLong("1000h".to_owned())));
        for text in ["", "s", "-5s", "1..2s", "1m30", "é"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Shape(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ns in 0u64..3_000_000_000_000) {
            let duration = Duration::from_nanos(ns);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = parse_duration(&text);
        }
    }
}
