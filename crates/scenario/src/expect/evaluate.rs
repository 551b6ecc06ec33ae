//! Judges expectations by the merged stream of events.

use std::{collections::BTreeMap, time::Duration};

use platform::{
    duration,
    event::{Event, EventKind, ExpectationResult, LoadSummary},
};

use super::{Anchor, Bound, Count, Expectation, Limit, Within};
use crate::{changes, spread};

mod balance;

use balance::{Balance, Holder};

/// A change of replicas by the autoscaler, and the moments that its time may count from.
#[derive(Debug, Clone)]
struct Change {
    service: String,
    from: u32,
    to: u32,
    at_ms: u64,
    start_ms: Option<u64>,
    crossing: Option<Moment>,
    close_ms: Option<u64>,
}

/// A moment that a time counts from.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at_ms: u64,
    /// It may have been later, because it was not observed.
    at_the_earliest: bool,
}

impl Moment {
    fn observed(at_ms: u64) -> Self {
        Self { at_ms, at_the_earliest: false }
    }
}

impl Change {
    fn anchored(&self, anchor: Anchor) -> Option<Moment> {
        match anchor {
            Anchor::Start => self.start_ms.map(Moment::observed),
            Anchor::Crossing => self.crossing,
            Anchor::Close => self.close_ms.map(Moment::observed),
        }
    }
}

/// Consumes every event of a run, in order, and gives the verdicts at the end.
#[derive(Debug, Clone, Default)]
pub struct Evaluator {
    expectations: Vec<Expectation>,
    changes: Vec<Change>,
    start_ms: Option<u64>,
    close_ms: Option<u64>,
    /// When a service's metric last went above its target and tolerance.
    crossings: BTreeMap<String, Moment>,
    /// Per service: log lines written, shipped and dropped.
    log_lines: BTreeMap<String, [u64; 3]>,
    balance: Balance,
    summary: Option<Box<LoadSummary>>,
    now_ms: u64,
}

/// Bounded in case a platform keeps scaling for ever; the first changes count.
const CHANGES_MAX: usize = 10_000;

impl Evaluator {
    /// `service`: the one that the load is for.
    pub fn new(expectations: &[Expectation], service: &str) -> Self {
        let balance = Balance::of(service);
        Self { expectations: expectations.to_vec(), balance, ..Self::default() }
    }

    /// The load's service has these replicas before the run.
    pub fn begins_with(&mut self, replicas: impl IntoIterator<Item = String>) {
        self.balance.begins_with(replicas);
    }

    /// Processes the next event.
    pub fn observe(&mut self, event: &Event) {
        let at_ms = event.t_ms;
        self.now_ms = self.now_ms.max(at_ms);
        self.balance.observe(&event.kind);
        match &event.kind {
            EventKind::LoadStarted { .. } => self.start_ms = Some(at_ms),
            EventKind::LoadClosed { .. } => self.close_ms = Some(at_ms),
            EventKind::LoadFinished { summary } => self.summary = Some(summary.clone()),
            EventKind::LogLinesCounted { service, written, shipped, dropped } => {
                self.log_lines.insert(service.clone(), [*written, *shipped, *dropped]);
            }
            EventKind::MetricCrossed { service, above: true, not_before_ms, .. } => {
                let crossing = match not_before_ms {
                    Some(at_ms) => Moment { at_ms: *at_ms, at_the_earliest: true },
                    None => Moment::observed(at_ms),
                };
                self.crossings.insert(service.clone(), crossing);
            }
            EventKind::DesiredChanged { service, from, to, .. } => self.changed(service, *from, *to, at_ms),
            EventKind::Balanced { service, orders, .. } => {
                changes::ordered(orders).for_each(|(from, to)| self.changed(service, from, to, at_ms));
            }
            _ => {}
        }
    }

    fn changed(&mut self, service: &str, from: u32, to: u32, at_ms: u64) {
        if self.changes.len() >= CHANGES_MAX {
            return;
        }
        self.changes.push(Change {
            service: service.to_owned(),
            from,
            to,
            at_ms,
            start_ms: self.start_ms,
            crossing: self.crossings.get(service).copied(),
            close_ms: self.close_ms,
        });
    }

    /// Expectations that are not met yet but can still be met if the run continues: changes of replicas, and pending log
    /// lines.
    pub fn pending(&self) -> Vec<String> {
        self.expectations
            .iter()
            .filter(|expectation| self.is_pending(expectation))
            .map(ToString::to_string)
            .collect()
    }

    fn is_pending(&self, expectation: &Expectation) -> bool {
        let Expectation::Scale { within, .. } = expectation else {
            return expectation.is_about_log_lines() && !self.judge(expectation).met;
        };
        if self.judge_scale(expectation).met {
            return false;
        }
        // An expired time limit is final, except for one from a crossing, which can happen again.
        let anchor_ms = match within {
            Some(Within { of: Anchor::Start, .. }) => self.start_ms,
            Some(Within { of: Anchor::Close, .. }) => self.close_ms,
            Some(Within { of: Anchor::Crossing, .. }) | None => None,
        };
        match (within, anchor_ms) {
            (Some(within), Some(anchor_ms)) => self.now_ms <= anchor_ms + within.time.as_millis() as u64,
            _ => true,
        }
    }

    /// The verdicts, in the order of the expectations.
    pub fn results(&self) -> Vec<ExpectationResult> {
        self.expectations.iter().map(|expectation| self.judge(expectation)).collect()
    }

    fn judge(&self, expectation: &Expectation) -> ExpectationResult {
        let (seen, met) = match (expectation, &self.summary) {
            (Expectation::Scale { .. }, _) => return self.judge_scale(expectation),
            (Expectation::Spread(wanted), _) => match self.balance.spread() {
                Err(reason) => (reason, false),
                Ok(counts) => (spread::words(&counts), counts == *wanted),
            },
            (Expectation::Decided { text, never }, _) => self.judge_decided(text, *never),
            (Expectation::Count { what, bound, limit: Limit::Number(limit) }, _)
                if [Count::REPLICAS, Count::DECISIONS].contains(what) =>
            {
                let seen = if *what == Count::REPLICAS {
                    self.balance.replicas()
                } else {
                    self.balance.decisions().map(|decisions| decisions.len() as u64)
                };
                match seen {
                    Err(reason) => (reason, false),
                    Ok(seen) => (seen.to_string(), holds(*bound, seen, *limit)),
                }
            }
            (Expectation::Count { what: Count::LOG_LINES_UNACCOUNTED, bound, limit }, _) => {
                self.judge_log_lines(*bound, *limit)
            }
            (_, None) => ("the load did not finish".to_owned(), false),
            (Expectation::Count { what: Count::EMPTIEST, bound, limit }, _) => {
                judge_holder(self.balance.emptiest(), *bound, *limit)
            }
            (Expectation::Count { what: Count::FULLEST, bound, limit }, _) => {
                judge_holder(self.balance.fullest(), *bound, *limit)
            }
            (Expectation::Count { what, bound, limit }, Some(summary)) => {
                compare(what.of(summary), what.of_all(summary), *bound, *limit)
            }
            (Expectation::Latency { what, at_most }, Some(summary)) => match what.of(summary) {
                (0, _) => ("nothing was measured".to_owned(), false),
                (_, value_us) => {
                    let value = Duration::from_micros(value_us);
                    (duration::format(value), value <= *at_most)
                }
            },
        };
        ExpectationResult { expectation: expectation.to_string(), seen, met }
    }

    fn judge_decided(&self, text: &str, never: bool) -> (String, bool) {
        let decisions = match self.balance.decisions() {
            Err(reason) => return (reason, false),
            Ok(decisions) => decisions,
        };
        match (decisions.iter().find(|decision| decision.contains(text)), decisions.last()) {
            (Some(decision), _) => (decision.clone(), !never),
            (None, None) => ("no decision".to_owned(), never),
            (None, Some(last)) => (format!("none of {}; the last: {last}", decisions.len()), never),
        }
    }

    fn judge_log_lines(&self, bound: Bound, limit: Limit) -> (String, bool) {
        let Limit::Number(limit) = limit else { return ("no number to compare with".to_owned(), false) };
        if self.log_lines.is_empty() {
            return ("no service reported how many there are".to_owned(), false);
        }
        let sum = |at: usize| self.log_lines.values().map(|counts| counts[at]).sum::<u64>();
        let (written, shipped, dropped) = (sum(0), sum(1), sum(2));
        let unaccounted = written.saturating_sub(shipped).saturating_sub(dropped);
        let seen = format!("{unaccounted} of {written}: {shipped} delivered, {dropped} counted as dropped");
        (seen, holds(bound, unaccounted, limit))
    }

    /// Met by the first change that fits. Otherwise the nearest one is reported.
    fn judge_scale(&self, expectation: &Expectation) -> ExpectationResult {
        let Expectation::Scale { service, from, to, within } = expectation else {
            unreachable!("called for changes of replicas only")
        };
        let mut seen = None;
        let mut met = false;
        for change in self.changes.iter().filter(|change| change.service == *service) {
            if (change.from, change.to) != (*from, *to) {
                continue;
            }
            let Some(Within { time, of }) = within else {
                seen = Some(format!("{from} → {to}"));
                met = true;
                break;
            };
            match change.anchored(*of) {
                None => seen = Some(format!("{from} → {to}, but not after {}", of.name())),
                Some(Moment { at_ms, at_the_earliest }) => {
                    let took = Duration::from_millis(change.at_ms.saturating_sub(at_ms));
                    let most = if at_the_earliest { "at most " } else { "" };
                    seen = Some(format!("{from} → {to} after {most}{}", duration::format(took)));
                    met = took <= *time;
                }
            }
            if met {
                break;
            }
        }
        let seen = seen.unwrap_or_else(|| self.changes_in_words(service));
        ExpectationResult { expectation: expectation.to_string(), seen, met }
    }

    fn changes_in_words(&self, service: &str) -> String {
        const SHOWN: usize = 5;
        let changes: Vec<&Change> = self.changes.iter().filter(|change| change.service == service).collect();
        let shown: Vec<String> =
            changes.iter().take(SHOWN).map(|change| format!("{} → {}", change.from, change.to)).collect();
        match changes.len() {
            0 => "no change of replicas".to_owned(),
            count if count > SHOWN => format!("only {}, …", shown.join(", ")),
            _ => format!("only {}", shown.join(", ")),
        }
    }
}

fn judge_holder(holder: Result<Holder, String>, bound: Bound, limit: Limit) -> (String, bool) {
    match holder {
        Err(reason) => (reason, false),
        Ok(Holder { replica, connections, all }) => {
            let (seen, met) = compare(connections, Some(all), bound, limit);
            (format!("{seen}, {replica}"), met)
        }
    }
}

/// The observed result, and whether it is within the limit.
fn compare(value: u64, all: Option<u64>, bound: Bound, limit: Limit) -> (String, bool) {
    match (limit, all) {
        (Limit::Number(limit), _) => (value.to_string(), holds(bound, value, limit)),
        (Limit::Share(_), None | Some(0)) => (format!("{value} of none"), false),
        (Limit::Share(share), Some(all)) => {
            let met = holds(bound, u128::from(value) * 10_000, u128::from(all) * u128::from(share));
            (format!("{value} of {all}"), met)
        }
    }
}

fn holds<T: PartialOrd + Copy>(bound: Bound, value: T, limit: T) -> bool {
    match bound {
        Bound::AtMost => value <= limit,
        Bound::AtLeast => value >= limit,
        Bound::Exactly => value == limit,
    }
}

#[cfg(test)]
mod tests;
