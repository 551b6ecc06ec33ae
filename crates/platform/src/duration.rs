//! The one grammar of durations: `250ms`, `1.5s`, `1m30s`, `2h`.
//!
//! Flags, scenario files, `values.yaml` and the services' variables read durations here. One or more numbers, each with
//! its unit, the largest unit first; a number may have a fraction. A bare number is refused, except for `0` and where
//! an old name promises seconds ([`parse_seconds`]).

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// The longest duration of a run: 30 days. It keeps its times as milliseconds in 32 bits.
pub const LONGEST: Duration = Duration::from_hours(30 * 24);

/// The longest setting of a service, such as the age of a record: a year. Added to a clock it never overflows.
const LONGEST_SETTING: Duration = Duration::from_hours(365 * 24);

const SECOND_NS: u64 = 1_000_000_000;

/// Units with their nanoseconds, longest first, which is the order for printing.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", SECOND_NS),
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
    #[error("`{text}` is longer than {days} days")]
    TooLong { text: String, days: u64 },
}

/// Reads a duration of a run.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    up_to(LONGEST, text)
}

/// Reads a setting of a service, which may be up to a year.
pub fn parse_setting(text: &str) -> Result<Duration, DurationError> {
    up_to(LONGEST_SETTING, text)
}

/// Reads a setting of a service whose name has always promised seconds, so that a bare number is one
/// (`SIGTERM_TIMEOUT=20`).
pub fn parse_seconds(text: &str) -> Result<Duration, DurationError> {
    match parse_setting(text) {
        Err(DurationError::NoUnit(number)) => parse_setting(&format!("{}s", number.trim())),
        read => read,
    }
}

fn up_to(longest: Duration, text: &str) -> Result<Duration, DurationError> {
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
    if total_ns > longest.as_nanos() as f64 {
        let days = longest.as_secs() / (24 * 3600);
        return Err(DurationError::TooLong { text: text.to_owned(), days });
    }
    Ok(Duration::from_nanos(total_ns.round() as u64))
}

/// The shortest exact form that reads back as the same: `1m30s`, `5ms`, `0s`; below a minute as one number with a
/// fraction (`3.963s`, `8.147ms`).
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, unit_ns) in UNITS {
        let count = rest / unit_ns;
        if count == 0 {
            continue;
        }
        rest %= unit_ns;
        // Writing to a String cannot fail.
        let _ = write!(text, "{count}");
        // Whole hours and minutes: nobody reads 1.5h as easily as 1h30m.
        if unit_ns <= SECOND_NS && rest > 0 {
            let digits = unit_ns.ilog10() as usize;
            let fraction = format!("{rest:0digits$}");
            let _ = write!(text, ".{}", fraction.trim_end_matches('0'));
            rest = 0;
        }
        text.push_str(unit);
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Whole milliseconds, as events carry them.
pub fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in a file. A bare number is told to want a unit, as one in quotes is.
struct Typed(Duration);

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TypedVisitor)
    }
}

struct TypedVisitor;

impl Visitor<'_> for TypedVisitor {
    type Value = Typed;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a duration such as 240s or 1m30s")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Typed, E> {
        parse(text).map(Typed).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Typed, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Typed, E> {
        self.visit_str(&number.to_string())
    }
}

/// For `#[serde(with = "platform::duration::text")]`: a duration that is written as text.
pub mod text {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Ok(super::Typed::deserialize(deserializer)?.0)
    }
}

/// For `#[serde(with = "platform::duration::ms")]`: a duration that is written as whole milliseconds.
pub mod ms {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(super::whole_ms(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// The same for an optional duration.
pub mod optional_ms {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(super::whole_ms).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|ms| ms.map(Duration::from_millis))
    }
}

/// Written as text, for an optional duration.
pub mod optional_text {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_str(&super::format(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<super::Typed>::deserialize(deserializer)?.map(|typed| typed.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bare_number_in_a_file_is_refused_with_a_hint_at_units() {
        let read = |text: &str| {
            text::deserialize(&mut serde_json::Deserializer::from_str(text))
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("\"5s\""), Ok(Duration::from_secs(5)));
        assert_eq!(read("0"), Ok(Duration::ZERO));
        for (number, expected) in
            [("5", "write it as 5s"), ("1.5", "write it as 1.5s"), ("true", "a duration such as")]
        {
            let error = read(number).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn writes_one_number_where_people_would() {
        for (us, text) in [
            (8_147, "8.147ms"),
            (3_963_000, "3.963s"),
            (95_579_000, "1m35.579s"),
            (5_400_000_000, "1h30m"),
            (1_000_050, "1.00005s"),
            (250, "250us"),
            (60_000_000, "1m"),
        ] {
            let duration = Duration::from_micros(us);
            assert_eq!((format(duration).as_str(), parse(text)), (text, Ok(duration)));
        }
    }

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
        for text in ["1000h", "99999999999999999999s"] {
            assert_eq!(parse(text), Err(DurationError::TooLong { text: text.to_owned(), days: 30 }));
        }
        for text in ["", "s", "-5s", "1..2s", "1m30", "é", "1s1m", "1s1s"] {
            assert!(matches!(parse(text), Err(DurationError::Shape(_))), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_seconds_only_where_a_name_promises_it() {
        assert_eq!(parse_seconds("20"), Ok(Duration::from_secs(20)));
        assert_eq!(parse_seconds(" 0.25 "), Ok(Duration::from_millis(250)));
        assert_eq!(parse_seconds("31536000"), Ok(LONGEST_SETTING));
        assert_eq!(
            parse_seconds("31536001"),
            Err(DurationError::TooLong { text: "31536001s".to_owned(), days: 365 })
        );
        assert_eq!(parse_setting("1000h"), Ok(Duration::from_hours(1000)));
        assert_eq!(parse_setting("20"), Err(DurationError::NoUnit("20".to_owned())));
        assert_eq!(parse_setting("0"), Ok(Duration::ZERO));
        for text in ["", "-1", "1e3", "NaN", "inf", "+1", ".", "20 s", "1m30", "99999999999999"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn seconds_use_the_same_grammar(text in "[0-9.hmsu ]{0,9}") {
            match (parse_setting(&text), parse_seconds(&text)) {
                (Err(DurationError::NoUnit(_)), _) => {}
                (strict, seconds) => prop_assert_eq!(strict, seconds),
            }
        }

        #[test]
        fn printed_durations_parse_back(ns in 0u64..3_000_000_000_000) {
            let duration = Duration::from_nanos(ns);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = parse(&text);
        }
    }
}
