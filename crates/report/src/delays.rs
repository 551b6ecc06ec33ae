//! How long the autoscaler took, and where the time went.

use platform::{
    Event, EventKind,
    event::{MetricProposal, ScaleDelays},
};

use crate::series::{MessageRate, total};

/// The controller's tolerance: a ratio within it of 1 changes nothing.
const TOLERANCE: f64 = 0.1;
/// The window over which the metric is a maximum, unless configured otherwise.
const METRIC_WINDOW_MS: u64 = 60_000;

/// Of the first scale-up and of the scale-down after the load closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the moment the true average passed the line to the first added replica being ready.
    ///
    /// Parts: `scrape` (until the metric showed it), `sync` (until the autoscaler looked), `pod` (until it was ready).
    /// The first two are one part if nobody observed the metric crossing the line before the autoscaler acted.
    pub up: Option<ScaleDelays>,
    /// From the last close to the autoscaler's decision.
    ///
    /// Parts: `metric's minute` (until the maximum over it had run out), `sync` (until the autoscaler looked),
    /// `window` (the stabilisation window and the sync that found it over). If the platform's metric does not cover a
    /// minute, the first two cannot be told apart and are one part.
    pub down: Option<ScaleDelays>,
}

/// Computes them from a run's events; `None` if it did not scale.
pub fn delays(events: &[Event]) -> Delays {
    Delays { up: up(events), down: down(events) }
}

fn up(events: &[Event]) -> Option<ScaleDelays> {
    let (decided, service, from) = events.iter().find_map(|event| match &event.kind {
        EventKind::DesiredChanged { service, from, to, .. } if to > from => {
            Some((event.t_ms, service, *from))
        }
        _ => None,
    })?;
    let seen =
        events.iter().filter(|event| event.t_ms <= decided).rev().find_map(|event| match &event.kind {
            EventKind::MetricCrossed { service: of, above: true, target_milli, not_before_ms, .. }
                if of == service =>
            {
                Some((event.t_ms, not_before_ms.is_none(), *target_milli))
            }
            _ => None,
        });
    let ready = events.iter().find_map(|event| match &event.kind {
        EventKind::PodReady { service: of, .. } if of == service && event.t_ms >= decided => Some(event.t_ms),
        _ => None,
    });
    let passed = seen.and_then(|(seen, _, target_milli)| {
        let line = target_milli as f64 / 1000.0 * (1.0 + TOLERANCE) * f64::from(from);
        passed(events, line).filter(|passed| *passed <= seen)
    });
    let pod = ("pod", Some(decided), ready);
    // Only the decision is known, so the two times before it are indistinguishable.
    if let Some((_, false, _)) = seen {
        return sum(&[("scrape and sync", passed, Some(decided)), pod]);
    }
    let seen = seen.map(|(seen, ..)| seen);
    sum(&[("scrape", passed, seen), ("sync", seen, Some(decided)), pod])
}

/// When the number of open connections, or of datagrams a second, passed a line; interpolated between two ticks.
fn passed(events: &[Event], line: f64) -> Option<u64> {
    let mut before: Option<(u64, f64)> = None;
    let mut datagrams: Option<MessageRate> = None;
    for event in events {
        let tick = match &event.kind {
            EventKind::LoadStarted { plan } if plan.is_udp() => {
                datagrams = Some(MessageRate::begun(event.t_ms));
                continue;
            }
            EventKind::LoadTick(tick) => tick,
            _ => continue,
        };
        let open = match &mut datagrams {
            Some(rate) => rate.between(event.t_ms, tick.totals.messages_sent).unwrap_or_default(),
            None => tick.open as f64,
        };
        if open > line {
            let Some((t_ms, below)) = before else {
                return Some(event.t_ms);
            };
            let share = (line - below) / (open - below);
            let apart = event.t_ms.saturating_sub(t_ms);
            return Some(t_ms.saturating_add((apart as f64 * share) as u64));
        }
        before = Some((event.t_ms, open));
    }
    None
}

fn down(events: &[Event]) -> Option<ScaleDelays> {
    let closed = events
        .iter()
        .rev()
        .find_map(|event| matches!(event.kind, EventKind::LoadClosed { .. }).then_some(event.t_ms))?;
    let after = events.iter().filter(|event| event.t_ms >= closed);
    let (decided, service) = after.clone().find_map(|event| match &event.kind {
        EventKind::DesiredChanged { service, from, to, .. } if to < from => Some((event.t_ms, service)),
        _ => None,
    })?;
    // The reconciliations between the close and the decision: when did the first one want fewer?
    let mut last_high = closed;
    let mut first_low = None;
    for event in after.clone().take_while(|event| event.t_ms <= decided) {
        let EventKind::HpaSynced { service: of, current, metrics, .. } = &event.kind else {
            continue;
        };
        if of != service {
            continue;
        }
        if wants_fewer(metrics, *current) {
            first_low = Some(event.t_ms);
            break;
        }
        last_high = event.t_ms;
    }
    let first_low = first_low?;
    let run_out = last_busy_scrape(events, service, closed)
        .map(|scraped| scraped.saturating_add(METRIC_WINDOW_MS))
        .filter(|run_out| (last_high..=first_low).contains(run_out));
    let moments = match run_out {
        Some(run_out) => vec![
            ("metric's minute", Some(closed), Some(run_out)),
            ("sync", Some(run_out), Some(first_low)),
            ("window", Some(first_low), Some(decided)),
        ],
        None => vec![
            ("metric and sync", Some(closed), Some(first_low)),
            ("window", Some(first_low), Some(decided)),
        ],
    };
    sum(&moments)
}

/// Even the largest proposal is below the current count.
fn wants_fewer(metrics: &[MetricProposal], current: u32) -> bool {
    metrics.iter().filter_map(|metric| metric.proposal).max().is_some_and(|most| most < current)
}

/// The last scrape that saw the load: its value is the last to leave the metric's window. One in the middle of the
/// close counts if it saw more than half.
fn last_busy_scrape(events: &[Event], service: &str, closed: u64) -> Option<u64> {
    let mut last = None;
    let mut busy = 0;
    for event in events {
        let EventKind::MetricScraped { service: of, metric, values_milli } = &event.kind else {
            continue;
        };
        if of != service || matches!(metric.as_str(), "cpu" | "memory") {
            continue;
        }
        let sum = total(values_milli);
        if event.t_ms <= closed {
            busy = sum / 2;
        } else if sum <= busy {
            break;
        }
        last = Some(event.t_ms);
    }
    last
}

/// Consecutive parts; a part with unknown moments is left out.
fn sum(moments: &[(&str, Option<u64>, Option<u64>)]) -> Option<ScaleDelays> {
    let parts: Vec<(String, u64)> = moments
        .iter()
        .filter_map(|(name, from, to)| Some(((*name).to_owned(), to.as_ref()?.checked_sub((*from)?)?)))
        .collect();
    let total_ms = parts.iter().map(|(_, ms)| ms).sum();
    (!parts.is_empty()).then_some(ScaleDelays { total_ms, parts })
}

#[cfg(test)]
mod tests;
