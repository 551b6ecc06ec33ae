//! Pending connects, in the order of their deadlines.
//!
//! All have the same time-out, so the queue is always sorted and no session needs a timer. Entries whose session is
//! connected or gone are dropped when they reach the front.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Above this, the queue's memory is released once it is empty.
const KEPT: usize = 256;

/// A session, and a number that distinguishes this attempt to connect from all others under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) key: usize,
    pub(super) serial: u32,
}

#[derive(Debug)]
pub(super) struct Connects {
    timeout: Duration,
    queue: VecDeque<(Instant, Pending)>,
}

impl Connects {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, queue: VecDeque::new() }
    }

    /// Notes a connect that started at `now`, which must not be before an earlier call's `now`.
    pub(super) fn began(&mut self, pending: Pending, now: Instant) {
        self.queue.push_back((now + self.timeout, pending));
    }

    /// Drops entries from the front for which `settled` holds; returns when the first other one is due.
    pub(super) fn next_due(&mut self, settled: impl Fn(Pending) -> bool) -> Option<Instant> {
        while let Some(&(due, pending)) = self.queue.front() {
            if !settled(pending) {
                return Some(due);
            }
            self.queue.pop_front();
        }
        if self.queue.capacity() > KEPT {
            self.queue.shrink_to(KEPT);
        }
        None
    }

    /// The next one that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Pending> {
        let &(due, pending) = self.queue.front()?;
        if due > now {
            return None;
        }
        self.queue.pop_front();
        Some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_connects_are_skipped_and_the_rest_time_out_in_order() {
        let start = clock::now();
        let mut connects = Connects::new(Duration::from_secs(5));
        let pending = |key| Pending { key, serial: 0 };
        for key in 0..3 {
            connects.began(pending(key), start + Duration::from_secs(key as u64));
        }
        assert_eq!(connects.next_due(|pending| pending.key == 0), Some(start + Duration::from_secs(6)));
        assert_eq!(connects.pop_due(start + Duration::from_secs(5)), None);
        assert_eq!(connects.pop_due(start + Duration::from_secs(6)), Some(pending(1)));
        assert_eq!(connects.next_due(|_| true), None);
    }
}
