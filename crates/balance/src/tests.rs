use proptest::prelude::*;
use rand::SeedableRng;
use rand_pcg::Pcg32;

use super::*;

/// How often each of `loads` is chosen in `rounds` choices.
fn shares(policy: Policy, loads: &[u64], rounds: u32) -> Vec<f64> {
    let mut random = Pcg32::seed_from_u64(7);
    let mut selector = Selector::new(policy);
    let mut hits = vec![0_u32; loads.len()];
    for _ in 0..rounds {
        hits[selector.pick(&mut random, loads.len(), |index| loads[index]).unwrap()] += 1;
    }
    hits.into_iter().map(|hits| f64::from(hits) / f64::from(rounds)).collect()
}

#[track_caller]
fn assert_near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 0.01, "{actual} is not near {expected}");
}

#[test]
fn an_empty_second_replica_gets_three_quarters() {
    let shares = shares(Policy::LeastRequest, &[5_000, 0], 100_000);
    assert_near(shares[0], 0.25);
    assert_near(shares[1], 0.75);
}

#[test]
fn a_full_scan_takes_the_least_loaded_and_rotates_among_equals() {
    let mut random = Pcg32::seed_from_u64(1);
    let mut selector = Selector::new(Policy::LeastRequestFullScan);
    assert_eq!(selector.pick(&mut random, 3, |index| [4, 2, 9][index]), Some(1));
    let mut loads = [0_u64; 3];
    for _ in 0..9 {
        let chosen = selector.pick(&mut random, 3, |index| loads[index]).unwrap();
        loads[chosen] += 1;
    }
    assert_eq!(loads, [3, 3, 3]);
}

#[test]
fn round_robin_survives_a_change_of_the_replica_count() {
    let mut random = Pcg32::seed_from_u64(1);
    let mut selector = Selector::new(Policy::RoundRobin);
    let picks: Vec<_> = (0..4).filter_map(|_| selector.pick(&mut random, 3, |_| 0)).collect();
    assert_eq!(picks, [0, 1, 2, 0]);
    assert_eq!(selector.pick(&mut random, 2, |_| 0), Some(1));
    assert_eq!(selector.pick(&mut random, 2, |_| 0), Some(0));
}

#[test]
fn random_ignores_loads() {
    for share in shares(Policy::Random, &[0, 1_000_000], 100_000) {
        assert_near(share, 0.5);
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(&Policy::ALL[..])
}

proptest! {
    /// A replica wins if it is drawn and nothing emptier is. With k of the n replicas fuller than it, both draws are
    /// among those k + 1, but not both among the k: ((k + 1)² - k²) / n².
    #[test]
    fn least_request_gives_each_rank_its_share(
        loads in proptest::collection::btree_set(0..10_000_u64, 2..6).prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let n = loads.len() as f64;
        for (index, share) in shares(Policy::LeastRequest, &loads, 40_000).into_iter().enumerate() {
            let fuller = loads.iter().filter(|&&load| load > loads[index]).count() as f64;
            let expected = ((fuller + 1.0).powi(2) - fuller.powi(2)) / n.powi(2);
            prop_assert!((share - expected).abs() < 0.02, "{share} is not near {expected} of {loads:?}");
        }
    }

    #[test]
    fn equal_loads_share_equally(policy in policy(), candidates in 2..6_usize, load in any::<u64>()) {
        for share in shares(policy, &vec![load; candidates], 40_000) {
            prop_assert!((share - 1.0 / candidates as f64).abs() < 0.02, "{share} of {candidates}");
        }
    }

    /// The same seed and the same loads give the same choices, and every choice is a candidate.
    #[test]
    fn equal_seeds_choose_equally_and_within_the_candidates(
        policy in policy(),
        seed in any::<u64>(),
        steps in proptest::collection::vec(proptest::collection::vec(any::<u64>(), 0..8), 0..50),
    ) {
        let run = || {
            let mut random = Pcg32::seed_from_u64(seed);
            let mut selector = Selector::new(policy);
            let choose = |loads: &Vec<u64>| selector.pick(&mut random, loads.len(), |index| loads[index]);
            steps.iter().map(choose).collect::<Vec<_>>()
        };
        let choices = run();
        for (loads, choice) in steps.iter().zip(&choices) {
            prop_assert_eq!(choice.is_none(), loads.is_empty());
            prop_assert!(choice.is_none_or(|index| index < loads.len()));
        }
        prop_assert_eq!(choices, run());
    }

    /// A full scan never takes one that has more than another.
    #[test]
    fn a_full_scan_takes_one_of_the_emptiest(loads in proptest::collection::vec(0..5_u64, 1..8), turns in 1..20_usize) {
        let mut random = Pcg32::seed_from_u64(1);
        let mut selector = Selector::new(Policy::LeastRequestFullScan);
        for _ in 0..turns {
            let chosen = selector.pick(&mut random, loads.len(), |index| loads[index]).unwrap();
            prop_assert_eq!(Some(&loads[chosen]), loads.iter().min());
        }
    }
}
