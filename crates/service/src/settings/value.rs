//! Types that a setting can have.

use std::num::NonZeroUsize;
use std::time::Duration;

use platform::values::{Policy, Protocol};

/// A type that a variable's text can be read as.
pub trait Setting: Sized {
    /// The value, or what was expected, in words that follow "expected".
    fn parse(text: &str) -> Result<Self, String>;
}

impl Setting for String {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Err("UTF-8 text".into());
        }
        Ok(text.to_owned())
    }
}

impl Setting for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("true or false".into()),
        }
    }
}

impl Setting for u16 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("a whole number from 0 to {}", Self::MAX))
    }
}

impl Setting for u32 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("a whole number from 0 to {}", Self::MAX))
    }
}

impl Setting for usize {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a whole number".into())
    }
}

impl Setting for NonZeroUsize {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a whole number above 0".into())
    }
}

/// As in values.yaml, in capitals or not.
impl Setting for Protocol {
    fn parse(text: &str) -> Result<Self, String> {
        let named = |protocol: &Self| protocol.as_str().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named).ok_or_else(|| "TCP or UDP".into())
    }
}

/// As in values.yaml.
impl Setting for Policy {
    fn parse(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        named.ok_or_else(|| format!("one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// How many threads carry the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers(pub NonZeroUsize);

/// More threads than any machine can use; more replicas help long before that.
const WORKERS_MAX: usize = 64;

impl Setting for Workers {
    fn parse(text: &str) -> Result<Self, String> {
        let workers = text.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= WORKERS_MAX);
        workers.map(Self).ok_or_else(|| format!("a number of threads from 1 to {WORKERS_MAX}"))
    }
}

/// A duration: a bare number of seconds, or numbers with units (`500ms`, `1.5s`, `1m30s`, `2h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// Longer than any setting needs, and short enough that adding it to a clock never overflows.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// Units and their milliseconds, in the order in which a duration may have them.
const UNITS: [(&str, f64); 4] = [("h", 3_600_000.0), ("m", 60_000.0), ("s", 1000.0), ("ms", 1.0)];

impl Setting for Seconds {
    fn parse(text: &str) -> Result<Self, String> {
        let milliseconds = number(text).map(|seconds| seconds * 1000.0).or_else(|| with_units(text));
        milliseconds
            .and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).ok())
            .filter(|duration| *duration <= LONGEST)
            .map(Self)
            .ok_or_else(|| {
                "a duration up to a year: seconds (20), or with units (500ms, 1.5s, 1m30s, 2h)".into()
            })
    }
}

/// The milliseconds of numbers with units, from the largest unit to the smallest.
fn with_units(mut text: &str) -> Option<f64> {
    let mut units = UNITS.iter();
    let mut sum = 0.0;
    loop {
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (count, rest) = text.split_at(unit_at);
        let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(unit_end);
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        sum += number(count)? * milliseconds;
        if rest.is_empty() {
            return Some(sum);
        }
        text = rest;
    }
}

/// Digits, with a decimal point or without.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        let parse = |text| Seconds::parse(text).map(|seconds| seconds.0);
        assert_eq!(parse("20"), Ok(Duration::from_secs(20)));
        assert_eq!(parse("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(parse("1h"), Ok(Duration::from_hours(1)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("2h1m1s500ms"), Ok(Duration::from_millis(7_261_500)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        for bad in [
            "",
            "s",
            "-1",
            "-1s",
            "1 week",
            "1.2.3",
            "NaN",
            "inf",
            "1e3",
            "99999999999999",
            "20x",
            "30s1m",
            "1s1s",
            "1m30",
            "20 s",
            "1min",
            "1S",
            "+1s",
            ".",
            "ü",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_say_their_range() {
        assert_eq!(u16::parse("65536"), Err("a whole number from 0 to 65535".into()));
        assert!(NonZeroUsize::parse("0").is_err());
        assert_eq!(Workers::parse("64"), Ok(Workers(NonZeroUsize::new(64).unwrap())));
        assert_eq!(Workers::parse("65"), Err("a number of threads from 1 to 64".into()));
        assert!(Workers::parse("0").is_err());
        assert_eq!(bool::parse("on"), Ok(true));
        assert!(bool::parse("maybe").is_err());
    }
}
