//! Connections between two servers: shed here, not back yet there.

use std::collections::VecDeque;

/// A connection that was shed counts until it is back, and for this long at most.
pub const AWAY_MAX_MS: u64 = 15_000;

/// Counts connections as they will be once all that were shed are back.
///
/// Whether a connection is one of them is not known, only how the sum changes: after an order to shed, the sum falls by
/// those that left and rises by those that came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moving {
    orders: VecDeque<Batch>,
    last_sum: Option<u64>,
}

#[derive(Debug, Clone)]
struct Batch {
    until_ms: u64,
    leaving: u64,
    away: u64,
}

impl Moving {
    /// `count` connections were asked to leave.
    pub(crate) fn shed(&mut self, now_ms: u64, count: u64) {
        if count > 0 {
            let until_ms = now_ms.saturating_add(AWAY_MAX_MS);
            self.orders.push_back(Batch { until_ms, leaving: count, away: 0 });
        }
    }

    /// The connections that there are, `sum`, and those that are away.
    pub(crate) fn count(&mut self, now_ms: u64, sum: u64) -> u64 {
        self.orders.retain(|batch| batch.until_ms > now_ms);
        let last_sum = self.last_sum.replace(sum).unwrap_or(sum);
        let mut left = last_sum.saturating_sub(sum);
        let mut back = sum.saturating_sub(last_sum);
        for batch in &mut self.orders {
            let leaves = left.min(batch.leaving);
            batch.leaving -= leaves;
            batch.away += leaves;
            left -= leaves;
            let returns = back.min(batch.away);
            batch.away -= returns;
            back -= returns;
        }
        self.orders.iter().fold(sum, |sum, batch| sum.saturating_add(batch.away))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shed_counts_until_it_is_back() {
        let mut moving = Moving::default();
        assert_eq!(moving.count(0, 9), 9);
        moving.shed(0, 4);
        assert_eq!(moving.count(1_000, 9), 9, "nobody has left yet");
        assert_eq!(moving.count(2_000, 5), 9);
        assert_eq!(moving.count(6_000, 8), 9);
        assert_eq!(moving.count(7_000, 9), 9);
        assert_eq!(moving.count(8_000, 10), 10, "all are back, and one came");
    }

    #[test]
    fn it_counts_for_15_seconds_at_most() {
        let mut moving = Moving::default();
        moving.count(0, 9);
        moving.shed(0, 4);
        assert_eq!(moving.count(14_999, 5), 9);
        assert_eq!(moving.count(15_000, 5), 5);
    }

    #[test]
    fn those_who_leave_of_themselves_do_not_count() {
        let mut moving = Moving::default();
        moving.count(0, 20);
        moving.shed(0, 4);
        assert_eq!(moving.count(1_000, 10), 14);
    }
}
