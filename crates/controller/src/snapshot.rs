//! The state for outside readers: the only projection of it.

use jiff::Timestamp;
use platform::{
    HostPort, PartKind, ServiceKind,
    target::{
        AutoscalerSnapshot, NodeSnapshot, PartOrigin, PartSnapshot, ReplicaSnapshot, ServiceSnapshot,
        Snapshot,
    },
    values::Protocol,
};

use crate::{
    Controller, RunId, ServiceTemplate,
    deployment::Service,
    in_memory,
    instance::{Instance, Workload},
    names::node_name,
    parts::Wanted,
    pipeline::Counts,
    template::{GatewayTemplate, PartTemplate, Source, Template},
};

/// Locations, which only the caller knows because it starts the processes.
pub trait Places {
    /// The kind of target, as in [`Snapshot::target`]: `local`, `simulated`.
    fn target(&self) -> &'static str;
    /// The address for clients of a service, if it is exposed.
    fn endpoint(&self, service: ServiceKind) -> Option<HostPort>;
    /// The address of a service behind another one's port, and its path there.
    fn route(&self, service: ServiceKind) -> Option<(HostPort, String)>;
    fn replica(&self, template: &ServiceTemplate, ordinal: u16, run: Option<RunId>) -> ReplicaPlace;
    fn gateway(&self, template: &GatewayTemplate, ordinal: u16, run: Option<RunId>) -> PartPlace;
    fn part(&self, template: &PartTemplate, run: Option<RunId>) -> PartPlace;
    /// The parts that the controller does not start.
    fn others(&self) -> Vec<PartSnapshot>;
    /// Current problems that the controller does not know about, in words.
    fn problems(&self) -> Vec<String>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaPlace {
    pub address: Option<HostPort>,
    pub pid: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartPlace {
    pub version: Option<String>,
    pub address: Option<String>,
    pub pid: Option<u32>,
    /// A gateway's source address for connections to replicas.
    pub connects_from: Option<std::net::IpAddr>,
}

impl Controller {
    /// The current state; `None`: there is no platform, or it is being taken down.
    pub fn snapshot(&self, places: &dyn Places) -> Option<Snapshot> {
        let spec = self.spec.as_ref().filter(|_| self.stopping.is_none())?;
        let mut parts: Vec<PartSnapshot> =
            PartKind::ALL.into_iter().flat_map(|kind| self.part_snapshots(kind, places)).collect();
        parts.extend(self.instances.iter().filter_map(|one| gateway_snapshot(one, places)));
        parts.extend(places.others());
        Some(Snapshot {
            platform: self.platform.clone(),
            target: places.target().to_owned(),
            since: Some(self.began),
            nodes: spec.nodes,
            node_list: (0..spec.nodes).map(|node| node_snapshot(node_name(node))).collect(),
            services: self.services.values().map(|one| self.service_snapshot(one, places)).collect(),
            parts,
            next_sync: self.next_sync().map(|at| self.wall(at)),
            problems: self.problems(places),
        })
    }

    /// The pipeline's counts.
    pub fn counts(&self) -> Counts {
        self.pipeline.counts
    }

    /// Whether everything has been ready once.
    pub fn came_up(&self) -> bool {
        self.came_up
    }

    /// The current problems, in words.
    fn problems(&self, places: &dyn Places) -> Vec<String> {
        let endpoints = self.endpoints.problem();
        let endpoints =
            endpoints.map(|reason| format!("the gateways do not know the current replicas: {reason}"));
        endpoints.into_iter().chain(places.problems()).collect()
    }

    fn service_snapshot(&self, service: &Service, places: &dyn Places) -> ServiceSnapshot {
        ServiceSnapshot {
            name: service.kind.name().to_owned(),
            endpoint: places.endpoint(service.kind),
            route: places.route(service.kind).map(|(at, path)| format!("{at}{path}")),
            desired: service.desired,
            stopped: service.stopped,
            set_by_hand: service.set_by_hand,
            pending: service.without_place,
            remark: self.is_in_memory(service.kind).then(|| in_memory::REMARK.to_owned()),
            balanced: service.balanced.clone(),
            replicas: self
                .replicas(service.kind)
                .filter_map(|one| self.replica_snapshot(one, places))
                .collect(),
            autoscaler: service
                .hpa
                .as_ref()
                .map(|hpa| -> AutoscalerSnapshot { hpa.snapshot(service.desired, self.began) }),
        }
    }

    fn replica_snapshot(&self, replica: &Instance, places: &dyn Places) -> Option<ReplicaSnapshot> {
        let Template::Service(template) = &replica.template else { return None };
        let run = replica.run.as_ref();
        let place = places.replica(template, replica.ordinal, run.map(|run| run.id));
        let series = &replica.series;
        Some(ReplicaSnapshot {
            name: replica.name.to_string(),
            node: Some(node_name(replica.node)),
            address: place.address,
            admin_port: Some(template.admin_port),
            pid: place.pid,
            started: run.map(|run| -> Timestamp { self.wall(run.began) }),
            server_id: replica.server_id,
            phase: replica.phase,
            reason: None,
            since: self.wall(replica.since),
            traffic: replica.traffic,
            deletion_cost: replica.deletion_cost(template),
            restarts: replica.restarts,
            connections: series.connections().filter(|_| template.transport() == Protocol::Tcp),
            packets_per_second: series.packets_per_second(),
            packets_received: series.packets_received(),
            cpu_cores: series.cpu_milli.map(|cpu| cpu.milli as f64 / 1000.0),
            memory_bytes: series.memory_bytes,
        })
    }

    /// A part, and the one that is about to replace it.
    fn part_snapshots(&self, kind: PartKind, places: &dyn Places) -> Vec<PartSnapshot> {
        let Some(part) = self.parts.get(&kind) else { return Vec::new() };
        if let Wanted::Given(address) = &part.wanted {
            return vec![PartSnapshot {
                name: kind.name().to_owned(),
                origin: PartOrigin::Given,
                // It is asked for its own version.
                version: None,
                address: Some(address.clone()),
                detail: String::new(),
                healthy: true,
                restarts: 0,
                pid: None,
                connects_from: None,
                connections: None,
            }];
        }
        let instances: Vec<&Instance> = self.instances_of(Workload::Part(kind)).collect();
        if let (true, true, Wanted::Own(template)) = (part.stopped, instances.is_empty(), &part.wanted) {
            let place = places.part(template, None);
            return vec![PartSnapshot {
                detail: "stopped".to_owned(),
                ..part_snapshot(kind.name(), template, place)
            }];
        }
        let snapshot = |one: &&Instance| {
            let Template::Part(template) = &one.template else { return None };
            let place = places.part(template, one.run.as_ref().map(|run| run.id));
            Some(PartSnapshot {
                address: one.address.clone(),
                detail: detail(one),
                healthy: one.is_ready(),
                restarts: one.restarts,
                ..part_snapshot(kind.name(), template, place)
            })
        };
        instances.iter().filter_map(snapshot).collect()
    }
}

fn node_snapshot(name: String) -> NodeSnapshot {
    NodeSnapshot { name, ready: true, schedulable: true, cpu_cores: None, memory_bytes: None }
}

fn part_snapshot(name: &str, template: &PartTemplate, place: PartPlace) -> PartSnapshot {
    let origin = match template.source {
        Source::Embedded => PartOrigin::Embedded,
        Source::Server { .. } => PartOrigin::Found,
    };
    let PartPlace { version, address, pid, connects_from } = place;
    PartSnapshot {
        name: name.to_owned(),
        origin,
        version,
        address,
        detail: String::new(),
        healthy: false,
        restarts: 0,
        pid,
        connects_from,
        connections: None,
    }
}

fn gateway_snapshot(gateway: &Instance, places: &dyn Places) -> Option<PartSnapshot> {
    let Template::Gateway(template) = &gateway.template else { return None };
    let place = places.gateway(template, gateway.ordinal, gateway.run.as_ref().map(|run| run.id));
    Some(PartSnapshot {
        name: gateway.name.to_string(),
        origin: if template.program.is_some() { PartOrigin::Found } else { PartOrigin::Embedded },
        version: place.version,
        address: place.address,
        detail: detail(gateway),
        healthy: gateway.is_ready(),
        restarts: gateway.restarts,
        pid: place.pid,
        connects_from: place.connects_from,
        connections: None,
    })
}

/// Its description and state.
fn detail(instance: &Instance) -> String {
    let mut detail = instance.detail.clone();
    if matches!(instance.workload, Workload::Gateway(_)) {
        if let Template::Gateway(template) = &instance.template {
            detail = join(&detail, template.listener.rules.policy.words());
        }
        detail = join(&detail, &node_name(instance.node));
    }
    if !instance.is_active() {
        detail = join(&detail, "draining");
    }
    match instance.restarts {
        0 => detail,
        1 => join(&detail, "1 restart"),
        more => join(&detail, &format!("{more} restarts")),
    }
}

fn join(text: &str, more: &str) -> String {
    if text.is_empty() { more.to_owned() } else { format!("{text}, {more}") }
}
