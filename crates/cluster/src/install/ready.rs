//! Waits until the installation runs, and says why it does not.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Event as Said, PersistentVolumeClaim, Pod};
use kube::{
    Api,
    api::{ListParams, LogParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use platform::{
    EventKind, Source, TargetError,
    duration::whole_ms,
    event::{GatewayInfo, Stamper},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    AT_ONCE, OnProgress, Progress, Site,
    manifest::{Workload, WorkloadKind},
    why::{self, Why},
};
use crate::{
    error::Call,
    facts::{EventFacts, Facts as _, Object, Selector},
};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a pod may take before we look for a reason.
const ASK_AFTER: Duration = Duration::from_secs(3);
/// How often we look for reasons.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Pods that are explained.
const EXPLAINED_MAX: usize = 8;

/// A workload that is not ready.
#[derive(Debug)]
struct Lagging<'a> {
    workload: &'a Workload,
    wanted: u64,
    ready: u64,
    /// What the controllers complain about, if it has no pods.
    complaint: Option<String>,
    pods: Vec<Pod>,
}

/// How one workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    wanted: u64,
    ready: u64,
    /// Its controller has seen what is wanted, and all pods are of that and ready.
    is_done: bool,
}

/// Follows the pods of a bring-up and tells what happens to them.
pub(super) struct Watch {
    stamper: Stamper,
    began: Instant,
    /// Pods by namespace and name: whether a node has them, and whether they are ready.
    known: BTreeMap<(String, String), (bool, bool)>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let stamper = Stamper::new(Uuid::now_v7(), Source::Cluster, clock::wall());
        Self { stamper, began: clock::now(), known: BTreeMap::new() }
    }

    pub(super) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    fn emit(&mut self, kind: EventKind, tell: &mut OnProgress<'_>) {
        let event = self.stamper.stamp(whole_ms(self.began.elapsed()), kind);
        tell(Progress::Event(&event));
    }

    pub(super) fn started(&mut self, site: &Site, nodes: u32, tell: &mut OnProgress<'_>) {
        let started = EventKind::PlatformStarted {
            platform: site.release.clone(),
            target: format!("cluster {}", site.cluster.context),
            nodes,
            gateway: GatewayInfo::none(),
            services: Vec::new(),
        };
        self.emit(started, tell);
    }

    pub(super) fn ready(&mut self, site: &Site, tell: &mut OnProgress<'_>) {
        let after_ms = whole_ms(self.began.elapsed());
        self.emit(EventKind::PlatformReady { platform: site.release.clone(), after_ms }, tell);
    }

    /// Remembers the pods that already exist, so that only later changes are reported.
    pub(super) async fn prime(&mut self, site: &Site, workloads: &[Workload]) {
        let mut looks = stream::iter(workloads)
            .map(|workload| async move { (workload, look(site, workload).await) })
            .buffered(AT_ONCE);
        while let Some((workload, looked)) = looks.next().await {
            if let Ok((_, _, pods)) = looked {
                self.observe(workload, &pods, &mut |_| {});
            }
        }
    }

    /// What is new of these pods.
    fn observe(&mut self, workload: &Workload, pods: &[Pod], tell: &mut OnProgress<'_>) {
        for pod in pods {
            let Object::Pod(facts) = pod.facts() else { continue };
            let key = (workload.namespace.clone(), facts.name.clone());
            let (had_node, was_ready) = self.known.get(&key).copied().unwrap_or_default();
            let (service, name) = (workload.name.clone(), facts.name.clone());
            let is_ready = facts.is_ready();
            if let Some(node) = facts.node.clone().filter(|_| !had_node) {
                let starting = EventKind::PodStarting {
                    service: service.clone(),
                    pod: name.clone(),
                    node,
                    restarts: facts.restarts(),
                };
                self.emit(starting, tell);
            }
            if is_ready && !was_ready {
                let since = facts.ready.as_ref().and_then(|ready| ready.since);
                let took = since.zip(facts.created).map(|(at, from)| at.duration_since(from));
                let after_ms = took.and_then(|took| u64::try_from(took.as_millis()).ok()).unwrap_or(0);
                self.emit(EventKind::PodReady { service, pod: name, after_ms }, tell);
            }
            self.known.insert(key, (facts.node.is_some(), is_ready));
        }
    }

    /// Waits until all workloads are ready. Returns the number of their pods.
    pub(super) async fn wait(
        &mut self,
        site: &Site,
        workloads: &[Workload],
        limit: Duration,
        tell: &mut OnProgress<'_>,
    ) -> Result<u64, TargetError> {
        let began = clock::now();
        let mut left: Vec<&Workload> = workloads.iter().collect();
        let mut pods = 0;
        let mut asked: Option<(Instant, Vec<String>)> = None;
        loop {
            let mut looks = stream::iter(left.clone())
                .map(|workload| async move { (workload, look(site, workload).await) })
                .buffered(AT_ONCE);
            let mut lagging = Vec::new();
            let mut trouble = None;
            while let Some((workload, looked)) = looks.next().await {
                let (standing, complaint, found) = match looked {
                    Ok(looked) => looked,
                    // The API server may come back; the installed objects are unaffected.
                    Err(call) => {
                        let passes = call.status().is_none_or(|status| status >= 500 || status == 429);
                        trouble = Some((passes, call.error(&workload.name, &site.cluster)));
                        continue;
                    }
                };
                self.observe(workload, &found, tell);
                if standing.is_done {
                    pods += standing.ready;
                    left.retain(|one| !std::ptr::eq(*one, workload));
                } else {
                    let Standing { wanted, ready, .. } = standing;
                    lagging.push(Lagging { workload, wanted, ready, complaint, pods: found });
                }
            }
            drop(looks);
            let waited = began.elapsed();
            match trouble {
                Some((passes, error)) if !passes || waited >= limit => return Err(error),
                Some((_, error)) => {
                    tell(Progress::Doing { stage: "no answer", detail: error.to_string() });
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
                None if lagging.is_empty() => return Ok(pods),
                None => {}
            }
            let is_due = asked.as_ref().is_none_or(|(at, _)| at.elapsed() >= ASK_EVERY);
            if waited >= ASK_AFTER && is_due || waited >= limit {
                asked = Some((clock::now(), explained(site, &lagging, waited >= limit).await));
            }
            let reasons = asked.as_ref().map(|(_, reasons)| reasons.as_slice()).unwrap_or_default();
            if waited >= limit {
                return Err(too_late(site, limit, &lagging, reasons));
            }
            let detail = waiting_for(&lagging, reasons, limit.saturating_sub(waited));
            tell(Progress::Doing { stage: "ready", detail });
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn waiting_for(lagging: &[Lagging<'_>], reasons: &[String], left: Duration) -> String {
    let counts: Vec<String> =
        lagging.iter().map(|one| format!("{} {}/{}", one.workload.name, one.ready, one.wanted)).collect();
    let reason = reasons.first().and_then(|reason| reason.lines().next());
    let reason = reason.map_or_else(String::new, |reason| format!("; {reason}"));
    format!("waiting for pods: {}, at most {} s{reason}", counts.join(", "), left.as_secs())
}

fn too_late(site: &Site, limit: Duration, lagging: &[Lagging<'_>], reasons: &[String]) -> TargetError {
    let counts: Vec<String> = lagging
        .iter()
        .map(|one| {
            format!("{} {} has {} of {}", one.workload.kind.name(), one.workload.name, one.ready, one.wanted)
        })
        .collect();
    let head = format!("not all pods are ready after {} s: {}", limit.as_secs(), counts.join(", "));
    let next = format!(
        "the installation stays: playctl up waits again, playctl down removes it, playctl diagnose collects details; or \
         look yourself: {} -n {} get pods",
        site.kubectl(),
        site.namespace()
    );
    let lines = [&[head][..], reasons, &[next]].concat();
    TargetError::BringUp { message: lines.join("\n") }
}

/// One workload with its pods.
async fn look(site: &Site, workload: &Workload) -> Result<(Standing, Option<String>, Vec<Pod>), Call> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", workload.kind.name()));
    let client = site.cluster.client.clone();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &workload.namespace, &kind);
    let object = site.cluster.try_ask(api.get(&workload.name)).await?;
    let standing = standing(workload.kind, &object);
    let mut pods = Vec::new();
    if let Some(selector) = Selector::read(&object.data["spec"]["selector"]) {
        let api: Api<Pod> = Api::namespaced(client, &workload.namespace);
        let params = ListParams::default().labels(&selector.to_string());
        pods = site.cluster.try_ask(api.list(&params)).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    }
    Ok((standing, complaint(&object), pods))
}

fn standing(kind: WorkloadKind, object: &DynamicObject) -> Standing {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let count = |key: &str| status[key].as_u64().unwrap_or(0);
    let is_seen = status["observedGeneration"].as_i64() >= object.metadata.generation;
    let wanted = match kind {
        WorkloadKind::DaemonSet => count("desiredNumberScheduled"),
        _ => spec["replicas"].as_u64().unwrap_or(1),
    };
    let (ready, updated) = match kind {
        WorkloadKind::DaemonSet => (count("numberAvailable"), count("updatedNumberScheduled")),
        WorkloadKind::StatefulSet => {
            // Once all are updated, the controller forgets how many these were.
            let is_whole = status["currentRevision"] == status["updateRevision"];
            (count("readyReplicas"), if is_whole { wanted } else { count("updatedReplicas") })
        }
        WorkloadKind::Deployment => (count("availableReplicas"), count("updatedReplicas")),
    };
    // Pods of the template before still run beside the new ones.
    let has_old = kind == WorkloadKind::Deployment && count("replicas") > updated;
    Standing { wanted, ready, is_done: is_seen && ready >= wanted && updated >= wanted && !has_old }
}

/// Why its controller cannot make pods.
fn complaint(object: &DynamicObject) -> Option<String> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let failed = conditions.iter().find(|one| one["type"] == "ReplicaFailure" && one["status"] == "True")?;
    failed["message"].as_str().map(str::to_owned)
}

/// Why workloads are not ready, with log lines, one text each.
pub(super) async fn reasons(site: &Site, workloads: &[Workload]) -> Vec<String> {
    let mut lagging = Vec::new();
    for workload in workloads {
        match look(site, workload).await {
            Ok((standing, _, _)) if standing.is_done => {}
            Ok((Standing { wanted, ready, .. }, complaint, pods)) => {
                lagging.push(Lagging { workload, wanted, ready, complaint, pods });
            }
            Err(_) => lagging.push(Lagging {
                workload,
                wanted: u64::from(workload.replicas),
                ready: 0,
                complaint: None,
                pods: Vec::new(),
            }),
        }
    }
    explained(site, &lagging, true).await
}

/// Why these are not ready, one text each. `thoroughly`: with log lines.
async fn explained(site: &Site, lagging: &[Lagging<'_>], thoroughly: bool) -> Vec<String> {
    let mut texts = Vec::new();
    for one in lagging {
        let (kind, name) = (one.workload.kind.name(), &one.workload.name);
        if let Some(complaint) = &one.complaint {
            texts.push(format!("{kind} {name} cannot create pods: {complaint}"));
        } else if one.pods.is_empty() {
            let said = said_of(site, &one.workload.namespace, kind, name).await;
            let last = said.iter().rev().find(|event| event.is_warning);
            let words = last.map_or_else(|| "it has no pods yet".to_owned(), |event| event.message.clone());
            texts.push(format!("{kind} {name}: {words}"));
        }
        for pod in &one.pods {
            if texts.len() >= EXPLAINED_MAX {
                return texts;
            }
            let Object::Pod(facts) = pod.facts() else { continue };
            if facts.is_ready() {
                continue;
            }
            let namespace = &one.workload.namespace;
            let said = said_of(site, namespace, "Pod", &facts.name).await;
            let why = why::of(pod, &said);
            texts.push(explained_pod(site, namespace, &facts.name, why, thoroughly).await);
        }
    }
    texts
}

async fn explained_pod(site: &Site, namespace: &str, pod: &str, why: Why, thoroughly: bool) -> String {
    let mut lines = vec![format!("pod {namespace}/{pod}: {}", why.words)];
    for claim in &why.claims {
        if let Some(words) = claim_words(site, namespace, claim).await {
            lines.push(format!("  claim {claim}: {words}"));
        }
    }
    if let Some((container, previous)) = why.log.filter(|_| thoroughly) {
        let api: Api<Pod> = Api::namespaced(site.cluster.client.clone(), namespace);
        let params = LogParams {
            container: Some(container.clone()),
            previous,
            tail_lines: Some(100),
            limit_bytes: Some(64 << 10),
            ..LogParams::default()
        };
        let log = site.cluster.try_ask(api.logs(pod, &params)).await.unwrap_or_default();
        lines.extend(why::telling(&log).into_iter().map(|line| format!("  {container}: {line}")));
    }
    if let Some(advice) = why.advice {
        lines.push(format!("  {advice}"));
    }
    lines.join("\n")
}

/// Why a claim has no volume.
async fn claim_words(site: &Site, namespace: &str, claim: &str) -> Option<String> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(site.cluster.client.clone(), namespace);
    let found = site.cluster.try_ask(api.get(claim)).await.ok()?;
    let phase = found.status.and_then(|status| status.phase).unwrap_or_default();
    if phase == "Bound" {
        return None;
    }
    let said = said_of(site, namespace, "PersistentVolumeClaim", claim).await;
    let words = said.last().map_or_else(String::new, |event| format!(": {}", event.message));
    Some(format!("{phase}{words}"))
}

/// What was said of an object, oldest first, as far as this account may read it.
async fn said_of(site: &Site, namespace: &str, kind: &str, name: &str) -> Vec<EventFacts> {
    let api: Api<Said> = Api::namespaced(site.cluster.client.clone(), namespace);
    let fields = format!("involvedObject.kind={kind},involvedObject.name={name}");
    let Ok(list) = site.cluster.try_ask(api.list(&ListParams::default().fields(&fields))).await else {
        return Vec::new();
    };
    let facts = list.items.iter().filter_map(|event| match event.facts() {
        Object::Event(facts) => Some(facts),
        _ => None,
    });
    let mut facts: Vec<EventFacts> = facts.collect();
    facts.sort_by_key(|event| event.last);
    facts
}

/// Where clients connect, and what does not work yet although all pods are ready.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) endpoints: Vec<String>,
    pub(super) notes: Vec<String>,
}

pub(super) async fn outside(
    site: &Site,
    objects: &[super::manifest::Object],
    catalog: &super::catalog::Catalog,
) -> Outside {
    let mut outside = Outside::default();
    for object in objects {
        let Some(api) = catalog.api(&site.cluster, &object.key) else { continue };
        match object.key.kind.as_str() {
            "Service" if object.value["spec"]["type"] == "LoadBalancer" => {
                let Ok(service) = site.cluster.try_ask(api.get(&object.key.name)).await else { continue };
                let hosts = hosts(&service.data);
                let ports = service.data["spec"]["ports"].as_array().cloned().unwrap_or_default();
                for (host, port) in hosts.iter().flat_map(|host| ports.iter().map(move |port| (host, port))) {
                    let (number, protocol) = (&port["port"], port["protocol"].as_str().unwrap_or("TCP"));
                    let name = port["name"].as_str().unwrap_or_default();
                    outside.endpoints.push(format!("{name} {host}:{number}/{protocol}"));
                }
                if hosts.is_empty() {
                    let name = &object.key.name;
                    let port = ports.first().map_or(Value::Null, |port| port["port"].clone());
                    outside.notes.push(format!(
                        "Service {name} has no address from outside yet: on minikube, minikube tunnel gives it one; in a \
                         cluster without load balancers, set envoy.externalIPs to addresses of nodes; to try it: {} -n \
                         {} port-forward service/{name} {port}",
                        site.kubectl(),
                        site.namespace()
                    ));
                }
            }
            "APIService" => {
                let Ok(service) = site.cluster.try_ask(api.get(&object.key.name)).await else { continue };
                if let Some(why) = unavailable(&service.data) {
                    outside.notes.push(format!(
                        "{} is not served yet ({why}): autoscalers on its metrics wait for it",
                        object.key.name
                    ));
                }
            }
            _ => {}
        }
    }
    outside
}

fn hosts(service: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let ingress = list(&service["status"]["loadBalancer"]["ingress"]);
    let given = ingress.iter().filter_map(|one| one["ip"].as_str().or(one["hostname"].as_str()));
    let external = list(&service["spec"]["externalIPs"]);
    let external = external.iter().filter_map(Value::as_str);
    given.chain(external).map(str::to_owned).collect()
}

/// Why an aggregated API does not answer; `None`: it does.
pub(super) fn unavailable(service: &Value) -> Option<String> {
    let conditions = service["status"]["conditions"].as_array();
    let available = conditions.into_iter().flatten().find(|one| one["type"] == "Available");
    match available {
        Some(one) if one["status"] == "True" => None,
        Some(one) => Some(one["message"].as_str().or(one["reason"].as_str()).unwrap_or_default().to_owned()),
        None => Some("the API server has not asked it yet".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_done(kind: WorkloadKind, replicas: u64, status: &Value) -> bool {
        let object = json!({"apiVersion": "apps/v1", "kind": kind.name(), "metadata": {"name": "x", "generation": 2},
            "spec": {"replicas": replicas}, "status": status});
        standing(kind, &serde_json::from_value(object).unwrap()).is_done
    }

    #[test]
    fn a_workload_is_done_when_all_its_pods_are_new_and_ready() {
        let deployment = |status: Value| is_done(WorkloadKind::Deployment, 2, &status);
        let whole =
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert!(deployment(whole.clone()));
        for (key, value) in
            [("observedGeneration", 1), ("replicas", 3), ("updatedReplicas", 1), ("availableReplicas", 1)]
        {
            let mut other = whole.clone();
            other[key] = value.into();
            assert!(!deployment(other), "{key}");
        }
        assert!(!deployment(json!({})));
        assert!(is_done(WorkloadKind::Deployment, 0, &json!({"observedGeneration": 2})));
        let set = |current: &str, updated: u64| {
            let status = json!({"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": updated,
                "currentRevision": current, "updateRevision": "b"});
            is_done(WorkloadKind::StatefulSet, 2, &status)
        };
        assert!(set("b", 0) && set("a", 2) && !set("a", 1));
        let daemons = |available: u64| {
            let status = json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3,
                "numberAvailable": available});
            is_done(WorkloadKind::DaemonSet, 0, &status)
        };
        assert!(daemons(3) && !daemons(2));
    }

    #[test]
    fn an_api_is_available_or_says_why_not() {
        let with = |status: &str| json!({"status": {"conditions": [{"type": "Available", "status": status, "message": "no endpoints"}]}});
        assert_eq!(unavailable(&with("True")), None);
        assert_eq!(unavailable(&with("False")).as_deref(), Some("no endpoints"));
        assert!(unavailable(&json!({})).is_some());
    }
}
