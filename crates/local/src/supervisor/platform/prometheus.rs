//! `metrics.source: prometheus`: before each sync, Prometheus is asked for what the autoscalers look at.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ::platform::{
    EventKind,
    values::{MetricsSource, Values},
};

use super::{Platform, World};
use crate::{
    programs::Program,
    prometheus::{
        adapter,
        client::{ByPod, Client},
        config,
    },
    supervisor::{Message, autoscaling::Hpa, parts::Parts, service::Service},
};

/// Longest wait for all answers of one sync, even if the next sync is further away.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// By service and metric: the values of its replicas, or why there are none.
pub(crate) type Answers = BTreeMap<(String, String), Result<ByPod, String>>;

/// Where custom metrics come from.
#[derive(Debug)]
pub(crate) enum CustomMetrics {
    Kernel,
    Prometheus {
        client: Client,
        /// A sync waits for its answers.
        asking: bool,
        /// What could not be read at the last sync, and why: told once.
        failing: BTreeMap<(String, String), String>,
    },
}

impl CustomMetrics {
    pub(super) fn new(values: &Values, parts: &Parts) -> Result<Self, String> {
        match values.metrics.source {
            MetricsSource::Kernel => Ok(Self::Kernel),
            MetricsSource::Prometheus => {
                let url =
                    parts.prometheus_url().ok_or("metrics.source=prometheus: there is no Prometheus")?;
                Ok(Self::Prometheus { client: Client::new(&url)?, asking: false, failing: BTreeMap::new() })
            }
        }
    }

    /// Whether a sync waits for answers.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self, Self::Prometheus { asking: true, .. })
    }

    /// Takes over another source; one that stays the same keeps what it knows.
    pub(super) fn change(&mut self, new: Self) {
        let same = match (&*self, &new) {
            (Self::Kernel, Self::Kernel) => true,
            (Self::Prometheus { client: before, .. }, Self::Prometheus { client: after, .. }) => {
                before == after
            }
            _ => false,
        };
        if !same {
            *self = new;
        }
    }
}

impl Platform {
    /// A sync is due: lets every autoscaler look, at once or when Prometheus has answered.
    pub(crate) fn sync(&mut self) {
        let now = Instant::now();
        let Some(world) = &mut self.world else { return };
        world.next_sync = (world.next_sync + world.values.metrics.sync_period).max(now);
        let questions = questions(world, &self.name);
        let patience = world.values.metrics.sync_period.min(PATIENCE_MAX);
        match &mut world.custom_metrics {
            CustomMetrics::Kernel => self.sync_with(None),
            CustomMetrics::Prometheus { client, asking, .. } => {
                *asking = true;
                let (client, messages) = (client.clone(), self.starter.messages());
                tokio::task::spawn_local(async move {
                    let answers = ask(&client, questions, patience).await;
                    // The actor has ended: nobody syncs any more.
                    let _ = messages.send(Message::Answered { answers }).await;
                });
            }
        }
    }

    /// The scrape interval may be another: tells the platform's own Prometheus, if there is one.
    pub(super) fn reconfigure_prometheus(&self, world: &World, interval: Duration) -> Result<(), String> {
        let changed = config::write(&self.own.prometheus_directory(), interval)
            .map_err(|error| format!("Prometheus' configuration cannot be written: {error}"))?;
        let own = world.servers.iter().filter(|server| server.spec.program == Program::Prometheus);
        for running in own.filter_map(|server| server.running.as_ref()) {
            if changed {
                running.process.reload();
            }
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, mut answers: Answers) {
        let Some(World { custom_metrics: CustomMetrics::Prometheus { asking, failing, .. }, .. }) =
            &mut self.world
        else {
            // Changed to another source in the meantime.
            return;
        };
        *asking = false;
        // As the controller does: an answer without a single pod is a failure.
        for answer in answers.values_mut() {
            if answer.as_ref().is_ok_and(BTreeMap::is_empty) {
                *answer =
                    Err("Prometheus has no series of its pods; does it scrape this platform?".to_owned());
            }
        }
        let now_failing: BTreeMap<_, _> = answers
            .iter()
            .filter_map(|(of, answer)| Some((of.clone(), answer.as_ref().err()?.clone())))
            .collect();
        let before = std::mem::replace(failing, now_failing.clone());
        for (of @ (service, metric), why) in &now_failing {
            if !before.contains_key(of) {
                let message = format!("{service}: {metric} is unavailable: {why}");
                self.recorder.emit(EventKind::Warning { message });
            }
        }
        for of @ (service, metric) in before.keys() {
            // A metric that is not asked for any more has not come back.
            if answers.get(of).is_some_and(Result::is_ok) {
                let message = format!("{service}: {metric} is available again");
                self.recorder.emit(EventKind::Warning { message });
            }
        }
        self.sync_with(Some(&answers));
    }
}

/// By service and metric the query, or why there is none.
type Questions = Vec<((String, String), Result<String, String>)>;

/// All replicas are asked for, those that drain included: the adapter lists pods by selector.
fn questions(world: &World, namespace: &str) -> Questions {
    let of_service = |service: &Service| -> Questions {
        let pods: Vec<&str> = service.replicas.iter().map(|replica| replica.name.as_str()).collect();
        let metrics = service.hpa.iter().flat_map(Hpa::pods_metrics);
        metrics
            .map(|metric| {
                let none = || {
                    let known: Vec<&str> = adapter::names().collect();
                    format!("prometheus-adapter has no rule for it; it serves {}", known.join(", "))
                };
                let query = adapter::query(metric, namespace, &pods).ok_or_else(none);
                ((service.name.clone(), metric.to_owned()), query)
            })
            .collect()
    };
    world.services.iter().filter(|service| !service.replicas.is_empty()).flat_map(of_service).collect()
}

/// All at the same time.
async fn ask(client: &Client, questions: Questions, patience: Duration) -> Answers {
    let mut asked = tokio::task::JoinSet::new();
    let mut answers = Answers::new();
    for (of, query) in questions {
        match query {
            Ok(query) => {
                let client = client.clone();
                asked.spawn_local(async move { (of, client.by_pod(&query, patience).await) });
            }
            Err(why) => drop(answers.insert(of, Err(why))),
        }
    }
    while let Some(Ok((of, answer))) = asked.join_next().await {
        answers.insert(of, answer);
    }
    answers
}
