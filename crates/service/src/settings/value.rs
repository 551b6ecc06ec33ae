//! Types that a setting can have.

use std::num::NonZeroUsize;
use std::time::Duration;

use platform::values::{Policy, Protocol};

/// A type that a variable's text can be read as.
pub trait Setting: Sized {
    /// The value, or what would have been one, in words that follow "expected".
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

/// More threads than any machine has use for; more replicas are the better way long before.
const WORKERS_MAX: usize = 64;

impl Setting for Workers {
    fn parse(text: &str) -> Result<Self, String> {
        let workers = text.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= WORKERS_MAX);
        workers.map(Self).ok_or_else(|| format!("a number of threads from 1 to {WORKERS_MAX}"))
    }
}

/// A duration: a number of seconds, or a number with a unit (`500ms`, `20s`, `10m`, `1h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// Longer than any setting means, and short enough that adding it to a clock never overflows.
const LONGEST: Duration = Duration::from_hours(24 * 365);

impl Setting for Seconds {
    fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || "a duration up to a year: seconds (20), or with a unit (500ms, 20s, 10m, 1h)".to_owned();
        let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let seconds_per_unit = match unit.trim() {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(expected()),
        };
        let number: f64 = number.parse().map_err(|_| expected())?;
        Duration::try_from_secs_f64(number * seconds_per_unit)
            .ok()
            .filter(|duration| *duration <= LONGEST)
            .map(Self)
            .ok_or_else(expected)
    }
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
        for bad in ["", "s", "-1", "1 week", "1.2.3", "NaN", "inf", "1e3", "99999999999999", "20x"] {
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
