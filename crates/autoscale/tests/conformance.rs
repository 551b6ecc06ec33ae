//! Agreement with recorded behaviour of the upstream controller: every line, every field.

#[path = "replay/check.rs"]
mod check;

use std::path::Path;

use check::check_file;

fn agrees(file: &str, at_least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let outcomes = check_file(&path).expect("the vectors are in the repository");
    assert!(outcomes.len() >= at_least, "only {} lines in {file}", outcomes.len());
    let differing: Vec<_> = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).collect();
    let shown: Vec<_> = differing.iter().take(5).map(|o| format!("{}: {}", o.id, o.differences[0])).collect();
    assert!(
        differing.is_empty(),
        "{} of {} lines differ ({:?}):\n{}",
        differing.len(),
        outcomes.len(),
        check::tally(&outcomes),
        shown.join("\n")
    );
}

#[test]
fn the_replica_calculator_agrees_with_upstream() {
    agrees("calculator.jsonl.gz", 3095);
}

#[test]
fn the_whole_controller_agrees_with_upstream() {
    agrees("trajectories.jsonl.gz", 1116);
}

#[test]
fn quantities_agree_with_upstream() {
    agrees("quantities.jsonl.gz", 300);
}

#[test]
fn a_line_that_cannot_be_read_disagrees() {
    for line in ["", "{", "{}", r#"{"call":{}}"#, r#"{"ticks":[]}"#, r#"{"s":"1","ok":true,"milli":1}"#] {
        assert!(!check::check_line(line, "here").differences.is_empty(), "{line}");
    }
}
