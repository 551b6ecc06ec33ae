//! What Prometheus' `max_over_time(metric[1m])` gives, for one series.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The maximum of the samples of the last `length`; the oldest edge is open, as in Prometheus 3.
///
/// Keeps only samples that can still become the maximum: their values fall from front to back.
#[derive(Debug, Clone)]
pub(crate) struct MaxOver {
    length: Duration,
    samples: VecDeque<(Instant, u64)>,
}

impl MaxOver {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, samples: VecDeque::new() }
    }

    /// Adds a sample; `at` must not lie before the last one's.
    pub(crate) fn push(&mut self, at: Instant, value: u64) {
        while self.samples.back().is_some_and(|(_, last)| *last <= value) {
            self.samples.pop_back();
        }
        self.samples.push_back((at, value));
        self.forget(at);
    }

    /// `None`: no sample in the window.
    pub(crate) fn max(&mut self, now: Instant) -> Option<u64> {
        self.forget(now);
        self.samples.front().map(|(_, value)| *value)
    }

    pub(crate) fn set_length(&mut self, length: Duration) {
        self.length = length;
    }

    fn forget(&mut self, now: Instant) {
        while self.samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= self.length) {
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
        let start = Instant::now();
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
            let start = Instant::now();
            let (mut window, mut all, mut seconds) = (MaxOver::new(length), Vec::new(), 0);
            for (pause, value) in steps {
                seconds += pause;
                let now = start + Duration::from_secs(seconds);
                window.push(now, value);
                all.push((now, value));
                let expected = all.iter().filter(|(at, _)| now - *at < length).map(|(_, value)| *value).max();
                prop_assert_eq!(window.max(now), expected);
            }
        }
    }
}
