//! When a replica that died is started again: kubelet's back-off.
//!
//! 10 s after the first death, doubled with every further one, at most 5 min; forgotten once the replica has run
//! for 10 min. Source: kubelet's `MaxContainerBackOff` and `backOffPeriod`. One difference: kubelet starts a
//! container again at once after its first death; here that waits 10 s as well, so that the gap is seen.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const MAX: Duration = Duration::from_mins(5);
/// Twice the longest delay, as kubelet has it.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// The back-off of one replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BackOff {
    last: Option<Duration>,
}

impl BackOff {
    /// How long to wait after a death of a replica that had run for `ran`.
    pub(crate) fn next(&mut self, ran: Duration) -> Duration {
        let delay = match self.last {
            Some(last) if ran < FORGOTTEN_AFTER => (last * 2).min(MAX),
            _ => FIRST,
        };
        self.last = Some(delay);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_minutes_and_forgets_after_ten() {
        let mut backoff = BackOff::default();
        let short = Duration::from_secs(1);
        let delays: Vec<u64> = (0..7).map(|_| backoff.next(short).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.next(FORGOTTEN_AFTER), FIRST);
        assert_eq!(backoff.next(short), FIRST * 2);
    }
}
