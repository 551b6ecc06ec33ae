//! Reads the metrics pipeline's inputs: counts of the kernel and the services, and Prometheus' answers.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use ::platform::{services::PodsMetric, values::Protocol};
use controller::{Input, MetricAnswer, Question, RunId, Sample, Time};

use super::{
    Message,
    counted::{self, Asked},
    host::Host,
    runs::What,
    sample::{Scrape, Targets},
};
use crate::prometheus::{
    adapter,
    client::{Client, QueryError},
};

/// The result of a scrape for one run.
struct Scraped {
    run: RunId,
    pid: u32,
    clients: SocketAddr,
    metric: Option<PodsMetric>,
}

impl Host {
    /// Scrapes all replicas, on a separate thread, since the kernel takes a while to list many connections.
    pub(super) fn scrape(&self) {
        let mut replicas = Vec::new();
        let (mut ports, mut counting) = (HashSet::new(), Vec::new());
        for (run, running) in &self.runs {
            let (What::Replica { service, clients, admin, .. }, Some(pid)) = (&running.what, running.pid())
            else {
                continue;
            };
            replicas.push(Scraped { run: *run, pid, clients: *clients, metric: service.row().metric });
            match service.row().transport {
                Protocol::Tcp => drop(ports.insert(clients.port())),
                Protocol::Udp => {}
            }
            if let Some(series) = service.row().metric.and_then(PodsMetric::series) {
                counting.push(Asked { pid, admin: *admin, series });
            }
        }
        let targets = Targets { ports, pids: replicas.iter().map(|replica| replica.pid).collect() };
        let (messages, clock) = (self.messages.clone(), self.clock);
        tokio::task::spawn_local(async move {
            let counts = counted::counts(counting).await;
            let scrape = tokio::task::spawn_blocking(move || Scrape::take(&targets)).await;
            let samples = match scrape {
                Ok(scrape) => samples(&replicas, &scrape, &counts, |at| clock.at(at)),
                Err(error) => {
                    tracing::error!(%error, "a scrape failed");
                    Vec::new()
                }
            };
            // The supervisor has ended: nobody scrapes any more.
            let _ = messages.send(Message::Input(Input::Scraped { samples })).await;
        });
    }

    /// Sends prometheus-adapter's queries to Prometheus, all at the same time.
    pub(super) fn ask_metrics(
        &mut self,
        questions: Vec<Question>,
        prometheus: Option<&str>,
        patience: Duration,
    ) {
        let client = self.prometheus.client(prometheus);
        let (messages, namespace) = (self.messages.clone(), self.name().to_owned());
        tokio::task::spawn_local(async move {
            let mut asked = tokio::task::JoinSet::new();
            for question in questions {
                let (client, namespace) = (client.clone(), namespace.clone());
                asked.spawn_local(async move { answer(client, question, &namespace, patience).await });
            }
            let mut answers = Vec::new();
            while let Some(Ok(answer)) = asked.join_next().await {
                answers.push(answer);
            }
            answers.sort_by(|a: &MetricAnswer, b| (&a.service, &a.metric).cmp(&(&b.service, &b.metric)));
            // The supervisor has ended: nobody syncs any more.
            let _ = messages.send(Message::Input(Input::MetricsAnswered { answers })).await;
        });
    }
}

fn samples(
    replicas: &[Scraped],
    scrape: &Scrape,
    counts: &HashMap<u32, (Instant, u64)>,
    time: impl Fn(Instant) -> Time,
) -> Vec<(RunId, Sample)> {
    let counted =
        |replica: &Scraped, metric| counts.get(&replica.pid).filter(|_| replica.metric == Some(metric));
    let sample = |replica: &Scraped| Sample {
        connections: scrape.connections(replica.clients),
        packets: counted(replica, PodsMetric::Packets).map(|(at, count)| (time(*at), *count)),
        sessions: counted(replica, PodsMetric::Sessions)
            .or_else(|| counted(replica, PodsMetric::Users))
            .map(|(_, count)| *count),
        usage: scrape.usage(replica.pid),
    };
    replicas.iter().map(|replica| (replica.run, sample(replica))).collect()
}

async fn answer(
    client: Result<Client, QueryError>,
    question: Question,
    namespace: &str,
    patience: Duration,
) -> MetricAnswer {
    let Question { service, metric, replicas } = question;
    let pods: Vec<&str> = replicas.iter().map(String::as_str).collect();
    let no_rule = || {
        let known: Vec<&str> = adapter::names().collect();
        format!("prometheus-adapter has no rule for it; it serves {}", known.join(", "))
    };
    let values = async {
        let query = adapter::query(&metric, namespace, &pods).ok_or_else(no_rule)?;
        let by_pod = match client {
            Ok(client) => client.by_pod(&query, patience).await,
            Err(error) => Err(error),
        };
        let by_pod: BTreeMap<String, i64> = by_pod.map_err(|error| error.to_string())?;
        // As the controller does: an answer without a single pod is a failure.
        if by_pod.is_empty() {
            return Err("Prometheus has no series for its pods; does it scrape this platform?".to_owned());
        }
        Ok(by_pod)
    }
    .await;
    MetricAnswer { service, metric, values }
}
