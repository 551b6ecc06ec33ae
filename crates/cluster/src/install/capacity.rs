//! Whether the cluster has room for what the chart requests.

use std::collections::BTreeSet;

use autoscale::Quantity;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, api::ListParams};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    Site,
    manifest::{Workload, WorkloadKind},
};

const PAGE: u32 = 500;
/// At most this many pods are counted, which bounds the time and memory that a huge cluster would take.
const PODS_MAX: usize = 20_000;

/// What pods request of nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Requests {
    pub pods: u64,
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    pub memory_bytes: i64,
}

/// What a node has left.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Room {
    node: String,
    labels: Vec<(String, String)>,
    taints: Vec<Taint>,
    cpu_milli: i64,
    memory_bytes: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Taint {
    key: String,
    value: String,
    effect: String,
}

/// What nodes have left for this release; its own pods do not count. `None`: this account may not list nodes.
pub(super) async fn rooms(site: &Site, namespaces: &BTreeSet<String>) -> Option<Vec<Room>> {
    let nodes: Api<Node> = Api::all(site.cluster.client.clone());
    let nodes = site.cluster.try_ask(nodes.list(&ListParams::default())).await.ok()?;
    let mut rooms: Vec<Room> = nodes.items.iter().filter_map(room).collect();
    let pods: Api<Pod> = Api::all(site.cluster.client.clone());
    let running = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!=";
    let mut params = ListParams::default().fields(running).limit(PAGE);
    let mut counted = 0;
    loop {
        // Without the right to see other pods, the nodes count as empty.
        let Ok(page) = site.cluster.try_ask(pods.list(&params)).await else { break };
        counted += page.items.len();
        for pod in &page.items {
            let metadata = &pod.metadata;
            let labels = metadata.labels.as_ref();
            let instance = labels.and_then(|labels| labels.get("app.kubernetes.io/instance"));
            let is_ours = instance == Some(&site.release)
                && metadata.namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace));
            if !is_ours {
                take(&mut rooms, pod);
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) if counted < PODS_MAX => params.continue_token = Some(token),
            _ => break,
        }
    }
    Some(rooms)
}

/// A node that takes pods.
fn room(node: &Node) -> Option<Room> {
    let (spec, status) = (node.spec.clone().unwrap_or_default(), node.status.as_ref()?);
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    if spec.unschedulable == Some(true) || ready.status != "True" {
        return None;
    }
    let milli = |resource: &str| milli(&status.allocatable.as_ref()?.get(resource)?.0);
    let taints = spec.taints.into_iter().flatten().map(|taint| Taint {
        key: taint.key,
        value: taint.value.unwrap_or_default(),
        effect: taint.effect,
    });
    Some(Room {
        node: node.metadata.name.clone()?,
        labels: node.metadata.labels.clone().unwrap_or_default().into_iter().collect(),
        taints: taints.filter(|taint| taint.effect != "PreferNoSchedule").collect(),
        cpu_milli: milli("cpu")?,
        memory_bytes: milli("memory")? / 1000,
    })
}

fn milli(quantity: &str) -> Option<i64> {
    Some(quantity.parse::<Quantity>().ok()?.milli())
}

/// Takes a pod's requests from its node.
fn take(rooms: &mut [Room], pod: &Pod) {
    let Some(spec) = &pod.spec else { return };
    let Some(room) = rooms.iter_mut().find(|room| Some(&room.node) == spec.node_name.as_ref()) else {
        return;
    };
    for container in &spec.containers {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let of =
            |resource: &str| requests.and_then(|requests| milli(&requests.get(resource)?.0)).unwrap_or(0);
        room.cpu_milli -= of("cpu");
        room.memory_bytes -= of("memory") / 1000;
    }
}

impl Room {
    /// Whether a pod may run here, as far as its selector and tolerations say.
    fn takes(&self, pod: &Value) -> bool {
        let selector = pod["nodeSelector"].as_object();
        let selected = selector.into_iter().flatten().all(|(key, value)| {
            self.labels.iter().any(|(label, is)| label == key && value.as_str() == Some(is))
        });
        let tolerations = pod["tolerations"].as_array();
        selected
            && self.taints.iter().all(|taint| {
                tolerations.into_iter().flatten().any(|toleration| taint.is_tolerated(toleration))
            })
    }
}

impl Taint {
    fn is_tolerated(&self, toleration: &Value) -> bool {
        let text = |key: &str| toleration[key].as_str().unwrap_or_default();
        let exists = text("operator") == "Exists";
        let key = text("key").is_empty() && exists || text("key") == self.key;
        let effect = text("effect").is_empty() || text("effect") == self.effect;
        key && effect && (exists || text("value") == self.value)
    }
}

/// All that the chart requests. A DaemonSet has a pod on each node that takes it.
pub(super) fn requests(workloads: &[Workload], rooms: &[Room]) -> Requests {
    let mut requests = Requests::default();
    for workload in workloads {
        let pods = i64::try_from(pods(workload, rooms)).unwrap_or(i64::MAX);
        requests.pods = requests.pods.saturating_add_signed(pods);
        requests.cpu_milli = requests.cpu_milli.saturating_add(workload.cpu_milli.saturating_mul(pods));
        requests.memory_bytes =
            requests.memory_bytes.saturating_add(workload.memory_bytes.saturating_mul(pods));
    }
    requests
}

fn pods(workload: &Workload, rooms: &[Room]) -> u64 {
    match workload.kind {
        WorkloadKind::DaemonSet => rooms.iter().filter(|room| room.takes(&workload.pod)).count() as u64,
        _ => u64::from(workload.replicas),
    }
}

/// What there is no room for, in words.
pub(super) fn lacking(workloads: &[Workload], rooms: &[Room]) -> Vec<String> {
    let mut lacking = Vec::new();
    for workload in workloads.iter().filter(|workload| workload.kind != WorkloadKind::DaemonSet) {
        let fits = |room: &&Room| {
            room.takes(&workload.pod)
                && room.cpu_milli >= workload.cpu_milli
                && room.memory_bytes >= workload.memory_bytes
        };
        if workload.replicas > 0 && rooms.iter().find(fits).is_none() {
            lacking.push(format!(
                "no node has room for a pod of {} {}, which requests {} CPU and {} of memory",
                workload.kind.name(),
                workload.name,
                cpu(workload.cpu_milli),
                memory(workload.memory_bytes)
            ));
        }
    }
    let wanted = requests(workloads, rooms);
    let sum = |of: fn(&Room) -> i64| rooms.iter().map(of).fold(0, i64::saturating_add);
    let (free_cpu, free_memory) = (sum(|room| room.cpu_milli), sum(|room| room.memory_bytes));
    let nodes = format!("the {} nodes that take pods", rooms.len());
    if wanted.cpu_milli > free_cpu {
        lacking.push(format!(
            "the chart requests {} CPU; {nodes} have {} left",
            cpu(wanted.cpu_milli),
            cpu(free_cpu)
        ));
    }
    if wanted.memory_bytes > free_memory {
        lacking.push(format!(
            "the chart requests {} of memory; {nodes} have {} left",
            memory(wanted.memory_bytes),
            memory(free_memory)
        ));
    }
    lacking
}

fn cpu(milli: i64) -> String {
    format!("{:.2}", milli as f64 / 1000.0).trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn memory(bytes: i64) -> String {
    format!("{} MiB", bytes / (1 << 20))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn room(node: &str, cpu_milli: i64) -> Room {
        Room {
            node: node.to_owned(),
            labels: vec![("disk".to_owned(), "ssd".to_owned())],
            taints: Vec::new(),
            cpu_milli,
            memory_bytes: 1 << 30,
        }
    }

    fn workload(kind: WorkloadKind, replicas: u32, cpu_milli: i64) -> Workload {
        Workload {
            kind,
            namespace: "n".to_owned(),
            name: "tcp".to_owned(),
            replicas,
            cpu_milli,
            memory_bytes: 1 << 20,
            pod: json!({}),
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let rooms = [room("a", 1000), room("b", 500)];
        assert!(lacking(&[workload(WorkloadKind::Deployment, 3, 500)], &rooms).is_empty());
        let too_many = lacking(&[workload(WorkloadKind::Deployment, 4, 500)], &rooms);
        assert_eq!(too_many, ["the chart requests 2 CPU; the 2 nodes that take pods have 1.5 left"]);
        let too_large = lacking(&[workload(WorkloadKind::StatefulSet, 1, 1250)], &rooms);
        assert_eq!(
            too_large,
            ["no node has room for a pod of StatefulSet tcp, which requests 1.25 CPU and 1 MiB of memory"]
        );
        assert!(
            lacking(&[workload(WorkloadKind::Deployment, 0, 9000)], &rooms).is_empty(),
            "none is asked for"
        );
    }

    #[test]
    fn a_daemonset_has_a_pod_on_each_node_that_takes_it() {
        let mut tainted = room("b", 500);
        tainted.taints.push(Taint {
            key: "dedicated".to_owned(),
            value: "gpu".to_owned(),
            effect: "NoSchedule".to_owned(),
        });
        let rooms = [room("a", 1000), tainted];
        let mut daemon = workload(WorkloadKind::DaemonSet, 1, 100);
        assert_eq!(requests(&[daemon.clone()], &rooms).pods, 1);
        daemon.pod = json!({"tolerations": [{"operator": "Exists"}]});
        assert_eq!(
            requests(&[daemon.clone()], &rooms),
            Requests { pods: 2, cpu_milli: 200, memory_bytes: 2 << 20 }
        );
        daemon.pod = json!({"tolerations": [{"key": "dedicated", "value": "tpu"}]});
        assert_eq!(requests(&[daemon.clone()], &rooms).pods, 1);
        daemon.pod = json!({"nodeSelector": {"disk": "hdd"}});
        assert_eq!(requests(&[daemon], &rooms).pods, 0);
    }

    #[test]
    fn what_runs_already_takes_room() {
        let mut rooms = [room("a", 1000)];
        let pod = serde_json::from_value(json!({"metadata": {}, "spec": {"nodeName": "a", "containers": [
            {"name": "x", "resources": {"requests": {"cpu": "250m", "memory": "24Mi"}}}, {"name": "y"}]}}));
        take(&mut rooms, &pod.unwrap());
        assert_eq!((rooms[0].cpu_milli, rooms[0].memory_bytes), (750, 1000 << 20));
    }
}
