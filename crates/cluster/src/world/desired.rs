//! Who changed the number of replicas, and why.
//!
//! The workload shows the new number and, in its managed fields, who set it. The controller's event says why. They
//! arrive through different watches, in any order; after a lost connection several changes arrive as one, and the
//! events tell them apart.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::Now;
use crate::facts::Writer;

/// How long to wait for the rest of the status that belongs to a change.
const SETTLES_MS: u64 = 250;
/// How long a change waits for the controller's event, which may never come: controllers limit their events.
const WAIT_MS: u64 = 3_000;
/// The same while the connection that delivers it is lost.
const WAIT_BROKEN_MS: u64 = 45_000;
/// The same for a minute after that: the controller may have lost the API server too, and resends its events every 10
/// s.
const WAIT_MENDED_MS: u64 = 12_000;
const MENDED_MS: u64 = 60_000;
/// More simultaneous changes than this cannot be told apart.
const ANNOUNCED_MAX: usize = 64;

/// The changes of one service that wait for their reasons.
#[derive(Debug, Default)]
pub(super) struct Desired {
    /// The number last reported.
    known: Option<u32>,
    /// When the autoscaler had last scaled at that time.
    scaled: Option<Timestamp>,
    set: VecDeque<Set>,
    announced: VecDeque<Announced>,
}

/// A change of the workload's number of replicas.
#[derive(Debug)]
struct Set {
    to: u32,
    at: Now,
    by: Writer,
}

/// The controller's event about a number that it set.
#[derive(Debug)]
struct Announced {
    to: u32,
    message: String,
    /// In whole seconds.
    said: Option<Timestamp>,
    seen: Now,
}

/// A change that can be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) t_ms: u64,
    pub(super) by: By,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum By {
    /// With the event's message, if it arrived.
    Controller(Option<String>),
    /// By someone else, with the name if it is known.
    Hand(Option<String>),
}

/// Other known facts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Facts {
    pub(super) autoscaled: bool,
    /// The workload cannot be watched.
    pub(super) blind: bool,
    /// A watch is being restored.
    pub(super) broken: bool,
    /// When the watches were last restored, ms since the run began: what they bring comes after that.
    pub(super) mended_ms: u64,
    /// When the autoscaler last scaled, and to which number.
    pub(super) last_scale: Option<(Timestamp, u32)>,
}

impl Desired {
    /// Sets when the autoscaler last scaled, before anything is reported.
    pub(super) fn begin(&mut self, scaled: Option<Timestamp>) {
        self.scaled = scaled;
    }

    /// The workload's number changed from `from` to `to`.
    pub(super) fn set(&mut self, at: Now, from: u32, to: u32, by: Writer) {
        self.known.get_or_insert(from);
        if self.set.back().map(|set| set.to).or(self.known) != Some(to) {
            self.set.push_back(Set { to, at, by });
        }
    }

    pub(super) fn announce(&mut self, seen: Now, to: u32, message: &str, said: Option<Timestamp>) {
        let place = self.announced.iter().rposition(|one| one.said <= said).map_or(0, |place| place + 1);
        self.announced.insert(place, Announced { to, message: message.to_owned(), said, seen });
        if self.announced.len() > ANNOUNCED_MAX {
            self.announced.pop_front();
        }
    }

    /// Since when a change has been waiting.
    pub(super) fn waits_since(&self) -> Option<u64> {
        self.set.front().map(|set| set.at.t_ms)
    }

    /// The changes that can be reported by now.
    pub(super) fn decide(&mut self, now: Now, facts: Facts) -> Vec<Decided> {
        let mut decided = Vec::new();
        let is_fresh = facts.mended_ms > 0 && now.t_ms.saturating_sub(facts.mended_ms) < MENDED_MS;
        let patience_ms = match (facts.broken, is_fresh) {
            (true, _) => WAIT_BROKEN_MS,
            (false, true) => WAIT_MENDED_MS,
            (false, false) => WAIT_MS,
        };
        let age_ms = |since: Now| now.t_ms.saturating_sub(since.t_ms.max(facts.mended_ms));
        while let Some(set) = self.set.front() {
            let (to, t_ms) = (set.to, set.at.t_ms);
            let from = self.known.unwrap_or(to);
            let announced = self.announced.iter().position(|one| one.to == to);
            let by = match (announced, &set.by) {
                (Some(place), Writer::Autoscaler | Writer::Unknown) if facts.autoscaled => {
                    if age_ms(set.at) < SETTLES_MS {
                        break;
                    }
                    self.told(place, t_ms, &mut decided);
                    self.scaled = facts.last_scale.map(|(at, _)| at).max(self.scaled);
                    self.set.pop_front();
                    continue;
                }
                (_, Writer::Other(name)) => By::Hand(Some(name.clone())),
                _ if !facts.autoscaled => By::Hand(None),
                _ if age_ms(set.at) < patience_ms => break,
                (_, Writer::Autoscaler) => By::Controller(None),
                // The API server leaves out who scaled if nobody owned the field before.
                (_, Writer::Unknown) => {
                    let is_it = |(at, desired)| desired == to && Some(at) > self.scaled;
                    let by_controller = facts.last_scale.is_some_and(is_it);
                    if by_controller { By::Controller(None) } else { By::Hand(None) }
                }
            };
            self.scaled = facts.last_scale.map(|(at, _)| at).max(self.scaled);
            decided.push(Decided { from, to, t_ms, by });
            self.known = Some(to);
            self.set.pop_front();
        }
        self.leftover(now, facts, patience_ms, &mut decided);
        decided
    }

    /// Reports the announced changes up to the one at `place`: the earlier ones were never seen on the workload.
    fn told(&mut self, place: usize, t_ms: u64, decided: &mut Vec<Decided>) {
        for Announced { to, message, .. } in self.announced.drain(..=place) {
            let from = self.known.replace(to).unwrap_or(to);
            if from != to {
                decided.push(Decided { from, to, t_ms, by: By::Controller(Some(message)) });
            }
        }
    }

    /// Announcements without a waiting change: of changes reported already, or of a workload that cannot be watched.
    fn leftover(&mut self, now: Now, facts: Facts, patience_ms: u64, decided: &mut Vec<Decided>) {
        while self.set.is_empty()
            && let Some(first) = self.announced.front()
        {
            let waited_ms = now.t_ms.saturating_sub(first.seen.t_ms.max(facts.mended_ms));
            if Some(first.to) != self.known && !facts.blind && waited_ms < patience_ms {
                break;
            }
            if facts.blind {
                self.told(0, first.seen.t_ms, decided);
            } else {
                self.announced.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests;
