//! Medians and ranges of few samples.

use serde::{Deserialize, Serialize};

/// A summary of a handful of rounds: the median and the range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` without samples. With an even number, the median is the mean of the two in the middle.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, sorted[middle])
        };
        Some(Self { median, min: *sorted.first()?, max: *sorted.last()? })
    }

    /// The ratio round by round: both samples of a round were taken within the same minute, so longer disturbances of
    /// the machine cancel out, unlike in a ratio of two medians.
    pub(crate) fn of_ratios(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was half as fast in the second round; neither contestant became better or worse.
        let spread = Spread::of_ratios(&[200.0, 100.0], &[100.0, 50.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, min: 2.0, max: 2.0 }));
    }
}
