//! Rows as text.

use std::fmt::Write;

use crate::{
    figures::Unit,
    results::{Outcome, Row, Verdict},
    stats::Spread,
    strace::Counts,
};

/// A row as text: each goal and its result, then each contestant's results.
pub(crate) fn row_in_words(row: &Row) -> String {
    let mut text = format!("{}: {}\n", row.name, row.about);
    for outcome in &row.figures {
        for verdict in &outcome.verdicts {
            let against = verdict.goal.against().map(|other| format!(" against {}", other.name()));
            let _ = writeln!(
                text,
                "  {:28} {:24} goal {:12} {}",
                format!("{}{}", outcome.title, against.unwrap_or_default()),
                reached(outcome, verdict),
                verdict.goal.in_words(outcome.unit),
                judgement(verdict)
            );
        }
        for series in &outcome.series {
            let _ = writeln!(
                text,
                "    {:10} {:28} {}",
                series.contestant.name(),
                outcome.title,
                spread(series.spread, outcome.unit)
            );
        }
    }
    text
}

/// `0.95 × (0.93–0.97)`, or values with their unit if the goal is one.
pub(super) fn reached(outcome: &Outcome, verdict: &Verdict) -> String {
    if verdict.goal.against().is_some() {
        let Spread { median, min, max } = verdict.reached;
        format!("{} × ({}–{})", ratio(median), ratio(min), ratio(max))
    } else {
        spread(verdict.reached, outcome.unit)
    }
}

/// Two digits after the point, or as many as a small ratio needs.
fn ratio(value: f64) -> String {
    if value < 0.1 { format!("{value:.3}") } else { format!("{value:.2}") }
}

pub(super) fn judgement(verdict: &Verdict) -> String {
    if verdict.met {
        "met".to_owned()
    } else {
        let percent = verdict.goal.shortfall(verdict.reached.median) * 100.0;
        if !percent.is_finite() {
            return "missed".to_owned();
        }
        let digits = usize::from(percent < 9.95);
        format!("missed by {percent:.digits$} %")
    }
}

/// `412 k/CPU s (401 k/CPU s–420 k/CPU s)`.
pub(super) fn spread(spread: Spread, unit: Unit) -> String {
    format!("{} ({}–{})", unit.format(spread.median), unit.format(spread.min), unit.format(spread.max))
}

/// System calls of all contestants side by side.
pub(crate) fn system_calls(all: &[Counts]) -> String {
    let mut text = String::new();
    for counts in all {
        let _ = writeln!(text, "system calls per {} under {}", counts.unit, counts.work);
        for party in &counts.parties {
            let calls: Vec<_> = named(counts)
                .iter()
                .filter_map(|name| Some(format!("{name} {:.2}", party.calls.get(name)?)))
                .collect();
            let _ = writeln!(
                text,
                "  {:10} {:6.2}  {}",
                party.contestant.name(),
                party.total(),
                calls.join(", ")
            );
        }
    }
    text
}

/// The calls worth listing: those that any contestant makes at least once per hundred units, the most frequent first.
pub(super) fn named(counts: &Counts) -> Vec<String> {
    let mut most: Vec<(String, f64)> = Vec::new();
    for (name, &calls) in counts.parties.iter().flat_map(|party| &party.calls) {
        match most.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = known.max(calls),
            None => most.push((name.clone(), calls)),
        }
    }
    most.retain(|&(_, calls)| calls >= 0.01);
    most.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    most.into_iter().map(|(name, _)| name).collect()
}
