//! Checks files of recorded controller behaviour against the engine.
//!
//! `cargo run --release -p autoscale --example conform -- FILE.jsonl.gz…` prints the agreement per category, the first
//! differences and, as its last line, `agree N of M`. The exit status is 0 only if all lines agree.

#[path = "../tests/replay/check.rs"]
mod check;

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

/// Maximum number of differing lines to show, and of differences per line.
const SHOWN_LINES: usize = 10;
const SHOWN_DIFFERENCES: usize = 5;

fn main() -> io::Result<ExitCode> {
    let files: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let mut out = io::stdout().lock();
    if files.is_empty() {
        writeln!(io::stderr(), "usage: conform FILE.jsonl.gz…")?;
        return Ok(ExitCode::from(2));
    }
    let mut outcomes = Vec::new();
    let mut unreadable_files = false;
    for file in &files {
        match check::check_file(file) {
            Ok(found) => outcomes.extend(found),
            Err(error) => {
                unreadable_files = true;
                writeln!(io::stderr(), "{}: {error}", file.display())?;
            }
        }
    }
    writeln!(out, "{:<28} {:>7} {:>7}", "category", "agree", "of")?;
    for (category, (agree, all)) in check::tally(&outcomes) {
        let mark = if agree == all { "" } else { "  differs" };
        writeln!(out, "{category:<28} {agree:>7} {all:>7}{mark}")?;
    }
    let differing = outcomes.iter().filter(|outcome| !outcome.differences.is_empty());
    for outcome in differing.clone().take(SHOWN_LINES) {
        writeln!(out, "\n{} ({})", outcome.id, outcome.category)?;
        for difference in outcome.differences.iter().take(SHOWN_DIFFERENCES) {
            writeln!(out, "  {difference}")?;
        }
        let more = outcome.differences.len().saturating_sub(SHOWN_DIFFERENCES);
        if more > 0 {
            writeln!(out, "  … and {more} more")?;
        }
    }
    let agree = outcomes.len() - differing.count();
    writeln!(out, "\nagree {agree} of {}", outcomes.len())?;
    let all_agree = !unreadable_files && !outcomes.is_empty() && agree == outcomes.len();
    Ok(if all_agree { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
