//! What autoscalers do, according to their status and events.
//!
//! A status has averages, targets and conditions, but no text about each metric's proposal. Our engine provides it,
//! given the averages of the status. The controller's own words are always reported beside it.

use std::collections::{BTreeMap, BTreeSet};

use autoscale::{
    Autoscaler, Decision,
    explain::{self, Case},
    spec::MetricSpec,
};
use controller::metric;
use jiff::{SignedDuration, Timestamp};
use platform::{EventKind, event::MetricProposal};

use super::{
    Now, Stream, World,
    desired::{By, Decided, Facts},
};
use crate::facts::HpaFacts;

/// The controller's default sync period.
const SYNC_MS: u64 = 15_000;
/// The controller's default stabilization window for scaling down.
const DOWN_WINDOW_S: i64 = 300;
/// The maximum stabilization window.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// One autoscaler, and what has been reported of it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) facts: HpaFacts,
    /// As in the last status.
    pub(super) metrics: Vec<MetricProposal>,
    /// When the status last changed, ms since the run began.
    synced_ms: u64,
    /// The number of replicas that the metrics propose.
    proposal: Option<u32>,
    /// Until when each number of replicas counts as recommended.
    asked: BTreeMap<u32, Timestamp>,
    /// The held scale-down that was last reported.
    held: Option<(u32, u32)>,
    /// Whether each metric's average is above target and tolerance.
    above: BTreeMap<String, bool>,
    /// When our own poll last found the metric not above, ms since the run began.
    below_ms: BTreeMap<String, u64>,
    /// Metrics that the controller found above the line, but no poll of ours has yet.
    unseen: BTreeSet<String>,
    /// Why it does not work, as last reported.
    trouble: Option<String>,
}

impl Watched {
    fn new(facts: HpaFacts) -> Self {
        Self {
            facts,
            metrics: Vec::new(),
            synced_ms: 0,
            proposal: None,
            asked: BTreeMap::new(),
            held: None,
            above: BTreeMap::new(),
            below_ms: BTreeMap::new(),
            unseen: BTreeSet::new(),
            trouble: None,
        }
    }

    pub(super) fn targets_milli(&self) -> BTreeMap<String, i64> {
        self.facts.spec.as_ref().map(|spec| metric::targets_milli(&spec.metrics)).unwrap_or_default()
    }

    /// Whether the average in the last status is above target and tolerance.
    fn status_above(&self, metric: &str, engine: &Autoscaler) -> bool {
        self.metrics.iter().filter(|one| one.metric == metric).any(|one| {
            let ratio = |value: i64| value as f64 / one.target_milli as f64;
            one.value_milli.is_some_and(|value| ratio(value) > 1.0 + engine.tolerances().up)
        })
    }

    /// A scale-down that a higher recommendation holds: the proposal, the held number, and until when at the latest.
    fn held_down(&self, now: Now) -> Option<(u32, u32, Timestamp)> {
        let able = self.facts.condition("AbleToScale")?;
        let (recommended, held_at) = (self.proposal?, self.facts.desired);
        if able.reason != "ScaleDownStabilized" || recommended >= held_at {
            return None;
        }
        let rules = self.facts.spec.as_ref().ok()?.behavior.as_ref();
        let window = rules.and_then(|rules| rules.scale_down.as_ref()?.stabilization_window_seconds);
        let window = SignedDuration::from_secs(window.map_or(DOWN_WINDOW_S, i64::from));
        let last_asked = self.asked.range(held_at..).map(|(_, at)| *at).max().unwrap_or(now.wall);
        Some((recommended, held_at, last_asked.saturating_add(window).unwrap_or(now.wall)))
    }
}

/// Our engine's decision by the averages in an autoscaler's status, starting from `replicas`; `None`: it has no status
/// yet, or our engine cannot read its spec.
fn decision(hpa: &HpaFacts, replicas: u32, now: Timestamp) -> Option<(Autoscaler, Decision)> {
    let mut manifest = hpa.manifest().ok()?;
    let status = manifest.status.as_mut()?.as_object_mut()?;
    for count in ["currentReplicas", "desiredReplicas"] {
        status.insert(count.to_owned(), replicas.into());
    }
    let Case { now_ms, autoscaler, observed } =
        explain::of_status(&manifest, now.as_millisecond()).ok().flatten()?;
    let mut engine = Autoscaler::from_snapshot(autoscaler).ok()?;
    let decision = engine.reconcile(now_ms, &observed);
    Some((engine, decision))
}

/// The target for the average of a metric that every pod has.
fn pods_target(metrics: &[MetricSpec], label: &str) -> Option<i64> {
    let (_, found) = metric::labels(metrics).into_iter().zip(metrics).find(|(one, _)| one == label)?;
    metric::average_target(found).filter(|_| metric::pods_metric(found).is_some())
}

/// Of a metric that is not in the status.
const NO_VALUE: &str = "no value";

/// The proposals of an autoscaler's metrics according to its status.
pub(crate) fn proposals(hpa: &HpaFacts, now: Timestamp) -> Vec<MetricProposal> {
    let has_no_scale = hpa.condition("AbleToScale").is_some_and(|able| able.reason == "FailedGetScale");
    if hpa.conditions.is_empty() || has_no_scale {
        return Vec::new();
    }
    let proposals = decision(hpa, hpa.current.max(1), now)
        .map(|(engine, decision)| metric::proposals(engine.spec(), &decision));
    let mut proposals = proposals.unwrap_or_default();
    // Why the status has none, its conditions say.
    for one in proposals.iter_mut().filter(|one| one.value_milli.is_none()) {
        NO_VALUE.clone_into(&mut one.words);
    }
    proposals
}

/// Our explanation of a change of the replicas: which metric caused it, and what limited it.
fn explanation(hpa: &HpaFacts, from: u32, to: u32, now: Timestamp) -> Option<String> {
    let (_, decision) = decision(hpa, from, now)?;
    if decision.scaled_to == i32::try_from(to).ok() {
        return Some(decision.explanation().to_string());
    }
    let leading = decision.leading?;
    let mut words = format!("{} {}", decision.metric_label(leading), decision.metric_words(leading));
    if let Some(limited) = hpa.condition("ScalingLimited").filter(|limited| limited.status) {
        words = format!("{words}; {}", limited.message);
    }
    Some(words)
}

impl World {
    pub(super) fn hpa_is(&mut self, now: Now, facts: HpaFacts) {
        if self.scope.hpa.as_ref().is_some_and(|name| *name != facts.name) {
            return;
        }
        let name = facts.name.clone();
        let before = self.hpas.remove(&name).filter(|before| before.facts.uid == facts.uid);
        let is_new = before.is_none();
        let targets = before.as_ref().map(|before| before.facts.target.clone());
        let retargeted = targets.as_ref() != Some(&facts.target);
        let synced = before.as_ref().is_some_and(|before| before.facts.status != facts.status);
        let mut watched = before.unwrap_or_else(|| Watched::new(facts.clone()));
        watched.facts = facts;
        self.hpas.insert(name.clone(), watched);
        if retargeted {
            self.name_services();
        }
        if self.live && is_new {
            self.warn(now, format!("autoscaler {name} was created"));
        }
        if self.live && (synced || is_new) {
            self.synced(now, &name);
        }
    }

    pub(super) fn hpa_gone(&mut self, now: Now, name: &str) {
        if self.hpas.remove(name).is_some() {
            self.warn(now, format!("autoscaler {name} was deleted"));
            self.name_services();
        }
    }

    /// Reports an autoscaler's new status.
    pub(super) fn synced(&mut self, now: Now, name: &str) {
        let Some(service) = self.service_of_hpa(name) else { return };
        let Some(watched) = self.hpas.get_mut(name) else { return };
        let hpa = &watched.facts;
        if let Some(before) = watched.proposal {
            watched.asked.insert(before, now.wall);
            watched.asked.retain(|_, at| now.wall.duration_since(*at) < LONGEST_WINDOW);
        }
        let engine = decision(hpa, hpa.current.max(1), now.wall);
        watched.metrics = engine
            .as_ref()
            .map(|(engine, decision)| metric::proposals(engine.spec(), decision))
            .unwrap_or_default();
        let proposal = engine.and_then(|(_, decision)| decision.proposal);
        watched.proposal = proposal.and_then(|count| u32::try_from(count).ok());
        watched.synced_ms = now.t_ms;
        let mut events = vec![EventKind::HpaSynced {
            service: service.clone(),
            current: hpa.current,
            desired: hpa.desired,
            metrics: watched.metrics.clone(),
            reason: hpa.words(),
            conditions: conditions(hpa),
        }];
        let trouble = trouble(hpa);
        if trouble != watched.trouble {
            let message = match &trouble {
                Some(trouble) => format!("the autoscaler of {service} cannot act: {trouble}"),
                None => format!("the autoscaler of {service} works again"),
            };
            events.push(EventKind::Warning { message });
            watched.trouble = trouble;
        }
        let held = watched.held_down(now);
        let news = held.map(|(recommended, held_at, _)| (recommended, held_at));
        if news != watched.held
            && let Some((recommended, held_at, until)) = held
        {
            let left_ms = u64::try_from(until.duration_since(now.wall).as_millis()).unwrap_or(0);
            let until_ms = now.t_ms.saturating_add(left_ms);
            events.push(EventKind::ScaleDownHeld { service, recommended, held_at, until_ms });
        }
        watched.held = news;
        for event in events {
            self.tell(now, event);
        }
    }

    /// Decides who changed replicas and why, as far as that is known by now.
    pub(super) fn settle(&mut self, now: Now) {
        let broken = !self.broken.is_empty();
        let mut told = Vec::new();
        for (name, service) in &self.services {
            let Some(desired) = self.desired.get_mut(name) else { continue };
            let hpa = service.hpa.as_ref().and_then(|hpa| Some(&self.hpas.get(hpa)?.facts));
            let facts = Facts {
                autoscaled: hpa.is_some(),
                blind: self.denied.contains(&Stream::Workloads(service.workload.0.clone())),
                broken,
                mended_ms: self.mended_ms,
                last_scale: hpa.and_then(|hpa| Some((hpa.last_scale?, hpa.desired))),
            };
            for decided in desired.decide(now, facts) {
                told.push((name.clone(), decided.t_ms, change(name, decided, hpa, now)));
            }
        }
        for (service, t_ms, event) in told {
            if self.live {
                for crossed in self.crossed_before(&service, t_ms, &event, now) {
                    self.out.insert(t_ms, &service, crossed);
                }
                self.out.insert(t_ms, &service, event);
            }
        }
    }

    /// Reports the crossings that must have preceded the controller's scale-up, if our own polls have not found them
    /// yet.
    fn crossed_before(&mut self, service: &str, t_ms: u64, event: &EventKind, now: Now) -> Vec<EventKind> {
        let EventKind::DesiredChanged { from, to, metrics, .. } = event else { return Vec::new() };
        let hpa = self.services.get(service).and_then(|service| service.hpa.clone());
        let Some(watched) = hpa.and_then(|hpa| self.hpas.get_mut(&hpa)).filter(|_| to > from) else {
            return Vec::new();
        };
        let Some((engine, _)) = decision(&watched.facts, *from, now.wall) else { return Vec::new() };
        let of_pods = |label: &str| pods_target(&engine.spec().metrics, label).is_some();
        let mut crossed = Vec::new();
        for MetricProposal { metric, value_milli, target_milli, .. } in metrics {
            let Some(average_milli) = value_milli.filter(|_| of_pods(metric)) else { continue };
            let above = average_milli as f64 / *target_milli as f64 > 1.0 + engine.tolerances().up;
            if above && watched.above.insert(metric.clone(), true) != Some(true) {
                watched.unseen.insert(metric.clone());
                crossed.push(EventKind::MetricCrossed {
                    service: service.to_owned(),
                    metric: metric.clone(),
                    average_milli,
                    target_milli: *target_milli,
                    above,
                    next_sync_ms: t_ms,
                    not_before_ms: Some(watched.below_ms.get(metric).copied().unwrap_or(0).min(t_ms)),
                });
            }
        }
        crossed
    }

    /// Processes values of a service's pods from the metrics API.
    pub(crate) fn scraped(
        &mut self,
        now: Now,
        hpa: &str,
        metric_name: &str,
        values_milli: BTreeMap<String, i64>,
    ) {
        let Some(service) = self.service_of_hpa(hpa) else { return };
        if values_milli.is_empty() {
            return;
        }
        let average_milli = values_milli.values().sum::<i64>() / values_milli.len() as i64;
        let (metric, values_milli) = (metric_name.to_owned(), values_milli);
        self.tell(now, EventKind::MetricScraped { service: service.clone(), metric, values_milli });
        let Some(watched) = self.hpas.get_mut(hpa) else { return };
        let Ok(spec) = &watched.facts.spec else { return };
        let Some(target_milli) = pods_target(&spec.metrics, metric_name) else { return };
        let Some((engine, _)) = decision(&watched.facts, 1, now.wall) else { return };
        let above = average_milli as f64 / target_milli as f64 > 1.0 + engine.tolerances().up;
        // While the controller's status says otherwise, our poll is older.
        if !above && watched.unseen.contains(metric_name) && watched.status_above(metric_name, &engine) {
            return;
        }
        watched.unseen.remove(metric_name);
        if !above {
            watched.below_ms.insert(metric_name.to_owned(), now.t_ms);
        }
        let before = watched.above.insert(metric_name.to_owned(), above);
        if before == Some(above) || (before.is_none() && !above) {
            return;
        }
        let since_sync_ms = now.t_ms.saturating_sub(watched.synced_ms);
        let next_sync_ms = now.t_ms + SYNC_MS - since_sync_ms % SYNC_MS;
        let metric = metric_name.to_owned();
        let crossed = EventKind::MetricCrossed {
            service,
            metric,
            average_milli,
            target_milli,
            above,
            next_sync_ms,
            not_before_ms: None,
        };
        self.tell(now, crossed);
    }
}

fn change(service: &str, decided: Decided, hpa: Option<&HpaFacts>, now: Now) -> EventKind {
    let Decided { from, to, by, .. } = decided;
    let service = service.to_owned();
    match (by, hpa) {
        (By::Controller(message), Some(hpa)) => {
            let rescaled = || hpa.condition("AbleToScale").filter(|able| able.reason == "SucceededRescale");
            let reason = message.or_else(|| rescaled().map(|able| able.message.clone()));
            let reason = reason.unwrap_or_else(|| {
                format!("New size: {to}; the controller's event with the reason has not arrived")
            });
            let explanation = explanation(hpa, from, to, now.wall).unwrap_or_else(|| reason.clone());
            let metrics = proposals(hpa, now.wall);
            EventKind::DesiredChanged { service, from, to, reason, explanation, metrics }
        }
        _ => EventKind::ReplicasSet { service, from, to },
    }
}

fn conditions(hpa: &HpaFacts) -> BTreeMap<String, [String; 2]> {
    let word = |status: bool| if status { "True" } else { "False" }.to_owned();
    let conditions = hpa.conditions.iter();
    conditions.map(|one| (one.kind.clone(), [word(one.status), one.reason.clone()])).collect()
}

/// Why an autoscaler cannot work.
pub(crate) fn trouble(hpa: &HpaFacts) -> Option<String> {
    let failing = |kind: &str| hpa.condition(kind).filter(|condition| !condition.status);
    let unable = failing("AbleToScale");
    let inactive = || failing("ScalingActive").filter(|condition| condition.reason != "ScalingDisabled");
    unable.or_else(inactive).map(|condition| condition.message.clone())
}
