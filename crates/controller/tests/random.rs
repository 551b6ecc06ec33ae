//! A few hundred random histories; `cargo run --release -p controller --example histories` plays many more.

mod histories;

use controller::{Effect, Input, Time};
use histories::{Observer, Plans, play};

/// All steps of a history.
#[derive(Default)]
struct Told(Vec<String>);

impl Observer for Told {
    fn steps(&mut self, now: Time, input: &Input, effects: &[Effect]) {
        self.0.push(format!("{now:?} {input:?} {effects:?}"));
    }
}

#[test]
fn invariants_hold_in_random_histories() {
    let plans = Plans::new();
    for seed in 0..300 {
        if let Err(fault) = play(seed, &plans, None) {
            panic!("{fault}");
        }
    }
}

#[test]
fn equal_seeds_give_equal_effects() {
    let plans = Plans::new();
    let tell = |seed| {
        let mut told = Told::default();
        let played = play(seed, &plans, Some(&mut told));
        assert!(played.is_ok_and(|inputs| inputs >= 200 && inputs == told.0.len() as u64), "{seed}");
        told.0
    };
    for seed in 1_000..1_010 {
        assert_eq!(tell(seed), tell(seed), "seed {seed}");
    }
}
