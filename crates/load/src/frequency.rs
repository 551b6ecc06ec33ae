//! How many messages a second, exactly: unlike an interval, 30000/s is no fraction of a nanosecond off.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::duration::parse_duration;

/// Ten million a second: more than a machine sends.
const MOST_MILLI: f64 = 1e10;

/// A number of messages per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Frequency {
    milli: u64,
}

/// Why a text is no frequency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a frequency; expected a number per time, such as 30000/s or 60/m, up to 10000000/s")]
pub struct FrequencyError(String);

impl Frequency {
    /// In messages per 1,000 seconds.
    pub fn milli(self) -> u64 {
        self.milli
    }

    pub(crate) fn per_ns(self) -> f64 {
        self.milli as f64 / 1e12
    }
}

impl FromStr for Frequency {
    type Err = FrequencyError;

    fn from_str(text: &str) -> Result<Self, FrequencyError> {
        let wrong = || FrequencyError(text.to_owned());
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: f64 = count.trim().parse().map_err(|_| wrong())?;
        let per = match per.trim() {
            unit @ ("h" | "m" | "s" | "ms") => parse_duration(&format!("1{unit}")),
            other => parse_duration(other),
        }
        .map_err(|_| wrong())?;
        let milli = (count * 1000.0 / per.as_secs_f64()).round();
        // NaN and both infinities fail this comparison as well.
        if !(1.0..=MOST_MILLI).contains(&milli) || per == Duration::ZERO {
            return Err(wrong());
        }
        Ok(Self { milli: milli as u64 })
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.milli / 1000, self.milli % 1000);
        if fraction == 0 {
            write!(formatter, "{whole}/s")
        } else {
            write!(formatter, "{whole}.{fraction:03}/s")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_per_time_is_read() {
        for (text, milli) in [
            ("30000/s", 30_000_000),
            ("60/m", 1_000),
            ("0.5/s", 500),
            ("30/ms", 30_000_000),
            ("10/500ms", 20_000),
        ] {
            assert_eq!(text.parse::<Frequency>().unwrap().milli(), milli, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_named() {
        for text in ["", "5", "5ms", "/s", "5/", "0/s", "-1/s", "NaN/s", "inf/s", "1/0s", "99999999/s", "x/s"]
        {
            let error = text.parse::<Frequency>().expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("30000/s"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(milli in 1..10_000_000_000_u64) {
            let frequency = Frequency { milli };
            prop_assert_eq!(frequency.to_string().parse::<Frequency>().unwrap(), frequency);
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Frequency>();
        }
    }
}
