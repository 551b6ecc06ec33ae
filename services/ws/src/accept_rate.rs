//! How many new sessions a second are accepted: the rest wait for their turn.
//!
//! After a replica was killed all its clients come to the others at once. Spread over time they cost the survivors no
//! more than their share, and nobody has to be refused.

use std::time::Duration;

use parking_lot::Mutex;

/// Turns at equal distances. All numbers are nanoseconds, of the caller's clock.
#[derive(Debug)]
pub(crate) struct AcceptRate {
    /// Between two turns; zero: no limit.
    interval: u64,
    wait_max: u64,
    next: Mutex<u64>,
}

/// The queue is longer than anybody should wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// After this there is a turn.
    pub(crate) come_back_after: Duration,
}

impl AcceptRate {
    /// `per_second` of 0 is no limit. Who would have to wait longer than `wait_max` is refused.
    pub(crate) fn new(per_second: u32, wait_max: Duration) -> Self {
        let interval = 1_000_000_000_u64.checked_div(per_second.into()).unwrap_or(0);
        Self { interval, wait_max: nanoseconds(wait_max), next: Mutex::new(0) }
    }

    /// Takes the next turn and says how long to wait for it.
    pub(crate) fn take_turn(&self, now_ns: u64) -> Result<Duration, TooMany> {
        if self.interval == 0 {
            return Ok(Duration::ZERO);
        }
        let mut next = self.next.lock();
        let turn = now_ns.max(*next);
        let wait = turn - now_ns;
        if wait > self.wait_max {
            return Err(TooMany { come_back_after: Duration::from_nanos(wait) });
        }
        *next = turn + self.interval;
        Ok(Duration::from_nanos(wait))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_crowd_is_spread_and_an_idle_time_saves_up_nothing() {
        let rate = AcceptRate::new(10, Duration::from_secs(1));
        let waits: Vec<u64> = (0..11).map(|_| rate.take_turn(0).unwrap().as_millis() as u64).collect();
        assert_eq!(waits, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]);
        assert_eq!(rate.take_turn(0), Err(TooMany { come_back_after: Duration::from_millis(1100) }));
        assert_eq!(rate.take_turn(60 * SECOND), Ok(Duration::ZERO));
        assert_eq!(rate.take_turn(60 * SECOND), Ok(Duration::from_millis(100)));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rate = AcceptRate::new(0, Duration::ZERO);
        assert!((0..10_000).all(|_| rate.take_turn(7) == Ok(Duration::ZERO)));
    }
}
