//! The metrics pipeline and the autoscalers' loop, with a cluster's delays: scrape, window, sync.

use std::{collections::BTreeMap, time::Duration};

use platform::{EventKind, PartKind, services::PodsMetric};

use crate::{
    Controller, Effect, Fact, MetricAnswer, Question, RunId, Sample, Time,
    autoscaling::{Clock, Seen},
    facts::Warning,
    instance::{Instance, Workload},
    series::thousand,
};

/// Longest wait for all answers of one sync, even if the next sync is further away.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Default)]
pub(crate) struct Pipeline {
    next_scrape: Time,
    next_sync: Time,
    /// A scrape is in progress.
    scraping: bool,
    /// A sync waits for Prometheus' answers.
    asking: bool,
    /// The Prometheus that the last sync queried.
    asked: Option<String>,
    /// The values that it could not provide, by service and metric: each is reported once.
    failing: BTreeMap<(String, String), String>,
    pub(crate) counts: Counts,
}

/// Counts since the platform came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub scrapes: u64,
    pub syncs: u64,
    /// Metrics of autoscalers that could not be read at a sync.
    pub metric_failures: u64,
}

impl Controller {
    /// When the next scrape and the next sync are due.
    pub(crate) fn next_ticks(&self) -> (Option<Time>, Option<Time>) {
        if !self.came_up || self.stopping.is_some() {
            return (None, None);
        }
        let pipeline = &self.pipeline;
        (
            (!pipeline.scraping).then_some(pipeline.next_scrape),
            (!pipeline.asking).then_some(pipeline.next_sync),
        )
    }

    pub(crate) fn next_sync(&self) -> Option<Time> {
        (self.came_up && self.stopping.is_none()).then_some(self.pipeline.next_sync)
    }

    /// Starts the intervals once there is something to scrape.
    pub(crate) fn begin_pipeline(&mut self, now: Time) {
        let Some(spec) = &self.spec else { return };
        self.pipeline.next_scrape = now + spec.values.metrics.scrape_interval;
        self.pipeline.next_sync = now + spec.values.metrics.sync_period;
    }

    /// Switches to other intervals.
    pub(crate) fn change_pipeline(&mut self, now: Time) {
        let Some(spec) = &self.spec else { return };
        let metrics = spec.values.metrics.clone();
        let pipeline = &mut self.pipeline;
        pipeline.next_scrape = pipeline.next_scrape.min(now + metrics.scrape_interval);
        pipeline.next_sync = pipeline.next_sync.min(now + metrics.sync_period);
        for instance in self.instances.iter_mut() {
            instance.series.set_window(metrics.window);
        }
    }

    pub(crate) fn scrape(&mut self) {
        let Some(spec) = &self.spec else { return };
        self.pipeline.scraping = true;
        self.pipeline.next_scrape = self.pipeline.next_scrape + spec.values.metrics.scrape_interval;
        self.effect(Effect::Scrape);
    }

    pub(crate) fn scraped(&mut self, samples: &[(RunId, Sample)], now: Time) {
        if !std::mem::take(&mut self.pipeline.scraping) {
            return;
        }
        self.pipeline.counts.scrapes += 1;
        // After a pause of the whole machine, missed scrapes are not made up for.
        self.pipeline.next_scrape = self.pipeline.next_scrape.max(now);
        let by_run: BTreeMap<RunId, Sample> = samples.iter().copied().collect();
        for instance in self.instances.iter_mut() {
            let run = instance.run.as_ref().map(|run| run.id);
            match run.and_then(|run| Some((run, by_run.get(&run)?))) {
                Some((run, sample)) => instance.series.take(now, run, sample),
                None => instance.series.miss(),
            }
        }
        let next_sync_ms = self.pipeline.next_sync.as_millis();
        for kind in self.services.keys().copied().collect::<Vec<_>>() {
            for (metric, value) in SCRAPED {
                let replicas = self.replicas(kind);
                let values_milli: BTreeMap<String, i64> =
                    replicas.filter_map(|one| Some((one.name.to_string(), value(one)?))).collect();
                if !values_milli.is_empty() {
                    let service = kind.name().to_owned();
                    self.event(EventKind::MetricScraped { service, metric: metric.to_owned(), values_milli });
                }
            }
            let Some(hpa) = self.services.get_mut(&kind).and_then(|service| service.hpa.as_mut()) else {
                continue;
            };
            let replicas =
                self.instances.iter_mut().filter(|one| one.is_of(Workload::Service(kind)) && one.is_active());
            for event in hpa.crossings(kind.name(), replicas, now, next_sync_ms) {
                self.event(event);
            }
        }
    }

    /// A sync is due: syncs every autoscaler, at once or after Prometheus' answers.
    pub(crate) fn sync(&mut self, now: Time) {
        let Some(spec) = &self.spec else { return };
        let period = spec.values.metrics.sync_period;
        self.pipeline.next_sync = (self.pipeline.next_sync + period).max(now);
        if !self.asks_prometheus() {
            self.pipeline.failing.clear();
            self.sync_with(None, now);
            return;
        }
        self.pipeline.asking = true;
        let questions = self.questions();
        let prometheus = self.parts.get(&PartKind::Prometheus).and_then(|part| part.address.clone());
        // A different one has its own failures; one that briefly has no address is still the same.
        if prometheus.is_some() && self.pipeline.asked != prometheus {
            self.pipeline.failing.clear();
            self.pipeline.asked.clone_from(&prometheus);
        }
        let patience = period.min(PATIENCE_MAX);
        self.effect(Effect::AskMetrics { questions, prometheus, patience });
    }

    /// Asks for all replicas, including draining ones: the adapter lists pods by selector.
    fn questions(&self) -> Vec<Question> {
        let mut questions = Vec::new();
        for (kind, service) in &self.services {
            let replicas: Vec<String> = self.replicas(*kind).map(|one| one.name.to_string()).collect();
            if replicas.is_empty() {
                continue;
            }
            for metric in service.hpa.iter().flat_map(crate::autoscaling::Hpa::pods_metrics) {
                let (service, metric) = (kind.name().to_owned(), metric.to_owned());
                questions.push(Question { service, metric, replicas: replicas.clone() });
            }
        }
        questions
    }

    pub(crate) fn metrics_answered(&mut self, answers: &[MetricAnswer], now: Time) {
        if !std::mem::take(&mut self.pipeline.asking) {
            return;
        }
        let before = std::mem::take(&mut self.pipeline.failing);
        for answer in answers {
            let of = (answer.service.clone(), answer.metric.clone());
            let (service, metric) = of.clone();
            match &answer.values {
                Err(reason) => {
                    if !before.contains_key(&of) {
                        let reason = reason.clone();
                        self.tell(Fact::Warning(Warning::MetricUnavailable { service, metric, reason }));
                    }
                    self.pipeline.failing.insert(of, reason.clone());
                }
                // A metric that is no longer requested has not come back.
                Ok(_) if before.contains_key(&of) => {
                    self.tell(Fact::Warning(Warning::MetricAvailable { service, metric }));
                }
                Ok(_) => {}
            }
        }
        self.sync_with(Some(answers), now);
    }

    /// Syncs every autoscaler once. `answers`: from Prometheus, if custom metrics come from there.
    fn sync_with(&mut self, answers: Option<&[MetricAnswer]>, now: Time) {
        self.pipeline.counts.syncs += 1;
        let clock = Clock { began_unix_ms: self.began.as_millisecond() };
        let mut events = Vec::new();
        for (kind, service) in &mut self.services {
            let Some(template) = &service.template else { continue };
            let desired = service.effective();
            let Some(hpa) = &mut service.hpa else { continue };
            let replicas: Vec<&mut Instance> =
                self.instances.iter_mut().filter(|one| one.is_of(Workload::Service(*kind))).collect();
            let seen = Seen { replicas, desired, resources: &template.resources, answers };
            let (told, wanted) = hpa.sync(kind.name(), seen, clock, now);
            self.pipeline.counts.metric_failures += hpa.failures();
            events.extend(told);
            if let Some(wanted) = wanted {
                (service.desired, service.set_by_hand) = (wanted, false);
            }
        }
        for event in events {
            self.event(event);
        }
        self.dirty();
    }
}

/// One value of a replica, in milli-units.
type Value = fn(&Instance) -> Option<i64>;

/// The metrics that are reported for every scrape.
const SCRAPED: [(&str, Value); 6] = [
    (PodsMetric::Connections.name(), |one| one.series.connections().map(thousand)),
    (PodsMetric::Packets.name(), |one| {
        one.series.packets_per_second().map(|packets| (packets * 1000.0).round() as i64)
    }),
    (PodsMetric::Sessions.name(), |one| of_sessions(one, PodsMetric::Sessions)),
    (PodsMetric::Users.name(), |one| of_sessions(one, PodsMetric::Users)),
    ("cpu", |one| one.series.cpu_milli.map(|cpu| cpu.milli)),
    ("memory", |one| one.series.memory_bytes.map(thousand)),
];

/// The number of sessions that a replica reports, if its service has sessions.
fn of_sessions(one: &Instance, metric: PodsMetric) -> Option<i64> {
    let Workload::Service(kind) = one.workload else { return None };
    one.series.sessions().filter(|_| kind.row().metric == Some(metric)).map(thousand)
}
