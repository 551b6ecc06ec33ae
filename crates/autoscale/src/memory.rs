//! The controller's history of one autoscaler between reconciliations, lost when it restarts.

use serde::{Deserialize, Serialize};

/// Bounds the memory if a caller's clock stands still. A window of an hour with a reconciliation every 250 ms fits.
const MAX_RECOMMENDATIONS: usize = 16_384;
const MAX_SCALE_EVENTS: usize = 16_384;

/// A count that the metrics once asked for, before stabilization and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recommendation {
    pub replicas: i32,
    pub at_ms: i64,
}

/// A change of the scale that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleEvent {
    /// By how many replicas, without sign.
    pub change: i32,
    pub at_ms: i64,
    /// Its slot may be reused. Never reset, even if a later spec has longer periods.
    #[serde(default)]
    pub outdated: bool,
}

/// Recommendations and scale events.
///
/// Lists are not ordered by time: as upstream, a new entry replaces an expired one if there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    pub recommendations: Vec<Recommendation>,
    pub scale_ups: Vec<ScaleEvent>,
    pub scale_downs: Vec<ScaleEvent>,
}

impl Memory {
    /// The first reconciliation recommends what it finds, so that a restarted controller does not scale down at once
    /// (`recordInitialRecommendation`).
    pub(crate) fn seed(&mut self, current: i32, now_ms: i64) {
        if self.recommendations.is_empty() {
            self.recommendations.push(Recommendation { replicas: current, at_ms: now_ms });
        }
    }

    /// Remembers a recommendation, replacing an expired one if there is any.
    pub(crate) fn recommend(&mut self, replicas: i32, now_ms: i64, expired: Option<usize>) {
        let recommendation = Recommendation { replicas, at_ms: now_ms };
        let full = self.recommendations.len() >= MAX_RECOMMENDATIONS;
        let place = expired.or_else(|| full.then(|| oldest(&self.recommendations, |r| r.at_ms)));
        match place {
            Some(place) => self.recommendations[place] = recommendation,
            None => self.recommendations.push(recommendation),
        }
    }
}

/// Remembers a change, replacing the last one that no policy needs any more (`storeScaleEvent`).
pub(crate) fn remember(events: &mut Vec<ScaleEvent>, change: i32, now_ms: i64, longest_period_ms: i64) {
    let cutoff = now_ms.saturating_sub(longest_period_ms);
    let mut place = None;
    for (index, event) in events.iter_mut().enumerate() {
        event.outdated |= event.at_ms < cutoff;
        if event.outdated {
            place = Some(index);
        }
    }
    let event = ScaleEvent { change, at_ms: now_ms, outdated: false };
    let full = events.len() >= MAX_SCALE_EVENTS;
    match place.or_else(|| full.then(|| oldest(events, |event| event.at_ms))) {
        Some(place) => events[place] = event,
        None => events.push(event),
    }
}

/// The changes within a period, summed up (`getReplicasChangePerPeriod`). An event exactly one period old is out.
pub(crate) fn change_within(events: &[ScaleEvent], period_ms: i64, now_ms: i64) -> i32 {
    let cutoff = now_ms.saturating_sub(period_ms);
    events
        .iter()
        .filter(|event| event.at_ms > cutoff)
        .fold(0, |sum: i32, event| sum.wrapping_add(event.change))
}

fn oldest<T>(entries: &[T], at_ms: impl Fn(&T) -> i64) -> usize {
    entries.iter().enumerate().min_by_key(|(_, entry)| at_ms(entry)).map_or(0, |(index, _)| index)
}
