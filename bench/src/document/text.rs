//! The document's text.

use std::{collections::BTreeMap, fmt::Write};

use super::table::{judgement, named, reached, spread};
use crate::results::{Results, Row};

/// The hand-written part: the model, what was tried, what the figures mean. Figures are only in the tables.
const MODEL: &str = include_str!("model.md");

pub(super) fn markdown(results: &Results) -> String {
    let mut text = String::from(
        "<!-- Made by `cargo run --release -p bench`; edit bench/src/document/model.md for the last chapters. -->
# Performance

One command makes every figure of this page:

```
cargo run --release -p bench              # all of it
cargo run --release -p bench -- idle      # one row; --list names them
```

![Distance of each figure from its goal](performance.svg)

",
    );
    conditions(&mut text, results);
    goals(&mut text, results);
    values(&mut text, results);
    system_calls(&mut text, results);
    text.push_str(MODEL);
    text
}

fn conditions(text: &mut String, results: &Results) {
    let mut versions: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, version) in results.rows.iter().flat_map(|row| &row.versions) {
        versions.insert(name, version);
    }
    let _ = writeln!(text, "## Conditions\n\n- Machine: {}", results.machine.in_words());
    for (name, version) in versions {
        let _ = writeln!(text, "- {name}: {version}");
    }
    text.push_str(
        "- Contestants alternate within a run, on loopback; a ratio is the median of the ratios of the rounds, with its range.
- CPU time counts the contestant's process, all threads, from `/proc/PID/task/*/schedstat`; memory is the sum of its
  resident pages.
- Proxies run with the files, arguments and variables that `playctl up` gives them with its default values: one I/O
  thread, least request, HTTP health checks once a second, no access log. Each has two replicas. Some rows change that:
  two threads where the name ends in `-2`, HAProxy's `splice-auto` where the row says so, and a listener for datagrams in
  Envoy (`bench/src/contestant/proxy.rs`).
- The reference is the minimum that does the same work: level-triggered epoll, one read and one write a message, no
  features (`bench/src/reference/`).

",
    );
}

fn goals(text: &mut String, results: &Results) {
    text.push_str(
        "## Goals

| row | figure | against | goal | reached, median (range) | |
|---|---|---|---|---|---|
",
    );
    for (row, outcome, verdict) in results.verdicts() {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            row.name,
            outcome.title,
            verdict.goal.against().map_or("", |other| other.name()),
            verdict.goal.in_words(outcome.unit),
            reached(outcome, verdict),
            if verdict.met { "met".to_owned() } else { format!("**{}**", judgement(verdict)) },
        );
    }
    let missed: Vec<_> = results.verdicts().filter(|(_, _, verdict)| !verdict.met).collect();
    text.push('\n');
    if missed.is_empty() {
        text.push_str("All goals that were measured are met.\n\n");
    } else {
        text.push_str("Not met:\n\n");
        for (row, outcome, verdict) in missed {
            let _ = writeln!(
                text,
                "- `{}`, {}{}: {} where {} was the goal, {}.",
                row.name,
                outcome.title,
                verdict.goal.against().map_or(String::new(), |other| format!(" against {}", other.name())),
                reached(outcome, verdict),
                verdict.goal.in_words(outcome.unit),
                judgement(verdict),
            );
        }
        text.push('\n');
    }
}

fn values(text: &mut String, results: &Results) {
    text.push_str("## What each contestant reached\n\n");
    for row in &results.rows {
        let _ = writeln!(text, "**`{}`**: {} ({}).\n", row.name, row.about, length(row));
        text.push_str("| figure | contestant | median (range) |\n|---|---|---|\n");
        for outcome in &row.figures {
            for series in &outcome.series {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} |",
                    outcome.title,
                    series.contestant.name(),
                    spread(series.spread, outcome.unit)
                );
            }
        }
        text.push('\n');
    }
}

fn length(row: &Row) -> String {
    let length = format!("{} rounds of {} s, {} UTC", row.rounds, row.seconds, row.taken);
    match &row.machine {
        None => length,
        Some(other) => format!("{length}, on another machine: {}", other.in_words()),
    }
}

fn system_calls(text: &mut String, results: &Results) {
    if results.system_calls.is_empty() {
        return;
    }
    text.push_str(
        "## System calls, ours next to theirs

By `strace -c` over three seconds of the same loads. A traced process is slow, so it finds more to do at each wake-up:
waits are fewer than untraced, the other calls are not.

",
    );
    for counts in &results.system_calls {
        let names: Vec<_> = counts.parties.iter().map(|party| party.contestant.name()).collect();
        let _ = writeln!(
            text,
            "| `{}`, calls per {} | {} |\n|---|{}",
            counts.work,
            counts.unit,
            names.join(" | "),
            "---:|".repeat(names.len())
        );
        for name in named(counts) {
            let cells: Vec<_> = (counts.parties.iter())
                .map(|party| party.calls.get(&name).map_or(String::new(), |calls| format!("{calls:.2}")))
                .collect();
            let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
        }
        let totals: Vec<_> = counts.parties.iter().map(|party| format!("**{:.2}**", party.total())).collect();
        let _ = writeln!(text, "| **all** | {} |\n", totals.join(" | "));
    }
}

#[cfg(test)]
mod tests;
