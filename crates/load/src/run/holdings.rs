//! Who held which pair when, as seen by the clients: never two at the same time.

use std::collections::{HashMap, VecDeque};

use scenario::Scenario;

use crate::messages::Held;

/// Number of the latest periods kept per pair. They are compared when they end, so each with those that ended during
/// it, and these are the latest ones.
const KEPT: usize = 16;

/// The latest periods in which each pair was held.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    by_pair: HashMap<u64, VecDeque<Held>>,
    /// How often two clients held a pair at the same time.
    pub(super) twice: u64,
    /// The first time, in words, until it has been reported.
    pub(super) first: Option<String>,
}

impl Holdings {
    pub(super) fn add(&mut self, held: Held) {
        let of_pair = self.by_pair.entry(held.pair).or_default();
        for other in of_pair.iter().filter(|other| other.overlaps(&held)) {
            if self.twice == 0 {
                self.first = Some(words(other, &held));
            }
            self.twice += 1;
        }
        if of_pair.len() == KEPT {
            of_pair.pop_front();
        }
        of_pair.push_back(held);
    }
}

impl Held {
    fn overlaps(&self, other: &Self) -> bool {
        self.from_ms < other.to_ms && other.from_ms < self.to_ms
    }
}

fn words(one: &Held, other: &Held) -> String {
    let (user, profile) = Scenario::pair(one.pair);
    let span = |held: &Held| {
        let seconds = |ms: u32| f64::from(ms) / 1000.0;
        format!(
            "client {} from {:.3} s to {:.3} s",
            held.client + 1,
            seconds(held.from_ms),
            seconds(held.to_ms)
        )
    };
    format!("user {user} and profile {profile} were held by two at once: {} and {}", span(one), span(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(spans: &[(u64, u32, u32)]) -> u64 {
        let mut holdings = Holdings::default();
        for (client, (pair, from_ms, to_ms)) in (0..).zip(spans) {
            holdings.add(Held { pair: *pair, client, from_ms: *from_ms, to_ms: *to_ms });
        }
        assert_eq!(holdings.first.is_some(), holdings.twice > 0);
        holdings.twice
    }

    #[test]
    fn overlapping_times_of_one_pair_are_found_in_any_order() {
        assert_eq!(twice(&[(1, 0, 10), (1, 20, 30), (2, 0, 30), (1, 10, 20)]), 0);
        // The end within, the start within, all of it within, one event within, and the same period.
        for (from, to) in [(0, 11), (19, 30), (5, 30), (15, 16), (10, 20)] {
            assert_eq!(twice(&[(1, 10, 20), (1, from, to)]), 1, "{from} to {to}");
            assert_eq!(twice(&[(1, from, to), (1, 10, 20)]), 1, "{from} to {to}");
        }
        assert_eq!(twice(&[(1, 10, 20), (1, 15, 15)]), 1);
        assert_eq!(twice(&[(1, 0, 10), (1, 20, 30), (1, 5, 25)]), 2);
    }

    #[test]
    fn a_long_holding_is_compared_with_all_that_ended_meanwhile() {
        let mut spans: Vec<(u64, u32, u32)> = (0..1000).map(|turn| (1, turn * 10, turn * 10 + 9)).collect();
        assert_eq!(twice(&spans), 0);
        spans.push((1, 5, 10_000));
        assert!(twice(&spans) > 0);
        let mut holdings = Holdings::default();
        for (pair, from_ms, to_ms) in spans {
            holdings.add(Held { pair, client: 0, from_ms, to_ms });
        }
        assert_eq!(holdings.by_pair[&1].len(), KEPT);
    }

    #[test]
    fn the_first_overlap_is_described() {
        let mut holdings = Holdings::default();
        holdings.add(Held { pair: 4, client: 4, from_ms: 1_000, to_ms: 3_500 });
        holdings.add(Held { pair: 4, client: 9, from_ms: 2_250, to_ms: 9_000 });
        let words = holdings.first.unwrap();
        let expected = "user 00000000-0000-4000-8000-000000000005 and profile 00000000-0000-4000-9000-000000000005 were \
                        held by two at once: client 5 from 1.000 s to 3.500 s and client 10 from 2.250 s to 9.000 s";
        assert_eq!(words, expected);
    }
}
