//! A node that joins or leaves, from Kubernetes' point of view.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod, Taint, Toleration},
};
use kube::{Api, api::ListParams};
use platform::TargetError;

use crate::{
    act::stays,
    connect::Cluster,
    facts::{Facts as _, Object},
};

/// How long an added node may take until its `DaemonSet`s run: their images have to be pulled.
pub(crate) const JOIN: Duration = Duration::from_mins(5);
/// How long its pods may take to move elsewhere; disruption budgets let them go one after another.
pub(crate) const LEAVE: Duration = Duration::from_mins(10);

/// Whether a node has joined.
#[derive(Debug)]
pub(crate) enum Joined {
    /// It is ready, with each `DaemonSet` that has a pod on it.
    Yes(Vec<String>),
    NotYet(String),
}

/// Whether a node is ready, including every DaemonSet on it.
pub(crate) async fn joined(cluster: &Cluster, name: &str) -> Result<Joined, TargetError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let found = cluster.ask(format!("node {name}"), nodes.get_opt(name)).await?;
    let Some(node) = found else { return Ok(Joined::NotYet("it has not registered yet".to_owned())) };
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    if let Some(why) = match ready {
        None => Some("its kubelet has not reported".to_owned()),
        Some(ready) if ready.status != "True" => Some(ready.message.clone().unwrap_or_default()),
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
    let pods = pods_on(cluster, name).await?;
    let owned = |set: &DaemonSet| {
        let mut owners = pods.iter().flat_map(|pod| pod.metadata.owner_references.iter().flatten());
        owners.any(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
    };
    // The DaemonSet's controller has not handled this node yet.
    if let Some(missing) = sets.iter().find(|set| belongs(set, &node) && !owned(set)) {
        let missing = missing.metadata.name.as_deref().unwrap_or_default();
        return Ok(Joined::NotYet(format!("{missing} has no pod there yet")));
    }
    let mut follows: Vec<String> = pods
        .iter()
        .flat_map(|pod| pod.metadata.owner_references.iter().flatten())
        .filter(|owner| owner.kind == "DaemonSet")
        .map(|owner| owner.name.clone())
        .collect();
    follows.sort();
    Ok(Joined::Yes(follows))
}

/// Whether a DaemonSet puts a pod on a node, as far as that is certain: affinity rules are left to its controller.
fn belongs(set: &DaemonSet, node: &Node) -> bool {
    let Some(pod) = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else { return false };
    if set.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let labels = node.metadata.labels.as_ref();
    let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
    let selected = pod.node_selector.iter().flatten().all(has);
    let affine = pod.affinity.as_ref().is_none_or(|affinity| affinity.node_affinity.is_none());
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    // Every DaemonSet pod tolerates the taints that Kubernetes itself sets.
    let tolerated = |taint: &Taint| {
        taint.effect == "PreferNoSchedule"
            || taint.key.starts_with("node.kubernetes.io/")
            || tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    selected && affine && taints.iter().all(tolerated)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = toleration.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists)
            || (key == taint.key && (exists || value == taint.value.as_deref().unwrap_or_default())))
}

/// A DaemonSet that is not ready on all of its nodes.
fn late(set: &DaemonSet) -> Option<String> {
    let status = set.status.clone().unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or_default();
    (status.number_ready < status.desired_number_scheduled)
        .then(|| format!("{name} ({} of {})", status.number_ready, status.desired_number_scheduled))
}

/// The pods on a node that a drain would still have to move.
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

/// Whether the node ever joined.
pub(crate) async fn exists(cluster: &Cluster, name: &str) -> Result<bool, TargetError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    Ok(cluster.ask(format!("node {name}"), nodes.get_opt(name)).await?.is_some())
}

/// The number of nodes.
pub(crate) async fn count(cluster: &Cluster) -> Result<u32, TargetError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let nodes = cluster.ask("the nodes", nodes.list_metadata(&ListParams::default())).await?;
    Ok(u32::try_from(nodes.items.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pod: &serde_json::Value) -> DaemonSet {
        serde_json::from_value(serde_json::json!({"spec": {"selector": {}, "template": {"spec": pod}}}))
            .unwrap()
    }

    fn node(taints: &serde_json::Value) -> Node {
        serde_json::from_value(serde_json::json!({
            "metadata": {"labels": {"kubernetes.io/os": "linux"}}, "spec": {"taints": taints}
        }))
        .unwrap()
    }

    #[test]
    fn a_daemon_set_belongs_where_its_selector_and_its_tolerations_let_it() {
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let not_ready = r#"[{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]"#;
        let own = r#"[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]"#;
        let with = |what: &str| format!(r#"{{"containers": [], {what}}}"#);
        let linux = with(r#""nodeSelector": {"kubernetes.io/os": "linux"}"#);
        for (pod, taints, is_so) in [
            (r#"{"containers": []}"#.to_owned(), "[]", true),
            (linux.clone(), not_ready, true),
            (with(r#""nodeSelector": {"kubernetes.io/os": "windows"}"#), "[]", false),
            (with(r#""affinity": {"nodeAffinity": {}}"#), "[]", false),
            (with(r#""affinity": {"podAffinity": {}}"#), "[]", true),
            (linux, own, false),
            (with(r#""tolerations": [{"operator": "Exists"}]"#), own, true),
            (with(r#""tolerations": [{"key": "gpu", "value": "yes"}]"#), own, true),
            (with(r#""tolerations": [{"key": "gpu", "value": "no"}]"#), own, false),
            (
                with(r#""tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]"#),
                own,
                false,
            ),
        ] {
            assert_eq!(belongs(&set(&json(&pod)), &node(&json(taints))), is_so, "{pod} with {taints}");
        }
    }
}
