//! The one grammar of durations: `250ms`, `1.5s`, `1m30s`, `2h`.
//!
//! Flags, scenario files and `values.yaml` read durations here. One or more numbers, each with its unit, the largest
//! unit first; a number may have a fraction. A bare number is refused, except for `0`.

use std::{fmt::Write as _, time::Duration};

/// The longest duration accepted anywhere: 30 days. A run keeps its times as milliseconds in 32 bits.
pub const LONGEST: Duration = Duration::from_hours(30 * 24);

/// Units with their nanoseconds, longest first, which is the order for printing.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is not a duration.
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

/// Reads a duration.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    let shape = || DurationError::Shape(text.to_owned());
    let mut rest = trimmed;
    let mut total_ns = 0.0_f64;
    let mut below = u64::MAX;
    if rest.is_empty() {
        return Err(shape());
    }
    while !rest.is_empty() {
        let is_first = rest.len() == trimmed.len();
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| shape())?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = if unit == "µs" { "us" } else { unit };
        if unit.is_empty() {
            return match (is_first, number == 0.0) {
                (true, true) => Ok(Duration::ZERO),
                (true, false) => Err(DurationError::NoUnit(text.to_owned())),
                (false, _) => Err(shape()),
            };
        }
        let (_, unit_ns) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError::Unit { text: text.to_owned(), unit: unit.to_owned() })?;
        if *unit_ns >= below {
            return Err(shape());
        }
        below = *unit_ns;
        total_ns += number * *unit_ns as f64;
        rest = tail;
    }
    if total_ns > LONGEST.as_nanos() as f64 {
        return Err(DurationError::TooLong(text.to_owned()));
    }
    Ok(Duration::from_nanos(total_ns.round() as u64))
}

/// The shortest exact form: `1m30s`, `5ms`, `0s`.
pub fn format(duration: Duration) -> String {
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

/// Whole milliseconds, as events carry them.
pub fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For `#[serde(with = "platform::duration::text")]`: a duration that is written as text.
pub mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The same for an optional duration.
pub mod optional_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_str(&super::format(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse(&text).map_err(D::Error::custom)).transpose()
    }
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
            ("1h1ms", 3_600_001),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse("250µs"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse("5"), Err(DurationError::NoUnit("5".to_owned())));
        assert_eq!(
            parse("5 min"),
            Err(DurationError::Unit { text: "5 min".to_owned(), unit: " min".to_owned() })
        );
        assert_eq!(parse("1000h"), Err(DurationError::TooLong("1000h".to_owned())));
        assert_eq!(
            parse("99999999999999999999s"),
            Err(DurationError::TooLong("99999999999999999999s".into()))
        );
        for text in ["", "s", "-5s", "1..2s", "1m30", "é", "1s1m", "1s1s"] {
            assert!(matches!(parse(text), Err(DurationError::Shape(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ns in 0u64..3_000_000_000_000) {
            let duration = Duration::from_nanos(ns);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = parse(&text);
        }
    }
}
