//! A run over time: the numbers behind the charts.
//!
//! Bounded: if there are too many samples, every second one is dropped, and from then on only every second (fourth, …)
//! is recorded.

use std::collections::BTreeMap;

use platform::{Event, EventKind, event::MetricProposal};

/// Maximum number of samples per series.
const SAMPLES_MAX: usize = 4_096;
/// Maximum number of changes of replicas, and of services.
const CHANGES_MAX: usize = 10_000;
const SERVICES_MAX: usize = 64;

/// Samples over time, thinned out when there are too many.
#[derive(Debug, Clone)]
pub(crate) struct Samples<T> {
    list: Vec<(u64, T)>,
    stride: usize,
    skipped: usize,
}

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Self { list: Vec::new(), stride: 1, skipped: 0 }
    }
}

impl<T> Samples<T> {
    pub(crate) fn push(&mut self, t_ms: u64, value: T) {
        self.skipped += 1;
        if self.skipped < self.stride && !self.list.is_empty() {
            return;
        }
        self.skipped = 0;
        self.list.push((t_ms, value));
        if self.list.len() >= SAMPLES_MAX {
            let mut index = 0;
            self.list.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
    }

    pub(crate) fn list(&self) -> &[(u64, T)] {
        &self.list
    }
}

/// Connections at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) open: u64,
    pub(crate) by_replica: BTreeMap<String, u64>,
}

/// One service's replicas over time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replicas {
    /// When the desired number changed, and to what; the first entry is the start of the run.
    pub(crate) desired: Vec<(u64, u32)>,
    /// The metric that decides, and its target per replica in milli-units.
    pub(crate) target: Option<(String, i64)>,
    /// Scraped values of that metric, summed over the replicas, in milli-units.
    pub(crate) scraped: Samples<i64>,
    changes: usize,
}

impl Replicas {
    fn set(&mut self, t_ms: u64, from: Option<u32>, to: u32) {
        if self.desired.is_empty() {
            // Nothing was known before: assume that the run started like this.
            self.desired.push((0, from.unwrap_or(to)));
        }
        let known = self.desired.last().map(|(_, replicas)| *replicas);
        if known != Some(to) && self.desired.len() < CHANGES_MAX {
            self.desired.push((t_ms, to));
            self.changes += 1;
        }
    }

    /// The desired number at a moment.
    pub(crate) fn at(&self, t_ms: u64) -> Option<u32> {
        let after = self.desired.partition_point(|(since, _)| *since <= t_ms);
        Some(self.desired.get(after.checked_sub(1)?)?.1)
    }

    /// An average target, not a utilisation: only averages can be drawn next to connections.
    fn learn(&mut self, metrics: &[MetricProposal]) {
        if let Some(metric) =
            metrics.iter().find(|metric| !metric.utilization).filter(|_| self.target.is_none())
        {
            self.target = Some((metric.metric.clone(), metric.target_milli));
        }
    }
}

/// All series of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    pub(crate) connections: Samples<Connections>,
    /// For a datagram load: messages a second, the basis for scaling its service.
    messages: Samples<f64>,
    rate: MessageRate,
    /// The load's protocol, and its service.
    protocol: String,
    loaded: String,
    services: BTreeMap<String, Replicas>,
    /// Time of the last event.
    pub(crate) end_ms: u64,
}

impl Series {
    pub(crate) fn observe(&mut self, event: &Event) {
        self.end_ms = self.end_ms.max(event.t_ms);
        let t_ms = event.t_ms;
        match &event.kind {
            EventKind::PlatformStarted { services, .. } => {
                for info in services {
                    let Some(replicas) = self.service(&info.name) else {
                        continue;
                    };
                    replicas.set(t_ms, None, info.replicas);
                    let connections = info
                        .targets_milli
                        .iter()
                        .find(|(metric, _)| !matches!(metric.as_str(), "cpu" | "memory"));
                    if let Some((metric, target)) = connections {
                        replicas.target = Some((metric.clone(), *target));
                    }
                }
            }
            EventKind::HpaSynced { service, current, metrics, .. } => {
                let Some(replicas) = self.service(service) else {
                    return;
                };
                replicas.learn(metrics);
                replicas.set(t_ms, None, *current);
            }
            EventKind::DesiredChanged { service, from, to, metrics, .. } => {
                let Some(replicas) = self.service(service) else {
                    return;
                };
                replicas.learn(metrics);
                replicas.set(t_ms, Some(*from), *to);
            }
            EventKind::ReplicasSet { service, from, to } => {
                if let Some(replicas) = self.service(service) {
                    replicas.set(t_ms, Some(*from), *to);
                }
            }
            EventKind::MetricCrossed { service, metric, target_milli, .. } => {
                if let Some(replicas) = self.service(service) {
                    replicas.target = Some((metric.clone(), *target_milli));
                }
            }
            EventKind::MetricScraped { service, metric, values_milli } => {
                let Some(replicas) = self.service(service) else {
                    return;
                };
                if replicas.target.as_ref().is_some_and(|(name, _)| name == metric) {
                    replicas.scraped.push(t_ms, total(values_milli));
                }
            }
            EventKind::LoadStarted { plan } => {
                self.protocol.clone_from(&plan.protocol);
                // Records without this field are from a time when most services were named after their protocol.
                let of_protocol = if plan.protocol == "sse" { "stream" } else { &plan.protocol };
                plan.service.as_deref().unwrap_or(of_protocol).clone_into(&mut self.loaded);
                self.rate = MessageRate::begun(t_ms);
            }
            EventKind::LoadTick(tick) => {
                if let Some(rate) =
                    self.rate.between(t_ms, tick.totals.messages_sent).filter(|_| self.is_udp())
                {
                    self.messages.push(t_ms, rate);
                }
                self.connections
                    .push(t_ms, Connections { open: tick.open, by_replica: tick.by_replica.clone() });
            }
            _ => {}
        }
    }

    fn service(&mut self, name: &str) -> Option<&mut Replicas> {
        if self.services.len() >= SERVICES_MAX && !self.services.contains_key(name) {
            return None;
        }
        Some(self.services.entry(name.to_owned()).or_default())
    }

    fn is_udp(&self) -> bool {
        self.protocol == "udp"
    }

    /// The service to draw: the loaded one, or else the one whose replicas changed most.
    pub(crate) fn busiest(&self) -> Option<(&str, &Replicas)> {
        let known = self.services.iter().filter(|(_, replicas)| !replicas.desired.is_empty());
        known
            .rev()
            .max_by_key(|(name, replicas)| (**name == self.loaded, replicas.changes))
            .map(|(name, replicas)| (name.as_str(), replicas))
    }

    /// The unit of [`load`](Self::load).
    pub(crate) fn unit(&self) -> &'static str {
        if self.is_udp() { "messages per second" } else { "connections" }
    }

    /// Open connections over time: the load's own count, or the scraped one if there is no load. For a datagram load,
    /// messages a second.
    pub(crate) fn load(&self) -> Vec<(u64, f64)> {
        if self.is_udp() {
            return self.messages.list().to_vec();
        }
        if self.connections.list().is_empty() {
            let scraped = self.busiest().map(|(_, replicas)| replicas.scraped.list()).unwrap_or_default();
            return scraped.iter().map(|(t_ms, milli)| (*t_ms, *milli as f64 / 1000.0)).collect();
        }
        self.connections.list().iter().map(|(t_ms, seen)| (*t_ms, seen.open as f64)).collect()
    }
}

/// Turns an occasionally sampled counter into a rate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MessageRate {
    before: Option<(u64, u64)>,
}

impl MessageRate {
    /// Nothing has been sent yet.
    pub(crate) fn begun(t_ms: u64) -> Self {
        Self { before: Some((t_ms, 0)) }
    }

    /// Messages a second since the previous call, from the total so far; `None` at the first.
    pub(crate) fn between(&mut self, t_ms: u64, sent: u64) -> Option<f64> {
        let (since, before) = self.before.replace((t_ms, sent))?;
        let apart = t_ms.saturating_sub(since);
        (apart > 0).then(|| sent.saturating_sub(before) as f64 * 1000.0 / apart as f64)
    }
}

/// The sum over all replicas.
pub(crate) fn total(values_milli: &BTreeMap<String, i64>) -> i64 {
    values_milli.values().fold(0, |sum, value| sum.saturating_add(*value))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use platform::event::{Source, Stamper};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn samples_stay_bounded_and_cover_the_whole_time() {
        let mut samples = Samples::default();
        for t_ms in 0..1_000_000 {
            samples.push(t_ms, t_ms);
        }
        let times: Vec<_> = samples.list().iter().map(|(t_ms, _)| *t_ms).collect();
        assert!((SAMPLES_MAX / 4..SAMPLES_MAX).contains(&times.len()), "{}", times.len());
        assert_eq!(times[0], 0);
        assert!(times.last().is_some_and(|last| *last > 998_000));
        let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().max() <= steps.iter().min().map(|step| step * 2).as_ref(), "evenly spaced");
    }

    /// The service drawn with a load, when four services have replicas and those of `directory` change most.
    fn drawn(protocol: &str, service: Option<&str>) -> String {
        let plan = serde_json::json!({
            "name": "load", "protocol": protocol, "service": service, "target": "a:1", "connections": 1,
            "connect_interval_us": 1, "message_interval_ms": null, "payload": "", "duration_ms": 1,
            "duration_from_ramp": false,
        });
        let set = |service: &str, from, to| EventKind::ReplicasSet { service: service.to_owned(), from, to };
        let mut kinds = vec![EventKind::LoadStarted { plan: serde_json::from_value(plan).unwrap() }];
        kinds.extend(["balancer", "directory", "stream", "tcp"].map(|service| set(service, 0, 1)));
        kinds.extend([2, 3, 4].map(|to| set("directory", to - 1, to)));
        let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
        let mut series = Series::default();
        for kind in kinds {
            series.observe(&stamper.stamp(0, kind));
        }
        series.busiest().unwrap().0.to_owned()
    }

    #[test]
    fn the_loaded_service_is_drawn_even_if_another_one_scales() {
        assert_eq!(drawn("sse", Some("stream")), "stream");
        assert_eq!(drawn("tcp", Some("tcp")), "tcp");
        assert_eq!(drawn("sse", None), "stream", "of a record that does not say it");
        assert_eq!(drawn("ws", Some("ws")), "directory", "nothing is known of ws");
    }

    #[test]
    fn replicas_are_known_from_the_first_sight_on() {
        let mut replicas = Replicas::default();
        replicas.set(30_000, Some(1), 2);
        replicas.set(45_000, None, 2);
        replicas.set(90_000, Some(2), 1);
        assert_eq!(replicas.desired, [(0, 1), (30_000, 2), (90_000, 1)]);
        assert_eq!(
            [0, 29_999, 30_000, 200_000].map(|t_ms| replicas.at(t_ms)),
            [Some(1), Some(1), Some(2), Some(1)]
        );
    }
}
