//! The current state of a namespace, for `status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use platform::{
    HostPort,
    address::Host,
    target::{
        AutoscalerSnapshot, NodeSnapshot, PartOrigin, PartSnapshot, ReplicaPhase, ReplicaSnapshot,
        ServiceSnapshot, Snapshot,
    },
};

use crate::{
    connect::Cluster,
    facts::{HpaFacts, NodeFacts, PodFacts, Writer},
    metrics::Usages,
    world::{Part, Service, World, proposals, trouble},
};

/// The usage of pods, in cores and bytes.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    cpu_milli: BTreeMap<String, i64>,
    memory_milli: BTreeMap<String, i64>,
}

impl Usage {
    pub(crate) fn of(usages: &Usages) -> Self {
        let by_pod = |resource: &str| {
            let samples = usages.of(resource, None).into_iter();
            samples.map(|(pod, sample)| (pod, sample.milli)).collect()
        };
        Self { cpu_milli: by_pod("cpu"), memory_milli: by_pod("memory") }
    }
}

/// `problems`: problems that the objects do not show, such as missing permissions.
pub(crate) fn snapshot(
    cluster: &Cluster,
    world: &World,
    usage: &Usage,
    mut problems: Vec<String>,
    now: Timestamp,
) -> Snapshot {
    let services: Vec<ServiceSnapshot> =
        world.services().map(|(name, service)| of_service(world, name, service, usage, now)).collect();
    let troubles = world.services().filter_map(|(name, service)| {
        let trouble = trouble(world.hpa(service.hpa.as_ref()?)?)?;
        Some(format!("the autoscaler of {name} cannot act: {trouble}"))
    });
    problems.extend(troubles);
    problems.extend(world.nothing_to_follow(&cluster.namespace));
    problems.extend(world.services().filter_map(|(name, service)| no_target(world, name, service)));
    let began = world.services().filter_map(|(_, service)| world.workload(service)?.created).min();
    Snapshot {
        platform: cluster.namespace.clone(),
        target: "cluster".to_owned(),
        since: began,
        nodes: u32::try_from(world.nodes().count()).unwrap_or(u32::MAX),
        node_list: world.nodes().map(of_node).collect(),
        services,
        parts: world.parts().iter().map(of_part).collect(),
        next_sync: None,
        problems,
    }
}

fn of_part(part: &Part) -> PartSnapshot {
    let detail = if part.wanted == 0 && part.present == 0 {
        format!("{}, stopped", part.place)
    } else if part.pod.is_some() {
        part.place.clone()
    } else {
        format!("{}, {} of {} ready", part.place, part.ready, part.wanted)
    };
    PartSnapshot {
        name: part.name.clone(),
        origin: PartOrigin::Installed,
        version: None,
        address: None,
        detail,
        healthy: part.is_ready(),
        restarts: part.restarts,
        pid: None,
        connects_from: None,
        connections: None,
    }
}

fn no_target(world: &World, name: &str, service: &Service) -> Option<String> {
    let (kind, workload) = &service.workload;
    let is_seen = world.workload(service).is_some() || world.is_denied(kind);
    (!is_seen).then(|| format!("{name}: there is no {kind} {workload}, which its autoscaler scales"))
}

fn of_node(node: &NodeFacts) -> NodeSnapshot {
    NodeSnapshot {
        name: node.name.clone(),
        ready: node.ready,
        schedulable: node.schedulable,
        cpu_cores: node.cpu_cores,
        memory_bytes: node.memory_bytes,
    }
}

fn of_service(
    world: &World,
    name: &str,
    service: &Service,
    usage: &Usage,
    now: Timestamp,
) -> ServiceSnapshot {
    let workload = world.workload(service);
    let hpa = service.hpa.as_ref().and_then(|hpa| world.hpa(hpa));
    let desired = world.replicas(service);
    let mut replicas: Vec<ReplicaSnapshot> = world.pods_of(name).map(|pod| of_pod(pod, usage, now)).collect();
    replicas.sort_by(|one, other| (one.since, &one.name).cmp(&(other.since, &other.name)));
    let unseen = world.pods_unseen(service);
    let waiting = replicas.iter().filter(|replica| replica.node.is_none()).count();
    ServiceSnapshot {
        name: name.to_owned(),
        endpoint: None,
        route: None,
        desired,
        stopped: false,
        set_by_hand: workload.is_some_and(|workload| {
            hpa.is_some() && matches!(&workload.writer, Writer::Other(manager) if by_hand(manager))
        }),
        pending: u32::try_from(waiting).unwrap_or(u32::MAX),
        remark: unseen.map(|why| format!("nobody knows how many are ready: {why}")),
        balanced: world.balanced(service).cloned(),
        replicas,
        autoscaler: hpa.map(|hpa| of_hpa(hpa, desired, now)),
    }
}

/// Whether a person changed the scale, rather than the tool that created the object.
fn by_hand(manager: &str) -> bool {
    manager == "kubectl" || manager == "playctl"
}

pub(crate) fn of_hpa(hpa: &HpaFacts, desired: u32, now: Timestamp) -> AutoscalerSnapshot {
    let values = proposals(hpa, now);
    AutoscalerSnapshot {
        min: hpa.min,
        max: hpa.max,
        current: hpa.current,
        desired,
        metrics: values.iter().map(|one| format!("{}: {}", one.metric, one.words)).collect(),
        values,
        reason: hpa.words(),
        last_scale: hpa.last_scale,
    }
}

pub(crate) fn of_pod(pod: &PodFacts, usage: &Usage, now: Timestamp) -> ReplicaSnapshot {
    let phase = phase(pod);
    let began = pod.started.or(pod.created).unwrap_or(now);
    let runs = pod.containers.iter().filter_map(|container| container.running).max();
    let since = match phase {
        ReplicaPhase::Ready | ReplicaPhase::Unready => {
            pod.ready.as_ref().and_then(|ready| ready.since).unwrap_or(began)
        }
        _ => began,
    };
    let host = pod.ip.as_ref().and_then(|ip| ip.parse().ok()).map(Host::Ip);
    let cores = usage.cpu_milli.get(&pod.name).map(|milli| *milli as f64 / 1000.0);
    let bytes = usage.memory_milli.get(&pod.name);
    ReplicaSnapshot {
        name: pod.name.clone(),
        node: pod.node.clone(),
        address: host.zip(pod.port).map(|(host, port)| HostPort { host, port }),
        admin_port: pod.admin_port,
        pid: None,
        started: runs,
        server_id: None,
        phase,
        reason: (phase != ReplicaPhase::Ready && phase != ReplicaPhase::Draining)
            .then(|| pod.why_not_ready()),
        since,
        traffic: pod.traffic,
        deletion_cost: pod.deletion_cost,
        restarts: pod.restarts(),
        connections: None,
        packets_per_second: None,
        packets_received: None,
        cpu_cores: cores,
        memory_bytes: bytes.and_then(|milli| u64::try_from(milli / 1000).ok()),
    }
}

fn phase(pod: &PodFacts) -> ReplicaPhase {
    let waits = |what: &str| {
        let mut waiting = pod.containers.iter().filter_map(|container| container.waiting.as_ref());
        waiting.any(|(reason, _)| reason == what)
    };
    if pod.deleting.is_some() {
        ReplicaPhase::Draining
    } else if pod.is_over() {
        ReplicaPhase::Stopped
    } else if pod.is_ready() {
        ReplicaPhase::Ready
    } else if waits("CrashLoopBackOff") {
        ReplicaPhase::BackOff
    } else if was_ready(pod) {
        ReplicaPhase::Unready
    } else {
        ReplicaPhase::Starting
    }
}

/// Whether its readiness changed long after its containers started.
fn was_ready(pod: &PodFacts) -> bool {
    let since = pod.ready.as_ref().and_then(|ready| ready.since);
    let runs = pod.containers.iter().filter_map(|container| container.running).max();
    since.zip(runs).is_some_and(|(since, runs)| since > runs)
}
