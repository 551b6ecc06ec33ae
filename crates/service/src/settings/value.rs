//! Types that a setting can have.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use platform::duration::{self, DurationError};
use platform::values::{Policy, Protocol};

use super::Variable;

/// A type that can be parsed from a variable's text.
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

/// A port to connect to.
impl Setting for NonZeroU16 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("a port from 1 to {}", Self::MAX))
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

/// As in values.yaml, in any case.
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

/// Number of threads for the traffic.
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

/// How to parse a variable's durations: a bare number is in seconds if the variable's default is one, because its name
/// has always promised that.
pub(super) fn duration(variable: &Variable) -> fn(&str) -> Result<Duration, String> {
    let is_bare = |default: &str| default.bytes().all(|byte| byte.is_ascii_digit());
    if variable.default.is_some_and(is_bare) {
        return |text| {
            duration::parse_seconds(text).map_err(|_| {
                "a duration up to a year: seconds (20), or with units (500ms, 1.5s, 1m30s, 2h)".into()
            })
        };
    }
    |text| {
        duration::parse_setting(text).map_err(|error| match error {
            DurationError::NoUnit(_) => format!("a unit with the number: {text}s, {text}ms or {text}m"),
            _ => "a duration up to a year, such as 500ms, 1.5s, 1m30s or 2h".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_seconds_where_the_default_is_one() {
        let (old, new) = (Variable::new("OLD", "20", "Seconds."), Variable::new("NEW", "500ms", "Time."));
        let (old, new) = (duration(&old), duration(&new));
        for text in ["0", "1.5s", "1m30s", "2h1m1s500ms", "8760h"] {
            assert!(old(text).is_ok(), "{text}");
            assert_eq!(old(text), new(text), "{text}");
        }
        assert_eq!(old("20"), Ok(Duration::from_secs(20)));
        assert_eq!(new("20"), Err("a unit with the number: 20s, 20ms or 20m".into()));
        for bad in ["-3", "1 week", "30s1m", "1S", "8761h"] {
            assert!(old(bad).unwrap_err().contains("a duration up to a year"), "{bad}");
            assert!(new(bad).unwrap_err().contains("a duration up to a year"), "{bad}");
        }
    }

    #[test]
    fn errors_of_numbers_give_their_range() {
        assert_eq!(u16::parse("65536"), Err("a whole number from 0 to 65535".into()));
        assert_eq!(NonZeroU16::parse("0"), Err("a port from 1 to 65535".into()));
        assert!(NonZeroUsize::parse("0").is_err());
        assert_eq!(Workers::parse("64"), Ok(Workers(NonZeroUsize::new(64).unwrap())));
        assert_eq!(Workers::parse("65"), Err("a number of threads from 1 to 64".into()));
        assert!(Workers::parse("0").is_err());
        assert_eq!(bool::parse("on"), Ok(true));
        assert!(bool::parse("maybe").is_err());
    }
}
