//! The services of a run over time: the wanted number of replicas, and the metric that decided.

use std::collections::BTreeMap;

use platform::{
    EventKind,
    event::{MetricProposal, ServiceInfo},
};
use serde::Serialize;

use super::{
    envelope::Envelope,
    holds::{Hold, Holds},
    lines::text,
    replicas::{Replicas, Steps},
};
use crate::series::total;

/// Maximum number of services kept and shown.
const SERVICES_MAX: usize = 16;
/// Maximum bytes of reasons for the syncs of one run in a page.
const REASON_BYTES_MAX: usize = 600_000;
/// Maximum number of changes of a number of replicas.
const STEPS_MAX: usize = 10_000;

/// All services.
#[derive(Debug, Clone, Default)]
pub(super) struct Services(BTreeMap<String, Service>);

#[derive(Debug, Clone, Default)]
struct Service {
    bounds: Option<[u32; 2]>,
    metric: Option<Metric>,
    desired: Vec<(u64, u32)>,
    syncs: Envelope<Sync>,
    /// The average over the replicas, from scrapes.
    scraped: Envelope<()>,
    holds: Holds,
}

/// The metric to draw: a custom one if there is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Metric {
    name: String,
    /// Per replica, in thousandths; of a utilisation, in thousandths of a per cent.
    target_milli: i64,
    utilization: bool,
}

/// One sync of the autoscaler.
#[derive(Debug, Clone, PartialEq)]
struct Sync {
    value_milli: Option<i64>,
    desired: u32,
    reason: String,
}

/// A service in a page.
#[derive(Debug, Serialize)]
pub(super) struct Drawn {
    name: String,
    bounds: Option<[u32; 2]>,
    metric: Option<Metric>,
    desired: Steps,
    /// Ready replicas.
    ready: Steps,
    syncs: Vec<DrawnSync>,
    scraped: Vec<(u64, f64)>,
    /// Periods in which something held the number of replicas.
    holds: Vec<Hold>,
}

/// The time, the observed value, the requested number of replicas, and why.
type DrawnSync = (u64, Option<f64>, u32, String);

impl Services {
    pub(super) fn observe(&mut self, t_ms: u64, kind: &EventKind) {
        match kind {
            EventKind::PlatformStarted { services, .. } => {
                for info in services {
                    if let Some(service) = self.service(&info.name) {
                        service.introduce(t_ms, info);
                    }
                }
            }
            EventKind::HpaSynced { service, current, desired, metrics, reason, conditions } => {
                if let Some(service) = self.service(service) {
                    service.holds.synced(t_ms, *desired, metrics, conditions);
                    service.learn(metrics);
                    service.set(t_ms, None, *current);
                    let value_milli = service.seen(metrics);
                    let sync = Sync { value_milli, desired: *desired, reason: reason.clone() };
                    service.syncs.push(t_ms, value_milli.unwrap_or(0) as f64, sync);
                }
            }
            EventKind::DesiredChanged { service, from, to, metrics, .. } => {
                if let Some(service) = self.service(service) {
                    service.learn(metrics);
                    service.set(t_ms, Some(*from), *to);
                }
            }
            EventKind::ScaleDownHeld { service, recommended, held_at, until_ms } => {
                if let Some(service) = self.service(service) {
                    service.holds.until(t_ms, *recommended, *held_at, *until_ms);
                }
            }
            EventKind::ReplicasSet { service, from, to } => {
                if let Some(service) = self.service(service) {
                    service.set(t_ms, Some(*from), *to);
                }
            }
            EventKind::MetricScraped { service, metric, values_milli } => {
                if let Some(service) = self.service(service)
                    && service.metric.as_ref().is_some_and(|known| known.name == *metric)
                    && !values_milli.is_empty()
                {
                    let average = total(values_milli) as f64 / values_milli.len() as f64;
                    service.scraped.push(t_ms, average, ());
                }
            }
            _ => {}
        }
    }

    fn service(&mut self, name: &str) -> Option<&mut Service> {
        if self.0.len() >= SERVICES_MAX && !self.0.contains_key(name) {
            return None;
        }
        Some(self.0.entry(name.to_owned()).or_default())
    }

    pub(super) fn finish(&self, replicas: &Replicas) -> Vec<Drawn> {
        let scaled = self.0.values().filter(|service| !service.syncs.is_empty()).count();
        let room = REASON_BYTES_MAX / scaled.max(1);
        self.0.iter().map(|(name, service)| service.drawn(name, room, replicas)).collect()
    }
}

impl Service {
    fn introduce(&mut self, t_ms: u64, info: &ServiceInfo) {
        self.bounds = info.autoscaled;
        self.set(t_ms, None, info.replicas);
        let is_custom = |name: &&String| !is_resource(name);
        let name = info.targets_milli.keys().find(is_custom).or_else(|| info.targets_milli.keys().next());
        if let Some(name) = name {
            let utilization = is_resource(name);
            self.metric =
                Some(Metric { name: name.clone(), target_milli: info.targets_milli[name], utilization });
        }
    }

    fn learn(&mut self, metrics: &[MetricProposal]) {
        let known = self.metric.as_ref();
        let metric = match known {
            Some(known) => metrics.iter().find(|metric| metric.metric == known.name),
            None => metrics.iter().find(|metric| !metric.utilization).or(metrics.first()),
        };
        if let Some(MetricProposal { metric, target_milli, utilization, .. }) = metric {
            let (target_milli, utilization) = (*target_milli, *utilization);
            self.metric = Some(Metric { name: metric.clone(), target_milli, utilization });
        }
    }

    /// The value of the drawn metric.
    fn seen(&self, metrics: &[MetricProposal]) -> Option<i64> {
        let known = self.metric.as_ref()?;
        metrics.iter().find(|metric| metric.metric == known.name)?.value_milli
    }

    fn set(&mut self, t_ms: u64, from: Option<u32>, to: u32) {
        if self.desired.is_empty() {
            // Nothing was known before: assume that the run started like this.
            self.desired.push((0, from.unwrap_or(to)));
        }
        let known = self.desired.last().map(|(_, replicas)| *replicas);
        if known != Some(to) && self.desired.len() < STEPS_MAX {
            self.desired.push((t_ms, to));
        }
    }

    fn drawn(&self, name: &str, mut room: usize, replicas: &Replicas) -> Drawn {
        let mut reason = |reason: &str| {
            let reason = text(reason);
            let fits = room >= reason.len();
            room = room.saturating_sub(reason.len());
            if fits { reason } else { String::new() }
        };
        let metric = self.metric.clone().map(|metric| Metric { name: text(&metric.name), ..metric });
        let syncs = self.syncs.samples().into_iter().map(|sample| {
            let Sync { value_milli, desired, reason: why } = &sample.more;
            (sample.t_ms, value_milli.map(units), *desired, reason(why))
        });
        Drawn {
            name: text(name),
            bounds: self.bounds,
            metric,
            desired: self.desired.clone(),
            ready: replicas.ready(name),
            syncs: syncs.collect(),
            holds: self.holds.finish(),
            scraped: self
                .scraped
                .samples()
                .iter()
                .map(|sample| (sample.t_ms, round(sample.key / 1e3)))
                .collect(),
        }
    }
}

fn is_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

fn units(milli: i64) -> f64 {
    milli as f64 / 1e3
}

/// Invisible digits would only make the page larger.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
