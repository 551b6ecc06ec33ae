//! Orders events before they are reported.
//!
//! Objects arrive through several watches, so an effect may be seen shortly before its cause: pods that start before
//! the change of replicas for which they start. Events wait here for a moment, and a change is placed before its
//! effects.

use std::collections::VecDeque;

use platform::EventKind;

/// How long an event waits for its cause.
const MOMENT_MS: u64 = 250;
/// The maximum number of events held back; beyond it, the oldest are released in their order of arrival.
const HELD_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    held: VecDeque<(u64, EventKind)>,
}

impl Outbox {
    pub(super) fn push(&mut self, t_ms: u64, event: EventKind) {
        self.held.push_back((t_ms, event));
    }

    /// Inserts a change of `service` that was seen at `t_ms` in its place: before later events, and before its effects.
    pub(super) fn insert(&mut self, t_ms: u64, service: &str, change: EventKind) {
        let is_later = |(at, event): &(u64, EventKind)| *at > t_ms || is_effect(event, service);
        let place = self.held.iter().position(is_later).unwrap_or(self.held.len());
        let t_ms = self.held.get(place).map_or(t_ms, |(at, _)| t_ms.min(*at));
        self.held.insert(place, (t_ms, change));
    }

    /// Events that have waited long enough. `pending`: since when a change has been waiting for its reason.
    pub(super) fn due(&mut self, now_ms: u64, pending: Option<u64>) -> Vec<(u64, EventKind)> {
        let until_ms = now_ms.saturating_sub(MOMENT_MS);
        // Its effects may be a little before it, too.
        let until_ms = pending.map_or(until_ms, |since| until_ms.min(since.saturating_sub(MOMENT_MS)));
        let due = self.held.iter().take_while(|(at, _)| *at <= until_ms).count();
        let due = due.max(self.held.len().saturating_sub(HELD_MAX));
        self.held.drain(..due).collect()
    }
}

fn is_effect(event: &EventKind, of: &str) -> bool {
    matches!(event, EventKind::PodStarting { service, .. } | EventKind::PodDraining { service, .. } if service == of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(service: &str) -> EventKind {
        let (service, pod, node) = (service.to_owned(), "pod".to_owned(), "node".to_owned());
        EventKind::PodStarting { service, pod, node, restarts: 0 }
    }

    fn change() -> EventKind {
        EventKind::ReplicasSet { service: "web".to_owned(), from: 1, to: 2 }
    }

    #[test]
    fn a_change_goes_before_its_effects_and_nothing_overtakes_it() {
        let mut out = Outbox::default();
        out.push(10, starting("api"));
        out.push(20, starting("web"));
        out.push(40, starting("api"));
        out.insert(30, "web", change());
        assert_eq!(out.due(259, None), []);
        assert_eq!(out.due(1_000, Some(30)), [], "it may still have effects before it");
        let due: Vec<(u64, bool)> =
            out.due(1_000, None).into_iter().map(|(at, event)| (at, event == change())).collect();
        assert_eq!(due, [(10, false), (20, true), (20, false), (40, false)]);
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let mut out = Outbox::default();
        (0..HELD_MAX + 5).for_each(|_| out.push(1_000, change()));
        assert_eq!(out.due(1_000, Some(1_000)).len(), 5);
    }
}
