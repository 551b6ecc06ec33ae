//! How often something starts: an interval (`5ms`) or a frequency (`200/s`).

use std::{fmt, str::FromStr, time::Duration};

use crate::duration::{format_duration, parse_duration};

/// The fastest rate: one start per microsecond.
const SHORTEST: Duration = Duration::from_micros(1);
/// The slowest rate: one start per hour.
const LONGEST: Duration = Duration::from_hours(1);

/// A pace, kept as the interval between two starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    interval: Duration,
}

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a rate: {reason}; expected an interval such as 5ms or a frequency such as 200/s")]
pub struct RateError {
    text: String,
    reason: String,
}

impl Rate {
    /// One start per `interval`, which lies between a microsecond and an hour.
    pub fn every(interval: Duration) -> Result<Self, RateError> {
        if (SHORTEST..=LONGEST).contains(&interval) {
            return Ok(Self { interval });
        }
        Err(RateError {
            text: format_duration(interval),
            reason: "the interval must lie between 1us and 1h".to_owned(),
        })
    }

    /// Between two starts.
    pub fn interval(self) -> Duration {
        self.interval
    }

    /// When start number `index` (from 0) is due, after the first.
    pub fn due(self, index: u64) -> Duration {
        let ns = u128::from(index) * self.interval.as_nanos();
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let wrong = |reason: String| RateError { text: text.to_owned(), reason };
        let interval = match text.split_once('/') {
            None => parse_duration(text).map_err(|error| wrong(error.to_string()))?,
            Some((count, per)) => {
                let count: f64 =
                    count.trim().parse().map_err(|_| wrong("no number before the `/`".to_owned()))?;
                // NaN fails this comparison as well.
                if !(count > 0.0 && count.is_finite()) {
                    return Err(wrong("the number before the `/` must be more than 0".to_owned()));
                }
                let per = match per.trim() {
                    unit @ ("h" | "m" | "s" | "ms") => parse_duration(&format!("1{unit}")),
                    other => parse_duration(other),
                }
                .map_err(|error| wrong(error.to_string()))?;
                Duration::try_from_secs_f64(per.as_secs_f64() / count)
                    .map_err(|error| wrong(error.to_string()))?
            }
        };
        Self::every(interval).map_err(|error| wrong(error.reason))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "one per {}", format_duration(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_interval_and_a_frequency_mean_the_same() {
        let interval: Rate = "5ms".parse().unwrap();
        let frequency: Rate = "200/s".parse().unwrap();
        assert_eq!(interval, frequency);
        assert_eq!(interval.interval(), Duration::from_millis(5));
        assert_eq!("120/m".parse::<Rate>().unwrap().interval(), Duration::from_millis(500));
        assert_eq!("10/500ms".parse::<Rate>().unwrap().interval(), Duration::from_millis(50));
        assert_eq!("0.5/s".parse::<Rate>().unwrap().interval(), Duration::from_secs(2));
    }

    #[test]
    fn due_times_do_not_drift() {
        let rate: Rate = "3/s".parse().unwrap();
        assert_eq!(rate.due(0), Duration::ZERO);
        assert_eq!(rate.due(3_000_000), rate.interval() * 3_000_000);
    }

    #[test]
    fn impossible_rates_are_refused_with_the_value() {
        for text in
            ["0/s", "-1/s", "NaN/s", "inf/s", "/s", "200/", "0s", "2h", "200", "x/s", "5/x", "2000000/s", ""]
        {
            let error = text.parse::<Rate>().expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("200/s"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Rate>();
        }

        #[test]
        fn frequencies_round_to_the_nanosecond(per_second in 1u32..1_000_000) {
            let rate: Rate = format!("{per_second}/s").parse().unwrap();
            let error_ns = (rate.interval().as_secs_f64() * f64::from(per_second) - 1.0).abs() * 1e9;
            prop_assert!(error_ns <= f64::from(per_second));
        }
    }
}
