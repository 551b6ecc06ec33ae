//! The total send rate of all peers over time: stages in which the rate changes linearly from one value to
//! another.
//!
//! With `f` messages a second at the start of a stage and `a` more with each second, `n(t) = f t + a t² / 2` messages
//! were due after `t`. Solving for `t` gives the due time of message `n`, so that each due time is computed independently
//! and rounding does not add up.

use std::time::Duration;

use platform::{
    duration::{self, whole_ms},
    event::LoadStage,
};
use serde::{Deserialize, Serialize};

use crate::Rate;

/// A part of a [`Profile`]. Written `{ from: 1000/s, to: 30000/s, for: 2m }` or `{ at: 30000/s, for: 1m }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Stage {
    pub from: Rate,
    pub to: Rate,
    pub length: Duration,
}

/// Stages, one after the other. The first message is due at the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Profile {
    stages: Vec<Stage>,
}

/// The format of a stage.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    from: Option<Rate>,
    to: Option<Rate>,
    at: Option<Rate>,
    #[serde(rename = "for", with = "platform::duration::text")]
    length: Duration,
}

impl TryFrom<Form> for Stage {
    type Error = &'static str;

    fn try_from(form: Form) -> Result<Self, Self::Error> {
        match (form.from, form.to, form.at) {
            (Some(from), Some(to), None) => Ok(Self { from, to, length: form.length }),
            (None, None, Some(at)) => Ok(Self::steady(at, form.length)),
            _ => Err("a stage has `from` and `to`, or `at`"),
        }
    }
}

impl From<Stage> for Form {
    fn from(stage: Stage) -> Self {
        Self { from: Some(stage.from), to: Some(stage.to), at: None, length: stage.length }
    }
}

impl Stage {
    /// A constant rate.
    pub fn steady(rate: Rate, length: Duration) -> Self {
        Self { from: rate, to: rate, length }
    }

    fn length_ns(&self) -> f64 {
        self.length.as_nanos() as f64
    }

    /// The number of messages due within it.
    fn messages(&self) -> f64 {
        f64::midpoint(self.from.per_ns(), self.to.per_ns()) * self.length_ns()
    }

    /// When message `n` of this stage is due, in ns after its beginning.
    fn due_ns(&self, n: f64) -> f64 {
        let from = self.from.per_ns();
        let growth = (self.to.per_ns() - from) / self.length_ns();
        // The usual formula subtracts two nearly equal numbers if the rate hardly changes.
        let root = (from * from + 2.0 * growth * n).max(0.0).sqrt();
        (2.0 * n / (from + root)).min(self.length_ns())
    }

    /// `1000/s → 30000/s over 2m`, or `30000/s for 1m`.
    pub fn describe(&self) -> String {
        let length = duration::format(self.length);
        if self.from == self.to {
            format!("{} for {length}", self.from)
        } else {
            format!("{} → {} over {length}", self.from, self.to)
        }
    }
}

impl Profile {
    pub fn new(stages: Vec<Stage>) -> Self {
        Self { stages }
    }

    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    pub fn length(&self) -> Duration {
        self.stages.iter().fold(Duration::ZERO, |sum, stage| sum.saturating_add(stage.length))
    }

    /// When message `number` (from 0) is due, in ns after the beginning; `None`: there are fewer.
    pub fn due_ns(&self, number: u64) -> Option<u64> {
        let (mut before, mut begins_ns) = (0.0, 0.0);
        for stage in &self.stages {
            let within = number as f64 - before;
            let messages = stage.messages();
            if within < messages {
                return Some((begins_ns + stage.due_ns(within)).round() as u64);
            }
            before += messages;
            begins_ns += stage.length_ns();
        }
        None
    }

    /// When each stage begins, in ms.
    pub fn begins_ms(&self) -> impl Iterator<Item = u32> {
        self.stages.iter().scan(Duration::ZERO, |begin, stage| {
            let ms = u32::try_from(begin.as_millis()).unwrap_or(u32::MAX);
            *begin = begin.saturating_add(stage.length);
            Some(ms)
        })
    }

    pub fn events(&self) -> Vec<LoadStage> {
        self.stages
            .iter()
            .map(|stage| LoadStage {
                from_milli_per_s: stage.from.milli_per_s(),
                to_milli_per_s: stage.to.milli_per_s(),
                ms: whole_ms(stage.length),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stage(from: &str, to: &str, seconds: u64) -> Stage {
        Stage { from: from.parse().unwrap(), to: to.parse().unwrap(), length: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_steady_rate_is_evenly_spaced_to_its_end() {
        let profile = Profile::new(vec![stage("1000/s", "1000/s", 2)]);
        assert_eq!(profile.due_ns(0), Some(0));
        assert_eq!(profile.due_ns(1), Some(1_000_000));
        assert_eq!(profile.due_ns(1_999), Some(1_999_000_000));
        assert_eq!(profile.due_ns(2_000), None);
        assert_eq!(Profile::default().due_ns(0), None);
    }

    #[test]
    fn a_ramp_sends_as_many_as_the_mean_of_its_ends() {
        let profile = Profile::new(vec![stage("1000/s", "3000/s", 10), stage("3000/s", "1000/s", 10)]);
        let due = |number| profile.due_ns(number).unwrap() as f64 / 1e9;
        // After half of the ramp-up: 1,000 × 5 + 200 × 25 / 2.
        assert!((due(7_500) - 5.0).abs() < 1e-6);
        assert!((due(20_000) - 10.0).abs() < 1e-6);
        assert!((due(39_999) - 20.0).abs() < 0.002);
        assert_eq!(profile.due_ns(40_000), None);
        assert_eq!(profile.begins_ms().collect::<Vec<_>>(), [0, 10_000]);
        assert_eq!(profile.length(), Duration::from_secs(20));
        assert_eq!(profile.stages()[0].describe(), "1000/s → 3000/s over 10s");
    }

    proptest! {
        /// With any rates, due times never decrease, and none is after the end.
        #[test]
        fn due_times_never_go_back(
            rates in prop::collection::vec((1..100_000_u64, 1..100_000_u64, 1..5_000_u64), 1..4),
            numbers in prop::collection::vec(0..500_000_u64, 1..50),
        ) {
            let stages = rates.iter().map(|(from, to, ms)| Stage {
                from: format!("{from}/s").parse().unwrap(),
                to: format!("{to}/s").parse().unwrap(),
                length: Duration::from_millis(*ms),
            });
            let profile = Profile::new(stages.collect());
            let mut numbers = numbers;
            numbers.sort_unstable();
            let mut last = Some(0);
            for number in numbers {
                let due = profile.due_ns(number);
                match (last, due) {
                    (Some(last), Some(due)) => prop_assert!(last <= due),
                    (None, Some(_)) => prop_assert!(false, "one after the last"),
                    (_, None) => {}
                }
                prop_assert!(due.is_none_or(|due| u128::from(due) <= profile.length().as_nanos()));
                last = due;
            }
        }
    }
}
