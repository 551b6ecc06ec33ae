//! A few hundred random histories; `cargo run --release -p controller --example histories` plays many more.

mod histories;

use histories::{Plans, play};

#[test]
fn what_must_hold_holds_in_random_histories() {
    let plans = Plans::new();
    for seed in 0..300 {
        if let Err(fault) = play(seed, &plans, &mut |_, _, _| {}) {
            panic!("{fault}");
        }
    }
}

#[test]
fn equal_seeds_give_equal_effects() {
    let plans = Plans::new();
    let tell = |seed| {
        let mut steps = Vec::new();
        let played = play(seed, &plans, &mut |now, input, effects| {
            steps.push(format!("{now:?} {input:?} {effects:?}"));
        });
        assert!(played.is_ok_and(|inputs| inputs >= 200 && inputs <= steps.len() as u64), "{seed}");
        steps
    };
    for seed in 1_000..1_010 {
        assert_eq!(tell(seed), tell(seed), "seed {seed}");
    }
}
