//! Rates: an interval (`5ms`) or a frequency (`200/s`, `1k/s`). One grammar and one type for both, stored as typed, so
//! that neither 3 ms nor 30,000 per second is off by a fraction of a nanosecond.

use std::{fmt, str::FromStr, time::Duration};

use platform::duration;

use crate::number;

/// Ten million a second: more than a machine sends.
const MOST_PER_S: f64 = 1e7;
/// One per hour.
const LEAST_PER_S: f64 = 1.0 / 3600.0;

/// A number of events per time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Thousandths of an event…
    milli: u64,
    /// …per this many nanoseconds.
    per_ns: u64,
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a rate: {reason}; expected an interval such as 5ms or a frequency such as 200/s or 1k/s"
)]
pub struct RateError {
    text: String,
    reason: String,
}

impl Rate {
    /// One per 5 ms.
    pub(crate) const DEFAULT: Self = Self { milli: 1_000, per_ns: 5_000_000 };

    /// Events per nanosecond.
    pub fn per_ns(self) -> f64 {
        self.milli as f64 / 1000.0 / self.per_ns as f64
    }

    /// Events per 1,000 seconds, as in events of the load.
    pub fn milli_per_s(self) -> u64 {
        (self.per_ns() * 1e12).round() as u64
    }

    /// The time between two events, at least a nanosecond.
    pub fn interval(self) -> Duration {
        self.due(1).max(Duration::from_nanos(1))
    }

    /// `one per 5ms` or `200/s`.
    pub fn words(self) -> String {
        if self.is_interval() { format!("one per {self}") } else { self.to_string() }
    }

    fn is_interval(self) -> bool {
        self.milli == 1000 && self.per_ns != 1_000_000_000
    }

    /// When event number `index` (from 0) is due, after the first. Each is computed independently, so rounding does not
    /// add up.
    pub fn due(self, index: u64) -> Duration {
        let ns = u128::from(index) * u128::from(self.per_ns) * 1000 / u128::from(self.milli);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let wrong = |reason: String| RateError { text: text.to_owned(), reason };
        let time = |text: &str| duration::parse(text).map_err(|error| wrong(error.to_string()));
        let (count, per) = match text.split_once('/') {
            None => (1.0, time(text)?),
            Some((count, per)) => {
                let count = number::parse(count)
                    .ok_or_else(|| wrong("expected a number before the `/`".to_owned()))?;
                let per = per.trim();
                // `200/s`, `60/m`, `10/500ms`.
                let unit_alone = per.starts_with(|first: char| first.is_ascii_alphabetic());
                (count, time(&if unit_alone { format!("1{per}") } else { per.to_owned() })?)
            }
        };
        let rate = Self { milli: (count * 1000.0).round() as u64, per_ns: per.as_nanos() as u64 };
        let per_s = rate.per_ns() * 1e9;
        // NaN, from 0 per 0 s, fails this comparison as well.
        if !(LEAST_PER_S..=MOST_PER_S).contains(&per_s) {
            return Err(wrong("it must lie between one per hour and 10,000,000 per second".to_owned()));
        }
        Ok(rate)
    }
}

/// As typed.
impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = duration::format(Duration::from_nanos(self.per_ns));
        if self.is_interval() {
            return formatter.write_str(&per);
        }
        let (whole, fraction) = (self.milli / 1000, format!(".{:03}", self.milli % 1000));
        let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
        write!(formatter, "{whole}{fraction}/{}", if per == "1s" { "s" } else { &per })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn intervals_and_frequencies_share_one_grammar() {
        for (text, ns, printed) in [
            ("5ms", 5_000_000, "5ms"),
            ("200/s", 5_000_000, "200/s"),
            ("1k/s", 1_000_000, "1000/s"),
            ("1_000/s", 1_000_000, "1000/s"),
            ("60/m", 1_000_000_000, "60/1m"),
            ("0.5/s", 2_000_000_000, "0.5/s"),
            ("30/ms", 33_333, "30/1ms"),
            ("10/500ms", 50_000_000, "10/500ms"),
            ("1us", 1_000, "1us"),
            ("1/s", 1_000_000_000, "1/s"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.interval(), Duration::from_nanos(ns), "{text}");
            assert_eq!(rate.to_string(), printed);
        }
        let rate: Rate = "30000/s".parse().unwrap();
        assert_eq!((rate.milli_per_s(), rate.words().as_str()), (30_000_000, "30000/s"));
        assert_eq!(Rate::DEFAULT.words(), "one per 5ms");
    }

    #[test]
    fn rounding_errors_do_not_add_up() {
        let rate: Rate = "3/s".parse().unwrap();
        assert_eq!(rate.due(3_000_000), Duration::from_secs(1_000_000));
        assert_eq!(rate.due(1), Duration::from_nanos(333_333_333));
    }

    #[test]
    fn invalid_rates_are_explained() {
        for text in [
            "",
            "5",
            "/s",
            "5/",
            "0/s",
            "-1/s",
            "NaN/s",
            "inf/s",
            "1/0s",
            "0ms",
            "2h",
            "99999999/s",
            "x/s",
            "fast",
        ] {
            let error = text.parse::<Rate>().expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("200/s"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn printed_rates_parse_back(milli in 1_000..10_000_000_u64, ms in 1..1_000_u64) {
            let rate = Rate { milli, per_ns: ms * 1_000_000 };
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Rate>();
        }
    }
}
