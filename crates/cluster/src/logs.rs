//! Log lines of pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{AsyncBufReadExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ListParams, LogParams},
};
use platform::{
    TargetError,
    target::{LogLine, LogQuery, Pick, Subject},
};
use tokio::sync::mpsc;

use crate::{
    connect::Cluster,
    facts::{Facts as _, Object, Selector},
    world::World,
};

/// How often to check for new pods while following.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The maximum number of logs read at the same time.
const AT_ONCE: usize = 8;
/// The maximum number of last lines read of each pod before all are sorted by time. Kubelets keep 10 MiB of each.
const MOST_LINES: i64 = 200_000;
/// The maximum number of pods that can be followed at the same time.
const FOLLOWED_MAX: usize = 200;

/// The pods whose logs are requested.
#[derive(Debug)]
pub(crate) struct Pods {
    /// Those that match any of these.
    selectors: Vec<Selector>,
    name: Option<String>,
}

impl Pods {
    pub(crate) fn of(world: &World, query: &LogQuery) -> Result<Self, TargetError> {
        // A part is called by its name, a member of one is a pod.
        let mut query = query.clone();
        if let Some(service) = &query.service {
            let what = world.in_full(&Subject::whole(service));
            if let Pick::Named(pod) = what.replica {
                query.replica = Some(pod);
            }
            query.service = Some(what.name);
        }
        let known = || world.services().map(|(name, _)| name.clone()).collect();
        if let Some(service) = &query.service
            && world.service(service).is_none()
        {
            return Err(TargetError::UnknownService { service: service.clone(), known: known() });
        }
        let wanted =
            world.services().filter(|(name, _)| query.service.as_ref().is_none_or(|one| one == *name));
        let selectors = wanted.filter_map(|(_, service)| world.workload(service)?.selector.clone()).collect();
        Ok(Self { selectors, name: query.replica })
    }

    async fn present(&self, cluster: &Cluster) -> Result<Vec<(String, String)>, TargetError> {
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let mut found = BTreeSet::new();
        for selector in &self.selectors {
            let params = ListParams::default().labels(&selector.to_string());
            let pods = cluster.ask("the pods", api.list(&params)).await?;
            for pod in pods.items {
                let Object::Pod(facts) = pod.facts() else { continue };
                if self.name.as_ref().is_some_and(|name| *name != facts.name) || facts.containers.is_empty() {
                    continue;
                }
                found.insert((facts.name, container(&pod)));
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// The default container, as in kubectl.
fn container(pod: &Pod) -> String {
    let annotations = pod.metadata.annotations.as_ref();
    let named = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
    let first = || pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|one| one.name.clone());
    named.cloned().or_else(first).unwrap_or_default()
}

fn params(container: &str, since: Option<Timestamp>) -> LogParams {
    LogParams {
        container: Some(container.to_owned()),
        since_time: since,
        timestamps: true,
        ..LogParams::default()
    }
}

/// `2026-11-28T08:00:00.123456789Z text`
fn line(replica: &str, text: &str) -> LogLine {
    let (time, rest) = text.split_once(' ').unwrap_or((text, ""));
    let replica = replica.to_owned();
    match time.parse::<Timestamp>() {
        Ok(time) => LogLine { time, replica, text: rest.to_owned() },
        Err(_) => LogLine { time: Timestamp::UNIX_EPOCH, replica, text: text.to_owned() },
    }
}

fn is_wanted(query: &LogQuery, line: &LogLine) -> bool {
    query.text.as_ref().is_none_or(|text| line.text.contains(text))
}

/// All lines so far, oldest first.
async fn past(
    cluster: &Cluster,
    pods: Vec<(String, String)>,
    query: &LogQuery,
) -> Result<Vec<LogLine>, TargetError> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let api = &api;
    let mut texts = stream::iter(pods)
        .map(|(pod, container)| async move {
            // The API server also counts lines that do not match the text.
            let tail = query.tail.filter(|_| query.text.is_none()).and_then(|tail| i64::try_from(tail).ok());
            let tail_lines = Some(tail.unwrap_or(MOST_LINES).min(MOST_LINES));
            let params = LogParams { tail_lines, ..params(&container, query.since) };
            let text = cluster.try_ask(api.logs(&pod, &params)).await;
            (pod, text)
        })
        .buffered(AT_ONCE);
    let mut lines = Vec::new();
    while let Some((pod, text)) = texts.next().await {
        match text {
            Ok(text) => {
                lines.extend(text.lines().map(|text| line(&pod, text)).filter(|line| is_wanted(query, line)));
            }
            // It is not running yet, or is gone.
            Err(call) if matches!(call.status(), Some(400 | 404)) => {}
            Err(call) => return Err(call.error(&format!("the log of pod {pod}"), cluster)),
        }
    }
    lines.sort_by_key(|line| line.time);
    if let Some(tail) = query.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    Ok(lines)
}

/// Sends the lines until nobody listens any more.
pub(crate) async fn run(
    cluster: Cluster,
    pods: Pods,
    query: LogQuery,
    sender: mpsc::Sender<Result<LogLine, TargetError>>,
) {
    if let Err(error) = send(&cluster, &pods, &query, &sender).await {
        // Nobody listens any more.
        let _ = sender.send(Err(error)).await;
    }
}

async fn send(
    cluster: &Cluster,
    pods: &Pods,
    query: &LogQuery,
    sender: &mpsc::Sender<Result<LogLine, TargetError>>,
) -> Result<(), TargetError> {
    let present = pods.present(cluster).await?;
    if let (Some(name), true) = (&pods.name, present.is_empty()) {
        let message = format!("there is no pod {name} that has begun to run");
        return Err(TargetError::Other { message });
    }
    // For each pod, the time up to which its lines are known.
    let mut last: BTreeMap<String, Timestamp> = BTreeMap::new();
    for line in past(cluster, present, query).await? {
        last.insert(line.replica.clone(), line.time);
        if sender.send(Ok(line)).await.is_err() {
            return Ok(());
        }
    }
    if query.follow { follow(cluster, pods, query, sender, last).await } else { Ok(()) }
}

/// From here on each pod's lines come as they are written. A broken connection is restored from the last line on.
async fn follow(
    cluster: &Cluster,
    pods: &Pods,
    query: &LogQuery,
    sender: &mpsc::Sender<Result<LogLine, TargetError>>,
    mut last: BTreeMap<String, Timestamp>,
) -> Result<(), TargetError> {
    let began = clock::wall();
    let mut followed: BTreeSet<String> = BTreeSet::new();
    let mut streams = stream::SelectAll::new();
    let mut look = tokio::time::interval(LOOK_EVERY);
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut is_first = true;
    loop {
        tokio::select! {
            () = sender.closed() => return Ok(()),
            Some((pod, text)) = streams.next() => {
                let (pod, text): (String, Option<String>) = (pod, text);
                let Some(text) = text else {
                    followed.remove(&pod);
                    continue;
                };
                let line = line(&pod, &text);
                if last.get(&pod).is_some_and(|last| line.time <= *last) {
                    continue;
                }
                last.insert(pod, line.time);
                if is_wanted(query, &line) && sender.send(Ok(line)).await.is_err() {
                    return Ok(());
                }
            }
            _ = look.tick() => {
                // What cannot be listed now will be listed next time.
                let Ok(present) = pods.present(cluster).await else { continue };
                last.retain(|pod, _| present.iter().any(|(present, _)| present == pod));
                for (pod, container) in present {
                    if followed.contains(&pod) || followed.len() >= FOLLOWED_MAX {
                        continue;
                    }
                    // All lines of a new pod are still to come.
                    let since = last.get(&pod).copied().or(is_first.then_some(began));
                    let params = LogParams { follow: true, ..params(&container, since) };
                    let Ok(lines) = api.log_stream(&pod, &params).await else { continue };
                    followed.insert(pod.clone());
                    let (of, end) = (pod.clone(), pod);
                    let lines = lines.lines().filter_map(|line| std::future::ready(line.ok()));
                    let lines = lines.map(move |line| (of.clone(), Some(line)));
                    streams.push(lines.chain(stream::once(async move { (end, None) })).boxed());
                }
                is_first = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_dated_by_the_api_server() {
        let dated = line("web-1", "2026-11-28T08:00:00.25Z  two  spaces");
        assert_eq!((dated.time.as_millisecond() % 1000, dated.text.as_str()), (250, " two  spaces"));
        assert_eq!(line("web-1", "no date").text, "no date");
        let query = LogQuery { text: Some("two".to_owned()), ..LogQuery::default() };
        assert!(is_wanted(&query, &dated) && !is_wanted(&query, &line("web-1", "other")));
    }
}
