//! `max_over_time(metric[1m])` and `rate(metric[1m])` of Prometheus, for one series.

use std::{collections::VecDeque, time::Duration};

use crate::Time;

/// The maximum of the samples of the last `length`; the oldest edge is open, as in Prometheus 3.
///
/// Keeps only samples that can still become the maximum: their values fall from front to back.
#[derive(Debug, Clone)]
pub(crate) struct MaxOver {
    length: Duration,
    samples: VecDeque<(Time, u64)>,
}

impl MaxOver {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, samples: VecDeque::new() }
    }

    /// Adds a sample; `at` must not lie before the last one's.
    pub(crate) fn push(&mut self, at: Time, value: u64) {
        while self.samples.back().is_some_and(|(_, last)| *last <= value) {
            self.samples.pop_back();
        }
        self.samples.push_back((at, value));
        self.forget(at);
    }

    /// `None`: no sample in the window.
    pub(crate) fn max(&mut self, now: Time) -> Option<u64> {
        self.forget(now);
        self.samples.front().map(|(_, value)| *value)
    }

    pub(crate) fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    fn forget(&mut self, now: Time) {
        while self.samples.front().is_some_and(|(at, _)| now.since(*at) >= self.length) {
            self.samples.pop_front();
        }
    }
}

/// The rate per second of a counter over the last `length`, as Prometheus computes it: a counter that fell has
/// restarted, and what was counted between the first and the last sample is extrapolated to the edges of the window, but
/// by no more than half a sample's distance where a series begins or ends within it, and never to below zero.
#[derive(Debug, Clone)]
pub(crate) struct RateOver {
    length: Duration,
    samples: VecDeque<(Time, u64)>,
}

/// If an edge is more than this many sample intervals away, the series does not reach it.
const GOES_ON_WITHIN: f64 = 1.1;

impl RateOver {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, samples: VecDeque::new() }
    }

    /// Adds a sample; `at` must not lie before the last one's.
    pub(crate) fn push(&mut self, at: Time, count: u64) {
        self.samples.push_back((at, count));
        self.forget(at);
    }

    /// The count of the last remembered sample.
    pub(crate) fn last(&self) -> Option<u64> {
        self.samples.back().map(|(_, count)| *count)
    }

    /// `None`: fewer than two samples in the window.
    pub(crate) fn per_second(&mut self, now: Time) -> Option<f64> {
        self.forget(now);
        let ((first_at, first), (last_at, _)) = (*self.samples.front()?, *self.samples.back()?);
        let sampled = last_at.since(first_at).as_secs_f64();
        if sampled <= 0.0 {
            return None;
        }
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let counted: u64 =
            pairs.map(|((_, before), (_, after))| after.checked_sub(*before).unwrap_or(*after)).sum();
        let counted = counted as f64;

        let distance = sampled / (self.samples.len() - 1) as f64;
        let beyond = |edge: f64| if edge < distance * GOES_ON_WITHIN { edge } else { distance / 2.0 };
        let to_end = now.since(last_at).as_secs_f64();
        let to_start = self.length.as_secs_f64() - to_end - sampled;
        // At this rate the counter was zero this long before the first sample.
        let to_zero = if counted > 0.0 { sampled * first as f64 / counted } else { f64::INFINITY };
        let extrapolated = sampled + beyond(to_start).min(to_zero) + beyond(to_end);
        Some(counted * extrapolated / sampled / self.length.as_secs_f64())
    }

    pub(crate) fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    fn forget(&mut self, now: Time) {
        while self.samples.front().is_some_and(|(at, _)| now.since(*at) >= self.length) {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sample_counts_for_less_than_the_window() {
        let mut window = MaxOver::new(Duration::from_mins(1));
        let start = Time::ZERO;
        assert_eq!(window.max(start), None);
        window.push(start, 10);
        window.push(start + Duration::from_secs(7), 3);
        assert_eq!(window.max(start + Duration::from_millis(59_999)), Some(10));
        assert_eq!(window.max(start + Duration::from_mins(1)), Some(3));
        assert_eq!(window.max(start + Duration::from_secs(67)), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(steps in proptest::collection::vec((0_u64..20, 0_u64..100), 1..100)) {
            let length = Duration::from_mins(1);
            let start = Time::ZERO;
            let (mut window, mut all, mut seconds) = (MaxOver::new(length), Vec::new(), 0);
            for (pause, value) in steps {
                seconds += pause;
                let now = start + Duration::from_secs(seconds);
                window.push(now, value);
                all.push((now, value));
                let expected = all.iter().filter(|(at, _)| now.since(*at) < length).map(|(_, value)| *value).max();
                prop_assert_eq!(window.max(now), expected);
            }
        }
    }

    /// The rate of `(seconds, count)` samples over a minute, at `now` seconds.
    fn rate(samples: &[(u64, u64)], now: u64) -> Option<f64> {
        rate_at(samples, Duration::from_secs(now))
    }

    fn rate_at(samples: &[(u64, u64)], now: Duration) -> Option<f64> {
        sampled(samples).per_second(Time::ZERO + now)
    }

    fn sampled(samples: &[(u64, u64)]) -> RateOver {
        let mut window = RateOver::new(Duration::from_mins(1));
        for (seconds, count) in samples {
            window.push(Time::ZERO + Duration::from_secs(*seconds), *count);
        }
        window
    }

    #[test]
    fn a_steady_counter_has_its_rate_wherever_the_samples_lie() {
        let samples: Vec<(u64, u64)> =
            (0..30).map(|number| (number * 7, 1_000_000 + number * 7 * 500)).collect();
        for now in 203..209 {
            let found = rate(&samples, now).unwrap();
            assert!((found - 500.0).abs() < 1e-6, "{found} after {now} s");
        }
    }

    #[test]
    fn two_samples_are_needed() {
        assert_eq!(rate(&[], 10), None);
        assert_eq!(rate(&[(0, 5)], 10), None);
        assert_eq!(rate(&[(0, 5), (7, 5)], 8), Some(0.0));
        assert_eq!(rate(&[(0, 5), (7, 5)], 60), None, "the first one is out of the window");
    }

    /// Results of Prometheus' `rate(x[1m])` for these samples (`promql/functions.go`, `extrapolatedRate`).
    #[test]
    fn edges_are_extrapolated_as_prometheus_does() {
        let close = |found: Option<f64>, expected: f64| {
            assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?}, expected {expected}");
        };
        // It begins within the window with a high count: half an interval before the first sample, 3 s after the last.
        close(rate(&[(0, 10_000), (10, 10_100), (20, 10_200)], 23), 200.0 * (20.0 + 5.0 + 3.0) / 20.0 / 60.0);
        // It begins at zero, so nothing can have been counted before.
        close(rate(&[(0, 0), (10, 100), (20, 200)], 23), 200.0 * (20.0 + 3.0) / 20.0 / 60.0);
        // It was zero 2 s before the first sample.
        close(rate(&[(0, 20), (10, 120), (20, 220)], 23), 200.0 * (20.0 + 2.0 + 3.0) / 20.0 / 60.0);
        // The series reaches an edge that is less than 1.1 intervals away, but none further away.
        let three = [(0, 10_000), (5, 10_050), (10, 10_100)];
        let at = |milliseconds, end: f64| {
            let found = rate_at(&three, Duration::from_millis(milliseconds));
            close(found, 100.0 * (10.0 + 2.5 + end) / 10.0 / 60.0);
        };
        at(15_499, 5.499);
        at(15_500, 2.5);
        at(15_900, 2.5);
        // It ended long ago: half an interval after the last sample.
        close(rate(&[(0, 10_000), (10, 10_100)], 40), 100.0 * (10.0 + 5.0 + 5.0) / 10.0 / 60.0);
    }

    #[test]
    fn a_new_length_applies_from_the_next_look() {
        let mut window = sampled(&[(0, 0), (10, 100), (20, 200)]);
        window.set_length(Duration::from_secs(15));
        assert_eq!(window.per_second(Time::ZERO + Duration::from_secs(20)), Some(10.0));
        window.set_length(Duration::from_secs(5));
        assert_eq!(window.per_second(Time::ZERO + Duration::from_secs(20)), None);
    }

    #[test]
    fn a_counter_that_fell_was_reset() {
        let steady: Vec<(u64, u64)> = (0..10).map(|number| (number * 10, 7_000 + number * 100)).collect();
        let restarted: Vec<(u64, u64)> =
            steady.iter().map(|(at, count)| (*at, if *at < 60 { *count } else { *at * 10 - 500 })).collect();
        assert_eq!(rate(&restarted, 90), rate(&steady, 90));
    }
}
