//! Telling others what there is: the supervisor's own metrics, and the list of what Prometheus scrapes.

use std::net::SocketAddr;

use ::platform::{
    target::{PartOrigin, PartSnapshot},
    values::GatewayKind,
};

use super::{Platform, World, node_name};
use crate::{
    prometheus::targets::{Target, Targets},
    supervisor::{
        autoscaling::Hpa,
        parts::OWN_VERSION,
        recorder::Recorder,
        service::{Replica, Service},
        telemetry::{AutoscalerView, GatewayView, ProcessView, ReplicaView, ServiceView, View},
    },
};

impl Platform {
    /// After anything that may have changed something.
    pub(super) fn publish(&mut self) {
        let Some(world) = &mut self.world else { return };
        if self.came_up {
            world.telemetry.ready();
        }
        world.telemetry.publish(view(world, &self.name, &self.recorder));
        let targets = targets(world, &self.name);
        if let Err(error) = world.targets.update(targets) {
            tracing::error!(%error, "cannot write what there is to scrape; Prometheus goes on with what it knows");
        }
    }
}

fn view(world: &World, namespace: &str, recorder: &Recorder) -> View {
    let gateway = |gateway: &crate::supervisor::gateway::Gateway| GatewayView {
        name: gateway.name.clone(),
        ready: gateway.ready,
        restarts: gateway.restarts,
    };
    View {
        namespace: namespace.to_owned(),
        services: world.services.iter().map(|one| service(one, recorder)).collect(),
        gateways: world.gateways.all.iter().map(gateway).collect(),
        counts: world.counts,
    }
}

fn service(service: &Service, recorder: &Recorder) -> ServiceView {
    let replica = |replica: &Replica| ReplicaView {
        name: replica.name.clone(),
        address: replica.client_address(&service.template),
        phase: replica.phase,
        restarts: replica.restarts,
        process: replica.running.as_ref().map(|running| ProcessView {
            pid: running.process.pid(),
            started: recorder.unix_ms(running.started) as f64 / 1000.0,
        }),
        packets_received: replica.series.packets_received(),
    };
    let autoscaler = |hpa: &Hpa| {
        let (min, max) = hpa.bounds();
        let (current, metrics) = hpa.seen();
        AutoscalerView { min, max, current, desired: service.desired, metrics: metrics.to_vec() }
    };
    ServiceView {
        name: service.name.clone(),
        desired: service.desired,
        replicas: service.replicas.iter().map(replica).collect(),
        autoscaler: service.hpa.as_ref().map(autoscaler),
    }
}

fn targets(world: &World, namespace: &str) -> Targets {
    let mut services = Vec::new();
    for service in &world.services {
        for replica in service.replicas.iter().filter(|replica| replica.running.is_some()) {
            services.push(Target::new(
                replica.admin_address(&service.template),
                [
                    ("namespace", namespace),
                    ("service", &service.name),
                    ("pod", &replica.name),
                    ("node", &node_name(replica.node)),
                ],
            ));
        }
    }
    let gateways = world.gateways.all.iter().filter(|gateway| gateway.running.is_some());
    let gateways = gateways
        .map(|gateway| {
            let admin = SocketAddr::new(gateway.ip, world.values.gateway.admin_port);
            let node = node_name(gateway.node);
            let labels = [("namespace", namespace), ("pod", gateway.name.as_str()), ("node", node.as_str())];
            let target = Target::new(admin, labels);
            // Where Envoy is the gateway, UDP is still ours.
            let is_envoy = world.values.gateway.kind == GatewayKind::Envoy && gateway.proxied.is_some();
            if is_envoy { target.at_path("/stats/prometheus") } else { target }
        })
        .collect();
    let supervisor = vec![Target::new(world.telemetry.address(), [("namespace", namespace)])];
    Targets { services, gateways, supervisor }
}

pub(super) fn supervisor(world: &World) -> PartSnapshot {
    PartSnapshot {
        name: "supervisor".to_owned(),
        origin: PartOrigin::Embedded,
        version: Some(OWN_VERSION.to_owned()),
        address: Some(world.telemetry.address().to_string()),
        detail: "/metrics of the platform itself".to_owned(),
        healthy: true,
        pid: Some(std::process::id()),
    }
}
