//! Limits the rate of new sessions: the rest wait for their turn.
//!
//! After a replica is killed, all its clients come to the others at once. Spread over time, they cost the survivors no
//! more than their share, and nobody has to be refused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Clock;

/// Timers are slightly late, and the lost time is made up for. A machine that stalls for longer does not let the crowd
/// in at once afterwards: in any second, at most this much more than the rate is accepted.
const CATCH_UP_NS: u64 = 10_000_000;

/// Turns at equal intervals, in the order in which clients came. All numbers are nanoseconds of the caller's clock.
#[derive(Debug)]
pub(crate) struct AcceptRate {
    /// Interval between two turns; zero: no limit.
    interval: u64,
    wait_max: u64,
    /// Clients that are waiting for a turn or taking it.
    waiting: AtomicU64,
    /// The time of the next turn. Only the holder of the lock changes it.
    next: AtomicU64,
    turn: Mutex<()>,
}

/// The queue is longer than anybody should wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// A turn is available after this.
    pub(crate) come_back_after: Duration,
}

/// Counts as waiting until it is dropped.
struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AcceptRate {
    /// `per_second` of 0: no limit. Clients that would wait longer than `wait_max` are refused.
    pub(crate) fn new(per_second: u32, wait_max: Duration) -> Self {
        Self {
            interval: 1_000_000_000_u64.checked_div(per_second.into()).unwrap_or(0),
            wait_max: nanoseconds(wait_max),
            waiting: AtomicU64::new(0),
            next: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    /// Waits for its turn.
    pub(crate) async fn turn(&self, clock: Clock) -> Result<(), TooMany> {
        if self.interval == 0 {
            return Ok(());
        }
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let wait = self.wait(clock.now_ns()).saturating_add(ahead.saturating_mul(self.interval));
        if wait > self.wait_max {
            return Err(TooMany { come_back_after: Duration::from_nanos(wait) });
        }
        let _turn = self.turn.lock().await;
        loop {
            match self.wait(clock.now_ns()) {
                0 => break,
                wait => tokio::time::sleep(Duration::from_nanos(wait)).await,
            }
        }
        self.took(clock.now_ns());
        Ok(())
    }

    /// Time until the next turn.
    fn wait(&self, now_ns: u64) -> u64 {
        self.next.load(Ordering::Relaxed).saturating_sub(now_ns)
    }

    fn took(&self, now_ns: u64) {
        let turn = self.next.load(Ordering::Relaxed).max(now_ns.saturating_sub(CATCH_UP_NS));
        self.next.store(turn + self.interval, Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MILLISECOND;

    /// How many turns a caller gets who asks at these moments.
    fn taken(rate: &AcceptRate, moments: impl Iterator<Item = u64>) -> u64 {
        let mut taken = 0;
        for now_ns in moments {
            while rate.wait(now_ns) == 0 {
                rate.took(now_ns);
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn a_crowd_is_spread_even_with_late_timers() {
        for step_ms in [1, 3, 7] {
            let rate = AcceptRate::new(400, Duration::ZERO);
            for second in 1..4 {
                let moments = (second * 1000..(second + 1) * 1000).step_by(step_ms);
                let taken = taken(&rate, moments.map(|ms| ms * MILLISECOND));
                assert!((396..=405).contains(&taken), "{taken} in a second, looked at every {step_ms} ms");
            }
        }
    }

    #[test]
    fn idle_time_and_stalls_save_up_no_turns() {
        let rate = AcceptRate::new(400, Duration::ZERO);
        assert_eq!(
            taken(&rate, [SECOND].into_iter()),
            5,
            "four for the 10 ms that are made up for, and its own"
        );
        assert_eq!(taken(&rate, [SECOND].into_iter()), 0);
        assert_eq!(taken(&rate, [60 * SECOND].into_iter()), 5);
    }

    #[tokio::test]
    async fn clients_that_would_wait_too_long_are_refused_with_the_time_to_wait() {
        let clock = Clock::start();
        let rate = AcceptRate::new(1, Duration::ZERO);
        assert_eq!(rate.turn(clock).await, Ok(()));
        let TooMany { come_back_after } = rate.turn(clock).await.unwrap_err();
        assert!(come_back_after <= Duration::from_secs(1), "{come_back_after:?}");
        // A waiting client counts only until it leaves.
        let patient = AcceptRate { wait_max: u64::MAX, ..AcceptRate::new(1, Duration::ZERO) };
        assert_eq!(patient.turn(clock).await, Ok(()));
        let mut waits = Box::pin(patient.turn(clock));
        let once = std::future::ready(());
        let is_waiting = tokio::select! { biased; _ = waits.as_mut() => false, () = once => true };
        assert!(is_waiting);
        assert_eq!(patient.waiting.load(Ordering::Relaxed), 1);
        drop(waits);
        assert_eq!(patient.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn without_a_rate_there_is_no_limit() {
        let (clock, rate) = (Clock::start(), AcceptRate::new(0, Duration::ZERO));
        for _ in 0..10_000 {
            assert_eq!(rate.turn(clock).await, Ok(()));
        }
    }
}
