//! Which of several backends takes the next connection.
//!
//! Least-request compares the number of connections each candidate has *through this process*. Two independent
//! draws with replacement are compared and the strictly smaller count wins, else the first draw: Envoy's
//! algorithm, and what the simulator models. An empty second backend therefore gets 75 % of what comes, not all.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// How a backend is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The better of two draws with replacement.
    #[default]
    LeastRequest,
    /// The one with the fewest connections of all; ties go to the next in turn.
    LeastRequestFullScan,
    /// One after the other.
    RoundRobin,
    /// Any, with equal chances.
    Random,
}

impl Policy {
    /// The names as they are written in settings, in the order of the variants.
    pub const NAMES: [&'static str; 4] =
        ["least-request", "least-request-full-scan", "round-robin", "random"];

    /// The policy of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "least-request" => Some(Self::LeastRequest),
            "least-request-full-scan" => Some(Self::LeastRequestFullScan),
            "round-robin" => Some(Self::RoundRobin),
            "random" => Some(Self::Random),
            _ => None,
        }
    }
}

/// A policy with what it remembers between two choices.
#[derive(Debug)]
pub(crate) struct Selector {
    policy: Policy,
    random: Pcg32,
    /// Where round robin goes on, and where a full scan begins.
    turn: usize,
}

impl Selector {
    /// Equal seeds make equal choices from equal loads.
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        Self { policy, random: Pcg32::seed_from_u64(seed), turn: 0 }
    }

    /// The index of the chosen one of `candidates`, whose connections `load` counts; `None` if there is none.
    pub(crate) fn pick(&mut self, candidates: usize, load: impl Fn(usize) -> u64) -> Option<usize> {
        match candidates {
            0 => return None,
            1 => return Some(0),
            _ => {}
        }
        Some(match self.policy {
            Policy::LeastRequest => {
                let first = self.random.random_range(0..candidates);
                let second = self.random.random_range(0..candidates);
                if load(second) < load(first) { second } else { first }
            }
            Policy::LeastRequestFullScan => {
                // The scan begins one further each time; otherwise equal backends would fill in order.
                let start = self.advance(candidates);
                (0..candidates)
                    .map(|step| (start + step) % candidates)
                    .min_by_key(|&index| load(index))
                    .unwrap_or(start)
            }
            Policy::RoundRobin => self.advance(candidates),
            Policy::Random => self.random.random_range(0..candidates),
        })
    }

    fn advance(&mut self, candidates: usize) -> usize {
        let index = self.turn % candidates;
        self.turn = index + 1;
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each of `loads` is chosen in `rounds` choices.
    fn shares(policy: Policy, loads: &[u64], rounds: u32) -> Vec<f64> {
        let mut selector = Selector::new(policy, 7);
        let mut hits = vec![0_u32; loads.len()];
        for _ in 0..rounds {
            hits[selector.pick(loads.len(), |index| loads[index]).unwrap()] += 1;
        }
        hits.into_iter().map(|hits| f64::from(hits) / f64::from(rounds)).collect()
    }

    fn assert_near(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 0.01, "{actual} is not near {expected}");
    }

    #[test]
    fn an_empty_second_backend_gets_three_quarters() {
        let shares = shares(Policy::LeastRequest, &[5_000, 0], 100_000);
        assert_near(shares[0], 0.25);
        assert_near(shares[1], 0.75);
    }

    #[test]
    fn equal_loads_share_equally() {
        for share in shares(Policy::LeastRequest, &[3, 3, 3, 3], 100_000) {
            assert_near(share, 0.25);
        }
    }

    #[test]
    fn the_fullest_of_three_is_chosen_only_when_drawn_twice() {
        let shares = shares(Policy::LeastRequest, &[9, 1, 5], 100_000);
        assert_near(shares[0], 1.0 / 9.0);
        assert_near(shares[1], 5.0 / 9.0);
        assert_near(shares[2], 3.0 / 9.0);
    }

    #[test]
    fn a_full_scan_takes_the_least_and_turns_among_equals() {
        let mut selector = Selector::new(Policy::LeastRequestFullScan, 1);
        assert_eq!(selector.pick(3, |index| [4, 2, 9][index]), Some(1));
        let mut loads = [0_u64; 3];
        for _ in 0..9 {
            let chosen = selector.pick(3, |index| loads[index]).unwrap();
            loads[chosen] += 1;
        }
        assert_eq!(loads, [3, 3, 3]);
    }

    #[test]
    fn round_robin_survives_a_change_of_number() {
        let mut selector = Selector::new(Policy::RoundRobin, 1);
        let picks: Vec<_> = (0..4).filter_map(|_| selector.pick(3, |_| 0)).collect();
        assert_eq!(picks, [0, 1, 2, 0]);
        assert_eq!(selector.pick(2, |_| 0), Some(1));
        assert_eq!(selector.pick(2, |_| 0), Some(0));
    }

    #[test]
    fn random_ignores_loads() {
        for share in shares(Policy::Random, &[0, 1_000_000], 100_000) {
            assert_near(share, 0.5);
        }
    }

    #[test]
    fn nothing_and_one_need_no_choice() {
        for name in Policy::NAMES {
            let mut selector = Selector::new(Policy::from_name(name).unwrap(), 1);
            assert_eq!(selector.pick(0, |_| 0), None);
            assert_eq!(selector.pick(1, |_| 0), Some(0));
        }
        assert_eq!(Policy::from_name("fastest"), None);
    }
}
