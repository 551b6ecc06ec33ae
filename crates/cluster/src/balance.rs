//! One Deployment as a balancer sees and changes it, with few permissions in one namespace: its scale, its pods, its
//! autoscaler.
//!
//! | what | how |
//! |---|---|
//! | replicas | the scale names a selector, by which pods are listed |
//! | connections | a gauge on the pod's admin port |
//! | traffic | the pod's label `traffic`, by which its Service selects |
//! | deletion cost | the pod's annotation (KEP 2255) |
//! | shed | `POST /shed` on the pod's admin port |
//! | decisions | Events of the Deployment |
//!
//! Every change ends within [`ACT`], before another balancer can have taken over ([`crate::election`]).

pub(crate) mod admin;
pub(crate) mod told;
mod writes;

use std::{collections::BTreeMap, fmt, time::Duration};

use autoscale::explain::{self, Case};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v1::Scale,
    core::v1::{ObjectReference, Pod},
    events::v1::Event,
};
use kube::{
    Api,
    api::{Patch, PostParams},
};
use parking_lot::Mutex;
use platform::{
    TargetError,
    target::{Balanced, ReplicaPhase, Scaled, ServiceSnapshot, Shed, Snapshot, Traffic},
};
use serde_json::{Value, json};

use crate::{
    act::patching,
    connect::Cluster,
    facts::{DELETION_COST, Facts as _, HpaFacts, Object, PodFacts, Selector, TRAFFIC},
    kinds, read,
    snapshot::{self, Usage},
};
use admin::Way;
use writes::Writes;

/// How long a change may take in total.
pub(crate) const ACT: Duration = Duration::from_secs(4);
const KIND: &str = "Deployment";
/// The maximum number of pods queried for their connections at the same time.
pub(crate) const ASKED_AT_ONCE: usize = 16;

/// A balancer's settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Balancing {
    /// The Deployment.
    pub service: String,
    /// The gauge of connections on the admin port of its pods; `None`: connections are not counted.
    pub gauge: Option<String>,
    /// The token of shed orders; `None`: it is read from the Secret that the pod gets it from.
    pub token: Option<String>,
    /// The balancer runs in a pod itself, and reaches other pods at their addresses.
    pub inside: bool,
    /// Its name in Events.
    pub name: String,
}

impl fmt::Debug for Balancing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancing").field("service", &self.service).finish_non_exhaustive()
    }
}

/// A Deployment, and what is known of it.
#[derive(Debug)]
pub(crate) struct Balancer {
    own: Balancing,
    seen: Mutex<Seen>,
    writes: Writes,
}

/// As of the last read.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// The Deployment's.
    uid: Option<String>,
    pods: BTreeMap<String, PodFacts>,
}

/// The result of one read.
struct Look {
    wanted: u32,
    hpa: Option<HpaFacts>,
    pods: Vec<PodFacts>,
}

impl Balancer {
    pub(crate) fn new(own: Balancing) -> Self {
        Self { own, seen: Mutex::default(), writes: Writes::default() }
    }

    /// For a caller outside the cluster without settings.
    pub(crate) fn outside(service: &str) -> Self {
        let (service, name) = (service.to_owned(), "playctl".to_owned());
        Self::new(Balancing { service, gauge: None, token: None, inside: false, name })
    }

    pub(crate) fn service(&self) -> &str {
        &self.own.service
    }

    fn way(&self) -> Way {
        if self.own.inside { Way::Inside } else { Way::Outside }
    }

    fn deployments(cluster: &Cluster) -> Api<Deployment> {
        Api::namespaced(cluster.client.clone(), &cluster.namespace)
    }

    async fn scale_of(&self, cluster: &Cluster) -> Result<Scale, TargetError> {
        let name = &self.own.service;
        let deployments = Self::deployments(cluster);
        cluster.ask(format!("the scale of {KIND} {name}"), deployments.get_scale(name)).await
    }

    async fn hpa(&self, cluster: &Cluster) -> Result<Option<HpaFacts>, TargetError> {
        let hpas = read::hpas(cluster).await?;
        let is_its =
            |hpa: &HpaFacts| kinds::id_of(&hpa.target) == KIND && hpa.target.name == self.own.service;
        Ok(hpas.into_iter().find(is_its))
    }

    async fn look(&self, cluster: &Cluster) -> Result<Look, TargetError> {
        let scale = self.scale_of(cluster).await?;
        let selector = scale.status.as_ref().and_then(|status| status.selector.as_deref());
        let selector = selector.and_then(Selector::parse).ok_or_else(|| TargetError::Other {
            message: format!("the scale of {KIND} {} names no selector for its pods", self.own.service),
        })?;
        let pods = read::pods(cluster, &selector).await?;
        let facts = pods.iter().filter_map(|pod| match pod.facts() {
            Object::Pod(facts) if !facts.is_over() => Some(*facts),
            _ => None,
        });
        let pods: Vec<PodFacts> = facts.collect();
        let wanted = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        *self.seen.lock() = Seen {
            uid: scale.metadata.uid,
            pods: pods.iter().map(|pod| (pod.name.clone(), pod.clone())).collect(),
        };
        Ok(Look { wanted: u32::try_from(wanted).unwrap_or(0), hpa: self.hpa(cluster).await?, pods })
    }

    /// Only the Deployment.
    pub(crate) async fn snapshot(&self, cluster: &Cluster) -> Result<Snapshot, TargetError> {
        let Look { wanted, hpa, pods } = self.look(cluster).await?;
        let now = clock::wall();
        let mut replicas: Vec<_> =
            pods.iter().map(|pod| snapshot::of_pod(pod, &Usage::default(), now)).collect();
        let mut problems = Vec::new();
        if let Some(gauge) = &self.own.gauge {
            let ready =
                |name: &str| replicas.iter().any(|one| one.name == name && one.phase == ReplicaPhase::Ready);
            let asked: Vec<&PodFacts> = pods.iter().filter(|pod| ready(&pod.name)).collect();
            let counts = stream::iter(asked)
                .map(|pod| async move { (&pod.name, admin::gauge(cluster, self.way(), pod, gauge).await) });
            let counts: Vec<_> = counts.buffer_unordered(ASKED_AT_ONCE).collect().await;
            for (name, count) in counts {
                match count {
                    Ok(count) => {
                        if let Some(one) = replicas.iter_mut().find(|one| one.name == *name) {
                            one.connections = Some(count);
                        }
                    }
                    Err(why) => problems.push(format!("the connections of {name} are unknown: {why}")),
                }
            }
        }
        let waiting = replicas.iter().filter(|replica| replica.node.is_none()).count();
        let service = ServiceSnapshot {
            name: self.own.service.clone(),
            endpoint: None,
            route: None,
            desired: wanted,
            stopped: false,
            set_by_hand: false,
            pending: u32::try_from(waiting).unwrap_or(u32::MAX),
            remark: None,
            balanced: None,
            replicas,
            autoscaler: hpa.map(|hpa| snapshot::of_hpa(&hpa, wanted, now)),
        };
        Ok(Snapshot {
            platform: cluster.namespace.clone(),
            target: "cluster".to_owned(),
            since: None,
            nodes: 0,
            node_list: Vec::new(),
            services: vec![service],
            parts: Vec::new(),
            next_sync: None,
            problems,
        })
    }

    /// The autoscaler according to its own status, which does not contain its controller's memory.
    pub(crate) async fn autoscaler(&self, cluster: &Cluster) -> Result<Case, TargetError> {
        let name = &self.own.service;
        let none = |why: String| TargetError::Other { message: format!("the autoscaler of {name}: {why}") };
        let hpa = self.hpa(cluster).await?.ok_or_else(|| none("there is none".to_owned()))?;
        let manifest = hpa.manifest().map_err(none)?;
        let case = explain::of_status(&manifest, clock::wall().as_millisecond());
        let case = case.map_err(|error| none(error.to_string()))?;
        case.ok_or_else(|| none("it has not run yet".to_owned()))
    }

    async fn pod(&self, cluster: &Cluster, name: &str) -> Result<PodFacts, TargetError> {
        let seen = self.seen.lock().pods.get(name).cloned();
        if let Some(seen) = seen {
            return Ok(seen);
        }
        let pods = self.look(cluster).await?.pods;
        pods.iter().find(|pod| pod.name == name).cloned().ok_or_else(|| TargetError::UnknownReplica {
            service: self.own.service.clone(),
            replica: name.to_owned(),
            known: pods.iter().map(|pod| pod.name.clone()).collect(),
        })
    }

    async fn patch(&self, cluster: &Cluster, pod: &str, patch: Value) -> Result<(), TargetError> {
        self.writes.one(clock::now())?;
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let patch = Patch::Merge(patch);
        let patched = async { pods.patch(pod, &patching(), &patch).await };
        let patched = cluster.ask(format!("changing pod {pod}"), patched).await?;
        if let Object::Pod(facts) = patched.facts() {
            self.seen.lock().pods.insert(facts.name.clone(), *facts);
        }
        Ok(())
    }

    /// Sets the label that Services select by. The pod stays ready, and keeps its connections.
    pub(crate) async fn set_traffic(
        &self,
        cluster: &Cluster,
        replica: &str,
        traffic: Traffic,
    ) -> Result<(), TargetError> {
        if self.pod(cluster, replica).await?.traffic == traffic {
            return Ok(());
        }
        let patch = json!({"metadata": {"labels": {(TRAFFIC): traffic.to_string()}}});
        self.patch(cluster, replica, patch).await
    }

    pub(crate) async fn set_deletion_cost(
        &self,
        cluster: &Cluster,
        replica: &str,
        cost: i32,
    ) -> Result<(), TargetError> {
        if self.pod(cluster, replica).await?.deletion_cost == cost {
            return Ok(());
        }
        let cost = (cost != 0).then(|| cost.to_string());
        let patch = json!({"metadata": {"annotations": {(DELETION_COST): cost}}});
        self.patch(cluster, replica, patch).await
    }

    pub(crate) async fn scale(&self, cluster: &Cluster, replicas: u32) -> Result<Scaled, TargetError> {
        let from = self.scale_of(cluster).await?.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        let autoscaled = self.hpa(cluster).await?.map(|hpa| (hpa.min, hpa.max));
        self.writes.one(clock::now())?;
        let (name, patch) = (&self.own.service, Patch::Merge(json!({"spec": {"replicas": replicas}})));
        let deployments = Self::deployments(cluster);
        let params = patching();
        let scaled = deployments.patch_scale(name, &params, &patch);
        cluster.ask(format!("setting the replicas of {KIND} {name}"), scaled).await?;
        Ok(Scaled { from: u32::try_from(from).unwrap_or(0), to: replicas, autoscaled })
    }

    pub(crate) async fn shed(
        &self,
        cluster: &Cluster,
        replica: &str,
        order: &Shed,
    ) -> Result<u64, TargetError> {
        let pod = self.pod(cluster, replica).await?;
        let token = match &self.own.token {
            Some(token) => token.clone(),
            None if self.own.inside => {
                return Err(TargetError::Unsupported {
                    what: format!("shedding connections of {replica}"),
                    why: format!("{} is not set here; it is the one of the pods", admin::SHED_TOKEN),
                });
            }
            None => admin::token(cluster, replica).await?,
        };
        let shed = admin::shed(cluster, self.way(), &pod, &token, order).await;
        shed.map_err(|why| TargetError::Other { message: format!("{replica}: {why}") })
    }

    /// Reports the decision as an Event of the Deployment.
    pub(crate) async fn tell(&self, cluster: &Cluster, balanced: &Balanced) -> Result<(), TargetError> {
        let known = self.seen.lock().uid.clone();
        let uid = if known.is_some() { known } else { self.scale_of(cluster).await?.metadata.uid };
        let about = ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some(KIND.to_owned()),
            name: Some(self.own.service.clone()),
            namespace: Some(cluster.namespace.clone()),
            uid,
            ..ObjectReference::default()
        };
        self.writes.one(clock::now())?;
        let event = told::event(about, &self.own.name, balanced);
        let events: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let params = PostParams::default();
        cluster.ask("telling what was decided", events.create(&params, &event)).await?;
        Ok(())
    }
}

/// Limits a change to [`ACT`].
pub(crate) async fn bounded<T>(
    cluster: &Cluster,
    what: &str,
    work: impl Future<Output = Result<T, TargetError>>,
) -> Result<T, TargetError> {
    tokio::time::timeout(ACT, work).await.unwrap_or_else(|_| {
        let message = format!("{what}: no answer from {} within {} s", cluster.place, ACT.as_secs());
        Err(TargetError::Other { message })
    })
}
