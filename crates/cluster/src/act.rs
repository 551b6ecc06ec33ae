//! Changes to a cluster: scale, kill, drain, stop, start; cordoning and draining a node.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api,
    api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use platform::{
    ServiceKind, TargetError,
    target::{Drained, Killed, Pick, Scaled, Started, Stopped, Subject},
};
use serde_json::json;

use crate::{
    balance::{
        ASKED_AT_ONCE,
        admin::{self, Way},
    },
    connect::Cluster,
    facts::{Facts as _, Object, PodFacts, WorkloadFacts},
    kinds,
    metrics::Metrics,
    world::{Service, World},
};

/// The owner of our changes in the managed fields.
pub(crate) const MANAGER: &str = "playctl";
/// The annotation in which a stopped workload keeps its number of replicas.
const BEFORE_STOP: &str = "playctl/replicas-before-stop";
/// Subjects with this prefix are nodes: `node/NAME`.
const NODE: &str = "node";

fn unsupported<T>(what: impl Into<String>, why: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError::Unsupported { what: what.into(), why: why.into() })
}

pub(crate) fn patching() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// A cluster with what is known about it.
pub(crate) struct Actor<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) world: &'a World,
}

impl Actor<'_> {
    fn service(&self, name: &str) -> Result<&Service, TargetError> {
        self.world.service(name).ok_or_else(|| TargetError::UnknownService {
            service: name.to_owned(),
            known: self.world.services().map(|(name, _)| name.clone()).collect(),
        })
    }

    fn workload(&self, name: &str) -> Result<&WorkloadFacts, TargetError> {
        let service = self.service(name)?;
        self.world.workload(service).ok_or_else(|| {
            let (kind, workload) = &service.workload;
            TargetError::other(format!("there is no {kind} {workload}, or it may not be read"))
        })
    }

    async fn api(&self, name: &str) -> Result<(Api<DynamicObject>, &WorkloadFacts), TargetError> {
        let service = self.service(name)?;
        let workload = self.workload(name)?;
        let usual = kinds::usual().into_iter().find(|kind| kind.kind == workload.kind);
        let hpa = service.hpa.as_ref().and_then(|hpa| self.world.hpa(hpa));
        let kind: ApiResource = match (usual, hpa) {
            (Some(usual), _) => usual,
            (None, Some(hpa)) => kinds::find(self.cluster, &hpa.target).await?,
            (None, None) => return unsupported(format!("changing {name}"), "its kind is not known"),
        };
        let (client, namespace) = (self.cluster.client.clone(), &self.cluster.namespace);
        Ok((Api::namespaced_with(client, namespace, &kind), workload))
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace)
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.cluster.client.clone())
    }

    async fn set(&self, api: &Api<DynamicObject>, name: &str, replicas: u32) -> Result<(), TargetError> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let scaled = async { api.patch_scale(name, &patching(), &patch).await };
        self.cluster.ask(format!("setting the replicas of {name}"), scaled).await?;
        Ok(())
    }

    pub(crate) async fn scale(&self, service: &str, replicas: u32) -> Result<Scaled, TargetError> {
        let what = self.world.in_full(&Subject::whole(service));
        let service = whole(&what)?;
        let (api, workload) = self.api(service).await?;
        let from = workload.replicas;
        self.set(&api, &workload.name, replicas).await?;
        let hpa = self.service(service)?.hpa.as_ref().and_then(|hpa| self.world.hpa(hpa));
        Ok(Scaled { from, to: replicas, autoscaled: hpa.map(|hpa| (hpa.min, hpa.max)) })
    }

    pub(crate) async fn kill(&self, what: &Subject, restart: bool) -> Result<Killed, TargetError> {
        if !restart {
            return unsupported(
                format!("killing {what} for good"),
                "its workload replaces the pod; scale it down, or stop it",
            );
        }
        let pod = self.pick(&self.world.in_full(what)).await?;
        let draining = pod.deleting.is_some();
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.cluster.ask(format!("deleting pod {}", pod.name), self.pods().delete(&pod.name, &now)).await?;
        Ok(Killed { replica: pod.name.clone(), pid: None, draining, replaced: true, restart_in: None })
    }

    pub(crate) async fn drain(&self, what: &Subject) -> Result<Drained, TargetError> {
        if self.is_node(what) {
            return self.drain_node(&node_name(what)?).await;
        }
        let picked = self.pick(&self.world.in_full(what)).await?;
        let pod = self.cluster.ask(format!("pod {}", picked.name), self.pods().get(&picked.name)).await?;
        let deletion = async { self.pods().delete(&picked.name, &DeleteParams::default()).await };
        self.cluster.ask(format!("deleting pod {}", picked.name), deletion).await?;
        Ok(Drained { replica: picked.name.clone(), connections: None, grace: grace(&pod) })
    }

    pub(crate) async fn stop(&self, what: &Subject) -> Result<Stopped, TargetError> {
        if self.is_node(what) {
            let name = node_name(what)?;
            let was_running = self.cordon(&name, true).await?;
            return Ok(Stopped { name: what.to_string(), was_running });
        }
        let full = self.world.in_full(what);
        let (api, workload) = self.api(whole(&full)?).await?;
        if workload.replicas == 0 {
            return Ok(Stopped { name: what.name.clone(), was_running: false });
        }
        self.remember(&api, &workload.name, Some(workload.replicas)).await?;
        self.set(&api, &workload.name, 0).await?;
        Ok(Stopped { name: what.name.clone(), was_running: true })
    }

    pub(crate) async fn start(&self, what: &Subject) -> Result<Started, TargetError> {
        if self.is_node(what) {
            let name = node_name(what)?;
            let was_stopped = self.cordon(&name, false).await?;
            return Ok(Started { name: what.to_string(), was_stopped });
        }
        let full = self.world.in_full(what);
        let name = whole(&full)?;
        let (api, workload) = self.api(name).await?;
        if workload.replicas > 0 {
            return Ok(Started { name: what.name.clone(), was_stopped: false });
        }
        let object =
            self.cluster.ask(format!("{} {}", workload.kind, workload.name), api.get(&workload.name));
        let annotations = object.await?.metadata.annotations.unwrap_or_default();
        let before = annotations.get(BEFORE_STOP).and_then(|count| count.parse().ok());
        let hpa = self.service(name)?.hpa.as_ref().and_then(|hpa| self.world.hpa(hpa));
        let replicas = before.or(hpa.map(|hpa| hpa.min)).unwrap_or(1).max(1);
        self.set(&api, &workload.name, replicas).await?;
        if before.is_some() {
            self.remember(&api, &workload.name, None).await?;
        }
        Ok(Started { name: what.name.clone(), was_stopped: true })
    }

    async fn remember(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        replicas: Option<u32>,
    ) -> Result<(), TargetError> {
        let count = replicas.map(|count| count.to_string());
        let patch = Patch::Merge(json!({"metadata": {"annotations": {(BEFORE_STOP): count}}}));
        self.cluster.ask(format!("annotating {name}"), api.patch(name, &patching(), &patch)).await?;
        Ok(())
    }

    /// The pod that the subject names or selects.
    async fn pick(&self, what: &Subject) -> Result<PodFacts, TargetError> {
        self.service(&what.name)?;
        let mut pods: Vec<&PodFacts> = self.world.pods_of(&what.name).filter(|pod| !pod.is_over()).collect();
        let known = || pods.iter().map(|pod| pod.name.clone()).collect();
        let none = |replica: &str| TargetError::UnknownReplica {
            service: what.name.clone(),
            replica: replica.to_owned(),
            known: known(),
        };
        let found = match &what.replica {
            Pick::Named(name) => pods.iter().find(|pod| pod.name == *name).ok_or_else(|| none(name))?,
            Pick::Unnamed => {
                // A ready one, as a load balancer would choose; the oldest of them.
                pods.sort_by_key(|pod| (!pod.is_ready(), pod.created, pod.name.clone()));
                pods.first().ok_or_else(|| no_pods(&what.name))?
            }
            Pick::Fullest | Pick::Emptiest => {
                let loads = self.loads(&what.name).await?;
                let load = |pod: &&&PodFacts| {
                    loads.iter().find(|(name, _)| *name == pod.name).map(|(_, load)| *load)
                };
                let measured = pods.iter().filter(|pod| load(pod).is_some());
                let found = if what.replica == Pick::Fullest {
                    measured.max_by_key(load)
                } else {
                    measured.min_by_key(load)
                };
                found.ok_or_else(|| no_pods(&what.name))?
            }
        };
        Ok((*found).clone())
    }

    /// The autoscaler's measurements of each pod, for the first metric that every pod has; without one, the pods' own.
    async fn loads(&self, service: &str) -> Result<Vec<(String, i64)>, TargetError> {
        let hpa = self.service(service)?.hpa.as_ref().and_then(|hpa| self.world.hpa(hpa));
        let metrics = hpa.and_then(|hpa| hpa.spec.as_ref().ok()).into_iter().flat_map(|spec| &spec.metrics);
        let metric = metrics.filter_map(|metric| metric.pods.as_ref()).map(|pods| &pods.metric).next();
        let selector = self.workload(service)?.selector.clone();
        let (Some(metric), Some(selector)) = (metric, selector) else {
            return self.own_loads(service).await;
        };
        let samples = Metrics::new(self.cluster.clone()).of_pods(metric, &selector).await;
        let samples = samples.map_err(|words| TargetError::other(format!("{}: {words}", metric.name)))?;
        Ok(samples.into_iter().map(|(pod, sample)| (pod, sample.milli)).collect())
    }

    /// The number of clients that each ready pod of one of our services says it has.
    async fn own_loads(&self, service: &str) -> Result<Vec<(String, i64)>, TargetError> {
        let Some(gauge) = ServiceKind::by_name(service).and_then(ServiceKind::gauge) else {
            return unsupported(
                format!("choosing the fullest or emptiest pod of {service}"),
                "its autoscaler has no pod metric to go by, and its pods are not known to say how many clients they have; \
                 name the pod",
            );
        };
        let pods = self.world.pods_of(service).filter(|pod| pod.is_ready() && pod.deleting.is_none());
        let asked = stream::iter(pods).map(|pod| async move {
            let load = admin::gauge(self.cluster, Way::Outside, pod, gauge).await;
            // Of the others alone, the fullest would be a guess.
            let load = load.map_err(|why| {
                TargetError::other(format!("the number of clients of {} is not known: {why}", pod.name))
            })?;
            Ok((pod.name.clone(), i64::try_from(load).unwrap_or(i64::MAX)))
        });
        asked.buffer_unordered(ASKED_AT_ONCE).try_collect().await
    }

    fn is_node(&self, what: &Subject) -> bool {
        what.name == NODE && self.world.service(NODE).is_none()
    }

    /// Returns whether anything changed.
    async fn cordon(&self, name: &str, cordoned: bool) -> Result<bool, TargetError> {
        let node = self.cluster.ask(format!("node {name}"), self.nodes().get(name)).await?;
        let is_cordoned = node.spec.and_then(|spec| spec.unschedulable) == Some(true);
        if is_cordoned == cordoned {
            return Ok(false);
        }
        let patch = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
        let patched = async { self.nodes().patch(name, &patching(), &patch).await };
        self.cluster.ask(format!("cordoning node {name}"), patched).await?;
        Ok(true)
    }

    /// Cordons a node and evicts its pods, of all namespaces, as `kubectl drain --ignore-daemonsets` does.
    pub(crate) async fn drain_node(&self, name: &str) -> Result<Drained, TargetError> {
        self.cordon(name, true).await?;
        let everywhere: Api<Pod> = Api::all(self.cluster.client.clone());
        let here = ListParams::default().fields(&format!("spec.nodeName={name}"));
        let pods = self.cluster.ask(format!("the pods of node {name}"), everywhere.list(&here)).await?;
        let mut longest = Duration::ZERO;
        let mut held = Vec::new();
        for pod in &pods.items {
            let Object::Pod(facts) = pod.facts() else { continue };
            if stays(pod) || facts.is_over() || facts.deleting.is_some() {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), namespace);
            match self.cluster.try_ask(api.evict(&facts.name, &EvictParams::default())).await {
                Ok(_) => longest = longest.max(grace(pod)),
                // It is gone or terminating.
                Err(call) if call.status() == Some(404) || call.namespace_ends() => {}
                Err(call) => held.push(format!("{namespace}/{}: {}", facts.name, call.words())),
            }
        }
        if held.is_empty() {
            return Ok(Drained { replica: name.to_owned(), connections: None, grace: longest });
        }
        let message = format!("node {name} is cordoned, but these pods stay: {}; ask again", held.join("; "));
        Err(TargetError::Temporary { message })
    }
}

/// Whether a pod belongs to its node: one of a DaemonSet, or the kubelet's own.
pub(crate) fn stays(pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    let annotations = pod.metadata.annotations.as_ref();
    owners.into_iter().any(|owner| owner.kind == "DaemonSet")
        || annotations.is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"))
}

fn grace(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn no_pods(service: &str) -> TargetError {
    TargetError::Temporary { message: format!("{service} has no pod for that at the moment") }
}

fn node_name(what: &Subject) -> Result<String, TargetError> {
    match &what.replica {
        Pick::Named(name) => Ok(name.clone()),
        _ => Err(TargetError::Invalid { message: format!("{what}: name the node, as in node/worker-1") }),
    }
}

/// A service as a whole.
fn whole(what: &Subject) -> Result<&str, TargetError> {
    match what.replica {
        Pick::Unnamed => Ok(&what.name),
        _ => unsupported(
            format!("stopping or starting {what} alone"),
            "its workload replaces the pod; stop the whole, or drain the pod",
        ),
    }
}
