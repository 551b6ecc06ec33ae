//! Delays between failed attempts.

use std::time::Duration;

/// Delays that double from a shortest to a longest one. Each is drawn from the upper half of its range, so that the
/// clients of a returning server do not all arrive at the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    least: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// # Panics
    /// If `least` is zero or above `longest`.
    pub fn new(least: Duration, longest: Duration) -> Self {
        assert!(!least.is_zero() && least <= longest, "back-off from {least:?} to {longest:?}");
        Self { least, longest, failures: 0 }
    }

    /// The delay after one more failure.
    pub fn wait(&mut self) -> Duration {
        let ceiling = self.least.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// An attempt succeeded: the next failure starts from the shortest delay again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_reset_after_a_success() {
        let (least, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(least, longest);
        for ceiling_ms in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.wait();
            let ceiling = Duration::from_millis(ceiling_ms);
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} for {ceiling:?}");
        }
        for _ in 0..100 {
            assert!(backoff.wait() <= longest);
        }
        backoff.reset();
        assert!(backoff.wait() <= least);
    }
}
