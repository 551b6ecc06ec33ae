//! When a dead instance is restarted.
//!
//! Replicas and parts have the kubelet's back-off: the first restart is immediate, the next 10 s after the death,
//! doubled with every further one, at most 5 min; reset after a run of 10 min. Source: kubelet's `MaxContainerBackOff`
//! and `backOffPeriod`, and `doBackOff`, which finds no entry at the first death.

use std::time::Duration;

/// The back-off of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackOff {
    /// The second delay; the first is zero.
    first: Duration,
    max: Duration,
    /// A run of this length resets the delay.
    forgotten_after: Duration,
    /// The next delay.
    next: Duration,
}

impl BackOff {
    pub(crate) fn kubelet() -> Self {
        Self::new(Duration::from_secs(10), Duration::from_mins(5), Duration::from_mins(10))
    }

    /// A gateway's, shorter because its share of the new connections waits for it.
    pub(crate) fn gateway() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(10), Duration::from_secs(30))
    }

    fn new(first: Duration, max: Duration, forgotten_after: Duration) -> Self {
        Self { first, max, forgotten_after, next: Duration::ZERO }
    }

    /// How long to wait after the death of an instance that had run for `ran`.
    pub(crate) fn next(&mut self, ran: Duration) -> Duration {
        let delay = self.peek(ran);
        self.next = (delay * 2).clamp(self.first, self.max);
        delay
    }

    /// The result of [`next`](Self::next), without counting a death.
    pub(crate) fn peek(&self, ran: Duration) -> Duration {
        if ran >= self.forgotten_after { Duration::ZERO } else { self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_twice_as_long_up_to_the_maximum_and_a_long_run_resets_the_wait() {
        for (mut backoff, expected, long) in [
            (BackOff::kubelet(), [0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000], 600),
            (BackOff::gateway(), [0, 250, 500, 1000, 2000, 4000, 8000, 10_000], 30),
        ] {
            let short = Duration::from_secs(1);
            assert_eq!(expected.map(|_| backoff.next(short).as_millis()), expected);
            let long = Duration::from_secs(long);
            assert_eq!(backoff.peek(long), Duration::ZERO);
            assert_eq!(backoff.next(long), Duration::ZERO);
            assert_eq!(backoff.next(short).as_millis(), expected[1]);
        }
    }
}
