//! Problems that only show as a growing counter.

use platform::{Event, EventKind, event::Counters};

use super::Entry;
use crate::{style::Tone, words::thousands};

/// Minimum interval between lines.
const INTERVAL_MS: u64 = 5_000;

/// Watches the load's counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incidents {
    reported: Counters,
    seen: Counters,
    reported_at: Option<u64>,
    /// The highest number of open connections.
    open_max: u64,
}

impl Incidents {
    /// A line, if there is news and it is time for one, or if the load reaches a milestone.
    pub(crate) fn observe(&mut self, event: &Event) -> Option<Entry> {
        let mark = match &event.kind {
            EventKind::LoadStarted { .. } => {
                *self = Self::default();
                return None;
            }
            EventKind::LoadTick(tick) => {
                self.seen = tick.totals;
                self.open_max = self.open_max.max(tick.open);
                // All are back: the time of that is worth knowing.
                tick.open == self.open_max && self.seen.reconnected > self.reported.reconnected
            }
            EventKind::RampDone { .. } | EventKind::LoadClosed { .. } | EventKind::LoadFinished { .. } => {
                true
            }
            _ => return None,
        };
        let due = self.reported_at.is_none_or(|at| event.t_ms.saturating_sub(at) >= INTERVAL_MS);
        if !due && !mark {
            return None;
        }
        let (bad, rest) = self.news();
        if bad.is_empty() && rest.is_empty() {
            return None;
        }
        let tone = if bad.is_empty() { Tone::Load } else { Tone::Bad };
        self.reported = self.seen;
        self.reported_at = Some(event.t_ms);
        Some(Entry::new("load", tone, [bad, rest].concat().join(", ")))
    }

    /// The counters that grew: things that should never happen, and the effects of a drain.
    fn news(&self) -> (Vec<String>, Vec<String>) {
        let grown = |of: fn(&Counters) -> u64, words: &str| {
            let more = of(&self.seen).saturating_sub(of(&self.reported));
            (more > 0).then(|| format!("{} {words}", thousands(more)))
        };
        let bad = [
            grown(|counters| counters.lost, "lost"),
            grown(|counters| counters.refused, "refused"),
            grown(|counters| counters.reset, "reset"),
            grown(|counters| counters.connect_timeouts, "timed out connecting"),
            grown(|counters| counters.connect_errors, "could not connect"),
            grown(|counters| counters.message_timeouts, "without an answer in time"),
            grown(|counters| counters.messages_wrong, "answered wrongly"),
        ];
        let rest = [
            grown(|counters| counters.notices, "told to reconnect"),
            grown(|counters| counters.reconnected, "came back"),
        ];
        (bad.into_iter().flatten().collect(), rest.into_iter().flatten().collect())
    }
}
