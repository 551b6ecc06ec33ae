//! Active health as a state machine: how many consecutive checks change a verdict.
//!
//! No clock and no I/O. The first check of a backend decides alone, so that a new replica does not wait for `rise`
//! intervals; after that, `fall` consecutive failures take it out and `rise` consecutive successes bring it back.

use std::num::NonZeroU32;

use serde::Serialize;

/// How many consecutive checks change a verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    pub(crate) fall: NonZeroU32,
    pub(crate) rise: NonZeroU32,
}

/// What active checks say about a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No check has finished yet. Gets connections only while no backend is known to be healthy.
    Unknown,
    Healthy,
    Unhealthy,
}

/// The verdict, and how many consecutive checks contradict it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Health {
    verdict: Verdict,
    against: u32,
}

impl Health {
    pub(crate) fn unknown() -> Self {
        Self { verdict: Verdict::Unknown, against: 0 }
    }

    /// For a backend without a health check.
    pub(crate) fn assumed() -> Self {
        Self { verdict: Verdict::Healthy, against: 0 }
    }

    pub(crate) fn verdict(self) -> Verdict {
        self.verdict
    }

    /// Records the result of one check; true if the verdict changed.
    pub(crate) fn record(&mut self, passed: bool, thresholds: Thresholds) -> bool {
        let (opposite, needed) = match (self.verdict, passed) {
            (Verdict::Unknown, true) => (Verdict::Healthy, 1),
            (Verdict::Unknown, false) => (Verdict::Unhealthy, 1),
            (Verdict::Healthy, false) => (Verdict::Unhealthy, thresholds.fall.get()),
            (Verdict::Unhealthy, true) => (Verdict::Healthy, thresholds.rise.get()),
            (Verdict::Healthy, true) | (Verdict::Unhealthy, false) => {
                self.against = 0;
                return false;
            }
        };
        self.against += 1;
        if self.against < needed {
            return false;
        }
        *self = Self { verdict: opposite, against: 0 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds(fall: u32, rise: u32) -> Thresholds {
        Thresholds { fall: NonZeroU32::new(fall).unwrap(), rise: NonZeroU32::new(rise).unwrap() }
    }

    /// The verdicts after each check of `script`, where `+` passes and `-` fails.
    fn verdicts(script: &str, thresholds: Thresholds) -> Vec<Verdict> {
        let mut health = Health::unknown();
        script
            .chars()
            .map(|check| {
                health.record(check == '+', thresholds);
                health.verdict()
            })
            .collect()
    }

    #[test]
    fn the_first_check_decides() {
        assert_eq!(verdicts("+", thresholds(3, 3)), [Verdict::Healthy]);
        assert_eq!(verdicts("-", thresholds(3, 3)), [Verdict::Unhealthy]);
    }

    #[test]
    fn two_failures_in_a_row_make_it_unhealthy_and_one_success_makes_it_healthy() {
        use Verdict::{Healthy, Unhealthy};
        assert_eq!(
            verdicts("+-+--+-", thresholds(2, 1)),
            [Healthy, Healthy, Healthy, Healthy, Unhealthy, Healthy, Healthy]
        );
    }

    #[test]
    fn an_interrupted_run_starts_again() {
        use Verdict::{Healthy, Unhealthy};
        assert_eq!(
            verdicts("-+-++", thresholds(1, 2)),
            [Unhealthy, Unhealthy, Unhealthy, Unhealthy, Healthy]
        );
    }

    #[test]
    fn a_changed_verdict_is_reported() {
        let mut health = Health::assumed();
        let changes: Vec<_> =
            [false, false, false, true].map(|passed| health.record(passed, thresholds(2, 1))).to_vec();
        assert_eq!(changes, [false, true, false, true]);
    }
}
