//! Agreement with recorded behaviour of the upstream controller: every line, every field.

#[path = "replay/check.rs"]
mod check;

use std::{fs, io::Write as _, path::Path};

use check::check_file;
use flate2::{Compression, write::GzEncoder};

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

/// Whether each line of a file with this content agrees.
fn agreeing(content: &[u8]) -> Vec<bool> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("lines.jsonl");
    fs::write(&path, content).expect("written");
    let outcomes = check_file(&path).expect("it can be opened");
    outcomes.iter().map(|outcome| outcome.differences.is_empty()).collect()
}

/// A line that agrees with upstream, with a unique name so that lines do not compress too well.
fn line(number: usize) -> String {
    format!(
        r#"{{"id":"{:016x}","s":"5k","ok":true,"milli":5000000,"float":5000}}"#,
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    )
}

#[test]
fn every_line_counts_except_the_final_newline() {
    let one = line(1);
    assert_eq!(agreeing(one.as_bytes()), [true]);
    assert_eq!(agreeing(format!("{one}\n").as_bytes()), [true]);
    assert_eq!(agreeing(format!("{one}\n\n{one}\n").as_bytes()), [true, false, true], "a blank line");
    assert_eq!(agreeing(format!("{one}\n  \n").as_bytes()), [true, false]);
    assert_eq!(agreeing(format!("{one}\n\n").as_bytes()), [true, false]);
    assert_eq!(agreeing(&[one.as_bytes(), b"\n\xff\n", one.as_bytes()].concat()), [true, false, true]);
    assert!(agreeing(b"").is_empty());
}

#[test]
fn lines_before_a_cut_count_and_the_rest_disagrees() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..2000 {
        writeln!(encoder, "{}", line(number)).expect("memory");
    }
    let whole = encoder.finish().expect("memory");
    assert_eq!(agreeing(&whole), [true; 2000]);
    let cut = agreeing(&whole[..whole.len() / 2]);
    let (last, read) = cut.split_last().expect("outcomes");
    assert!(!last, "the rest");
    assert!(read.len() > 100 && read.len() < 2000 && read.iter().all(|agrees| *agrees), "{}", read.len());
}
