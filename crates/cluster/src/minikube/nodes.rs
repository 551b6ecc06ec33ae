//! A node that comes, or goes, as Kubernetes sees it.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod},
};
use kube::{Api, api::ListParams};
use platform::TargetError;

use crate::{
    act::stays,
    connect::Cluster,
    facts::{Facts as _, Object},
};

/// How long a node that minikube has added may take until what belongs on it runs: images are fetched for it.
pub(crate) const JOIN: Duration = Duration::from_mins(5);
/// How long its pods may take to go elsewhere; disruption budgets let them go one after the other.
pub(crate) const LEAVE: Duration = Duration::from_mins(10);

/// What a node waits for.
#[derive(Debug)]
pub(crate) enum Joined {
    /// All of it is there; each `DaemonSet` that has a pod on it.
    Yes(Vec<String>),
    NotYet(String),
}

/// Whether a node is ready, and every DaemonSet with it.
pub(crate) async fn joined(cluster: &Cluster, name: &str) -> Result<Joined, TargetError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let found = cluster.ask(format!("node {name}"), nodes.get_opt(name)).await?;
    let Some(node) = found else { return Ok(Joined::NotYet("it has not registered yet".to_owned())) };
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    if let Some(why) = match ready {
        None => Some("its kubelet has not reported".to_owned()),
        Some(ready) if ready.status != "True" => Some(ready.message.unwrap_or_default()),
        Some(_) => None,
    } {
        return Ok(Joined::NotYet(format!("it is not ready: {why}")));
    }
    let sets: Api<DaemonSet> = Api::all(cluster.client.clone());
    let sets = cluster.ask("the DaemonSets", sets.list(&ListParams::default())).await?.items;
    let late: Vec<String> = sets.iter().filter_map(late).collect();
    if !late.is_empty() {
        return Ok(Joined::NotYet(format!("not all of these run on every node: {}", late.join(", "))));
    }
    let mut follows: Vec<String> = pods_on(cluster, name)
        .await?
        .iter()
        .flat_map(|pod| pod.metadata.owner_references.iter().flatten())
        .filter(|owner| owner.kind == "DaemonSet")
        .map(|owner| owner.name.clone())
        .collect();
    follows.sort();
    Ok(Joined::Yes(follows))
}

/// A DaemonSet that is not ready on every node that it wants, or has not looked at the new one yet.
fn late(set: &DaemonSet) -> Option<String> {
    let status = set.status.clone().unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    (status.number_ready < status.desired_number_scheduled)
        .then(|| format!("{name} ({} of {})", status.number_ready, status.desired_number_scheduled))
}

/// The pods that a drain would move and that are still on a node.
pub(crate) async fn left_on(cluster: &Cluster, name: &str) -> Result<Vec<String>, TargetError> {
    let pods = pods_on(cluster, name).await?;
    let movable = pods.iter().filter(|pod| !stays(pod)).filter_map(|pod| match pod.facts() {
        Object::Pod(facts) if !facts.is_over() => {
            Some(format!("{}/{}", pod.metadata.namespace.as_deref().unwrap_or_default(), facts.name))
        }
        _ => None,
    });
    Ok(movable.collect())
}

async fn pods_on(cluster: &Cluster, name: &str) -> Result<Vec<Pod>, TargetError> {
    let everywhere: Api<Pod> = Api::all(cluster.client.clone());
    let here = ListParams::default().fields(&format!("spec.nodeName={name}"));
    Ok(cluster.ask(format!("the pods of node {name}"), everywhere.list(&here)).await?.items)
}

/// Whether it ever joined.
pub(crate) async fn exists(cluster: &Cluster, name: &str) -> Result<bool, TargetError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    Ok(cluster.ask(format!("node {name}"), nodes.get_opt(name)).await?.is_some())
}

/// How many nodes there are.
pub(crate) async fn count(cluster: &Cluster) -> Result<u32, TargetError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = cluster.ask("the nodes", nodes.list_metadata(&ListParams::default())).await?;
    Ok(u32::try_from(nodes.items.len()).unwrap_or(u32::MAX))
}
