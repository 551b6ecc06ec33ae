//! The autoscaler of one service: its inputs, and its decisions as events.
//!
//! The algorithm is in `crates/autoscale`; this feeds it (pods, samples) and reports what it decides.

pub mod metric;
mod observe;

use std::collections::{BTreeMap, BTreeSet};

use autoscale::{Autoscaler, ControllerSettings, Decision, HpaSpec, InvalidSpec, Observation, explain::Case};
use platform::{EventKind, event::MetricProposal, target::AutoscalerSnapshot};

use crate::{Time, instance::Instance};
use metric::{average_target, pods_metric};
pub(crate) use observe::{Clock, Seen};

#[derive(Debug, Clone)]
pub(crate) struct Hpa {
    engine: Autoscaler,
    last: Option<Last>,
    /// Metrics whose average was above target and tolerance at the last scrape.
    above: BTreeSet<String>,
    /// The last scale-down that was reported as held.
    held: Option<(u32, u32, i64)>,
}

#[derive(Debug, Clone)]
struct Last {
    now_ms: i64,
    observed: Observation,
    reason: String,
    metrics: Vec<MetricProposal>,
}

impl Hpa {
    pub(crate) fn new(spec: &HpaSpec) -> Result<Self, InvalidSpec> {
        let engine = Autoscaler::new(spec, ControllerSettings::default())?;
        Ok(Self { engine, last: None, above: BTreeSet::new(), held: None })
    }

    /// Adopts another one's spec, and keeps its own memory; returns whether that changed anything.
    pub(crate) fn adopt(&mut self, other: &Self) -> bool {
        let changed = self.engine.spec() != other.engine.spec();
        // The other one has validated it.
        changed && self.engine.set_spec(other.engine.spec()).is_ok()
    }

    /// The custom metrics that it uses.
    pub(crate) fn pods_metrics(&self) -> impl Iterator<Item = &str> {
        self.engine.spec().metrics.iter().filter_map(pods_metric)
    }

    /// The replicas and metrics that it saw last.
    pub(crate) fn seen(&self) -> (u32, &[MetricProposal]) {
        let metrics = self.last.as_ref().map_or(&[][..], |last| &last.metrics);
        (unsigned(self.engine.status().current_replicas), metrics)
    }

    /// How many metrics could not be read at the last sync.
    pub(crate) fn failures(&self) -> u64 {
        self.seen().1.iter().filter(|metric| metric.value_milli.is_none()).count() as u64
    }

    /// Smallest and largest number of replicas.
    pub(crate) fn bounds(&self) -> (u32, u32) {
        let spec = self.engine.spec();
        (unsigned(spec.min_replicas.unwrap_or(1)), unsigned(spec.max_replicas))
    }

    /// Reconciles once; returns the events that report it, and the new number of replicas if it changed.
    pub(crate) fn sync(
        &mut self,
        service: &str,
        mut seen: Seen<'_>,
        clock: Clock,
        now: Time,
    ) -> (Vec<EventKind>, Option<u32>) {
        let now_ms = clock.unix_ms(now);
        let observed = observe::observation(service, &self.engine.spec().metrics, &mut seen, clock, now);
        let decision = self.engine.reconcile(now_ms, &observed);
        let metrics = metric::proposals(self.engine.spec(), &decision);
        let reason = decision.reason().to_string();
        let current = seen.desired;
        let desired = decision.scaled_to.map_or(current, unsigned);
        let mut events = vec![EventKind::HpaSynced {
            service: service.to_owned(),
            current,
            desired,
            metrics: metrics.clone(),
            reason: reason.clone(),
            conditions: conditions(&decision),
        }];
        events.extend(self.held(service, &decision, clock));
        if desired != current {
            events.push(EventKind::DesiredChanged {
                service: service.to_owned(),
                from: current,
                to: desired,
                reason: reason.clone(),
                explanation: decision.explanation().to_string(),
                metrics: metrics.clone(),
            });
        }
        self.last = Some(Last { now_ms, observed, reason, metrics });
        (events, (desired != current).then_some(desired))
    }

    /// Reports each recommendation that holds a scale-down once.
    fn held(&mut self, service: &str, decision: &Decision, clock: Clock) -> Option<EventKind> {
        let now = decision.limits.stabilization.and_then(|held| {
            let (proposal, stabilized) = (decision.proposal?, decision.stabilized?);
            (proposal < stabilized).then_some((unsigned(proposal), unsigned(stabilized), held.until_ms))
        });
        let news = now.filter(|now| self.held.is_none_or(|before| before != *now));
        self.held = now;
        let (recommended, held_at, until_ms) = news?;
        Some(EventKind::ScaleDownHeld {
            service: service.to_owned(),
            recommended,
            held_at,
            until_ms: clock.since_began(until_ms),
        })
    }

    /// After a scrape: which averages crossed the line at which the autoscaler acts.
    pub(crate) fn crossings<'a>(
        &mut self,
        service: &str,
        replicas: impl Iterator<Item = &'a mut Instance>,
        now: Time,
        next_sync_ms: u64,
    ) -> Vec<EventKind> {
        let tolerance = self.engine.tolerances().up;
        let mut replicas: Vec<&mut Instance> = replicas.collect();
        let mut events = Vec::new();
        for metric in &self.engine.spec().metrics {
            let (Some(name), Some(target_milli)) = (pods_metric(metric), average_target(metric)) else {
                continue;
            };
            let values: Vec<i64> =
                replicas.iter_mut().filter_map(|replica| replica.series.custom_metric(name, now)).collect();
            if values.is_empty() {
                continue;
            }
            let average_milli = values.iter().sum::<i64>() / values.len() as i64;
            let above = average_milli as f64 / target_milli as f64 > 1.0 + tolerance;
            let changed = if above { self.above.insert(name.to_owned()) } else { self.above.remove(name) };
            if changed {
                events.push(EventKind::MetricCrossed {
                    service: service.to_owned(),
                    metric: name.to_owned(),
                    average_milli,
                    target_milli,
                    above,
                    next_sync_ms,
                    not_before_ms: None,
                });
            }
        }
        events
    }

    /// Targets by metric, in the units of events.
    pub(crate) fn targets_milli(&self) -> BTreeMap<String, i64> {
        metric::targets_milli(&self.engine.spec().metrics)
    }

    pub(crate) fn snapshot(&self, desired: u32, up_since: jiff::Timestamp) -> AutoscalerSnapshot {
        let (min, max) = self.bounds();
        let status = self.engine.status();
        let last_scale = status.last_scale_ms.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        let waiting = || format!("has not run yet (up since {})", up_since.strftime("%H:%M:%S"));
        AutoscalerSnapshot {
            min,
            max,
            current: unsigned(status.current_replicas),
            desired,
            metrics: self
                .last
                .iter()
                .flat_map(|last| &last.metrics)
                .map(|one| format!("{}: {}", one.metric, one.words))
                .collect(),
            values: self.last.as_ref().map(|last| last.metrics.clone()).unwrap_or_default(),
            reason: self.last.as_ref().map_or_else(waiting, |last| last.reason.clone()),
            last_scale,
        }
    }

    /// Its history and last observation; `None`: it has not synced yet.
    pub(crate) fn case(&self) -> Option<Case> {
        let last = self.last.as_ref()?;
        let (now_ms, observed) = (last.now_ms, last.observed.clone());
        Some(Case { now_ms, autoscaler: self.engine.snapshot(), observed })
    }
}

fn conditions(decision: &Decision) -> BTreeMap<String, [String; 2]> {
    let named = decision.conditions.iter();
    named
        .map(|(name, condition)| {
            (name.to_owned(), [condition.status_word().to_owned(), format!("{:?}", condition.reason)])
        })
        .collect()
}

fn unsigned(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or(0)
}

#[cfg(test)]
mod tests;
