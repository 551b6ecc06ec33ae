//! Limits the rate of accepted connections; the rest wait in the kernel's queue.
//!
//! After a replica is killed, all its clients come back at once. Spread over time, they cost the others no more than
//! their share, and nobody has to be refused.

use std::time::{Duration, Instant};

/// A loop wakes slightly late, and the lost time is made up for. In any second, this makes at most this much more than
/// the rate.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Turns at equal intervals.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, next: None }
    }

    /// The time of the next turn, if it is in the future.
    pub(crate) fn wait_until(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    /// Notes that the turn was taken.
    pub(crate) fn took(&mut self, now: Instant) {
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next = Some(self.next.unwrap_or(now).max(earliest) + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many turns a loop that checks every `step` takes in each second.
    fn taken(pace: &mut Pace, step: Duration, seconds: u32) -> Vec<u32> {
        let start = clock::now();
        let mut now = start;
        let mut taken = vec![0; seconds as usize];
        while now < start + Duration::from_secs(u64::from(seconds)) {
            while pace.wait_until(now).is_none() {
                pace.took(now);
                taken[(now - start).as_secs() as usize] += 1;
            }
            now += step;
        }
        taken
    }

    #[test]
    fn the_rate_is_kept_however_late_the_loop_wakes() {
        for step in [Duration::from_micros(100), Duration::from_millis(1), Duration::from_millis(7)] {
            let mut pace = Pace::new(Duration::from_micros(2_500));
            for (second, count) in taken(&mut pace, step, 3).into_iter().enumerate() {
                assert!((396..=405).contains(&count), "{count} in second {second} by steps of {step:?}");
            }
        }
    }

    #[test]
    fn idle_time_saves_up_hardly_any_accepts() {
        let mut pace = Pace::new(Duration::from_millis(2));
        let start = clock::now();
        pace.took(start);
        let later = start + Duration::from_mins(1);
        let mut burst = 0;
        while pace.wait_until(later).is_none() {
            pace.took(later);
            burst += 1;
        }
        assert!(burst <= 6, "{burst}");
        assert!(pace.wait_until(later).is_some_and(|next| next <= later + Duration::from_millis(2)));
    }
}
