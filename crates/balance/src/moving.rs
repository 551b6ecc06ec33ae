//! Connections between two servers: shed by one, not back yet on another.

use std::collections::{BTreeMap, VecDeque};

use crate::Fleet;

/// A shed connection counts until it is back, but at most for this long.
const AWAY_MAX_MS: u64 = 15_000;

/// Counts connections as if all shed ones were back.
///
/// It is not known whether a connection is one of them, only how many each server has: after an order to shed,
/// departures make some server emptier, and arrivals make some server fuller. The sum alone would hide a return
/// behind another connection's end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moving {
    orders: VecDeque<Batch>,
    last: Option<Last>,
}

/// The previous look.
#[derive(Debug, Clone)]
struct Last {
    servers: BTreeMap<String, u64>,
    elsewhere: u64,
    waiting: u64,
}

impl Last {
    fn of(fleet: &Fleet, waiting: u64) -> Self {
        let servers = fleet.servers.iter().map(|server| (server.name.clone(), server.connections)).collect();
        Self { servers, elsewhere: fleet.elsewhere, waiting }
    }

    /// How many left since then, how many came, and how many were on servers that are no longer listed.
    fn changed(mut self, now: &Self) -> (u64, u64, u64) {
        let (mut left, mut came) = (0_u64, 0_u64);
        let mut change = |before: u64, after: u64| {
            left = left.saturating_add(before.saturating_sub(after));
            came = came.saturating_add(after.saturating_sub(before));
        };
        for (name, count) in &now.servers {
            change(self.servers.remove(name).unwrap_or(0), *count);
        }
        // Sessions of a draining or vanished server are listed elsewhere until they end or expire.
        let gone = self.servers.into_values().fold(0, u64::saturating_add);
        change(gone.saturating_add(self.elsewhere), now.elsewhere);
        // A waiting client that gets in is not a shed one; a shed client that has to wait is known again.
        let got_in = self.waiting.saturating_sub(now.waiting);
        let turned_away = now.waiting.saturating_sub(self.waiting);
        (left, came.saturating_sub(got_in).saturating_add(turned_away), gone)
    }
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

    /// The existing connections, those that were refused for lack of room (`waiting`), and those that are away.
    pub(crate) fn count(&mut self, now_ms: u64, fleet: &Fleet, waiting: u64) -> u64 {
        self.orders.retain(|batch| batch.until_ms > now_ms);
        let now = Last::of(fleet, waiting);
        let (mut left, mut back, gone) = self.last.take().map_or((0, 0, 0), |last| last.changed(&now));
        self.last = Some(now);
        // A server that is removed sends its clients to the others, like one that sheds.
        self.shed(now_ms, gone);
        for batch in &mut self.orders {
            let leaves = left.min(batch.leaving);
            batch.leaving -= leaves;
            batch.away += leaves;
            left -= leaves;
            let returns = back.min(batch.away);
            batch.away -= returns;
            back -= returns;
        }
        let there = fleet.connections().saturating_add(waiting);
        self.orders.iter().fold(there, |sum, batch| sum.saturating_add(batch.away))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Server, Traffic};

    /// Servers with these connections, and sessions of vanished servers.
    fn fleet(connections: &[u64], elsewhere: u64) -> Fleet {
        let servers = connections.iter().enumerate().map(|(index, &connections)| Server {
            name: format!("ws-{index}"),
            connections,
            capacity: 10,
            traffic: Traffic::Active,
            ready: true,
            deletion_cost: 0,
        });
        Fleet { servers: servers.collect(), elsewhere, ..Fleet::default() }
    }

    /// The counts at each tick, after four connections were shed at the first.
    fn counted(looks: &[(u64, Fleet, u64)]) -> Vec<u64> {
        let mut moving = Moving::default();
        let mut counts = Vec::new();
        for (index, (now_ms, fleet, waiting)) in looks.iter().enumerate() {
            counts.push(moving.count(*now_ms, fleet, *waiting));
            if index == 0 {
                moving.shed(*now_ms, 4);
            }
        }
        counts
    }

    #[test]
    fn shed_sessions_count_until_they_return() {
        let of = |at_s: u64, first, second| (at_s * 1_000, fleet(&[first, second], 0), 0);
        let looks = [of(0, 9, 0), of(1, 9, 0), of(2, 5, 0), of(6, 5, 3), of(7, 5, 4), of(8, 5, 5)];
        assert_eq!(counted(&looks), [9, 9, 9, 9, 9, 10], "nobody left yet; away; back; and one more came");
    }

    #[test]
    fn shed_sessions_count_for_15_seconds_at_most() {
        let of = |at_ms: u64, first| (at_ms, fleet(&[first, 0], 0), 0);
        assert_eq!(counted(&[of(0, 9), of(14_999, 5), of(15_000, 5)]), [9, 9, 5]);
    }

    #[test]
    fn clients_that_leave_on_their_own_do_not_count() {
        assert_eq!(counted(&[(0, fleet(&[20], 0), 0), (1_000, fleet(&[10], 0), 0)]), [20, 14]);
    }

    #[test]
    fn a_return_is_noticed_while_others_leave() {
        let looks =
            [(0, fleet(&[11, 7], 0), 0), (1_000, fleet(&[7, 10], 0), 0), (2_000, fleet(&[1, 11], 0), 0)];
        assert_eq!(counted(&looks), [18, 18, 12]);
    }

    #[test]
    fn clients_of_a_removed_server_count_until_they_return() {
        let looks = [
            (0, fleet(&[9, 0, 7], 0), 0),
            (1_000, fleet(&[5, 4], 7), 0),
            (2_000, fleet(&[5, 4], 0), 0),
            (3_000, fleet(&[9, 7], 0), 0),
        ];
        assert_eq!(counted(&looks), [16, 16, 16, 16]);
        let of = |at_ms: u64, sizes: &[u64]| (at_ms, fleet(sizes, 0), 0);
        assert_eq!(
            counted(&[of(0, &[0, 2]), of(1_000, &[0]), of(2_000, &[1]), of(16_000, &[1])]),
            [2, 2, 2, 1]
        );
    }

    #[test]
    fn sessions_of_a_vanished_server_are_not_returns() {
        let looks = [
            (0, fleet(&[9, 0, 7], 0), 0),
            (1_000, fleet(&[5, 0, 7], 0), 0),
            (2_000, fleet(&[5, 0], 7), 0),
            (17_000, fleet(&[5, 0], 0), 0),
        ];
        assert_eq!(counted(&looks), [16, 16, 16, 5]);
    }

    #[test]
    fn a_waiting_client_that_gets_in_is_not_a_return_and_a_shed_client_may_wait() {
        let gets_in =
            [(0, fleet(&[9, 0], 0), 2), (1_000, fleet(&[5, 0], 0), 2), (2_000, fleet(&[5, 2], 0), 0)];
        assert_eq!(counted(&gets_in), [11, 11, 11]);
        let turned_away = [(0, fleet(&[9], 0), 0), (1_000, fleet(&[5], 0), 0), (2_000, fleet(&[5], 0), 4)];
        assert_eq!(counted(&turned_away), [9, 9, 9]);
    }
}
