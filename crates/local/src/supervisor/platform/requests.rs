//! What clients ask for, apart from coming and going.

use std::{net::SocketAddr, time::Duration};

use ::platform::{
    EventKind, TargetError,
    target::{Killed, PartOrigin, PartSnapshot, ReplicaSnapshot, Scaled, ServiceSnapshot},
};

use super::{Platform, World, endpoint_of, node_name};
use crate::supervisor::{
    autoscaling::Hpa,
    gateway::Gateway,
    parts::OWN_VERSION,
    recorder::Recorder,
    service::{Replica, Service},
};

/// A service's replicas have one byte of their address; some stay free for replacements and for quarantine.
const REPLICAS_MAX: u32 = 200;

impl Platform {
    pub(super) fn scale(&mut self, name: &str, replicas: u32) -> Result<Scaled, TargetError> {
        if replicas > REPLICAS_MAX {
            let message = format!("{replicas} replicas: expected 0 to {REPLICAS_MAX}");
            return Err(TargetError::Invalid { message });
        }
        let service = self.known(name)?;
        let from = std::mem::replace(&mut service.desired, replicas);
        let autoscaled = service.hpa.as_ref().map(Hpa::bounds);
        if from != replicas {
            self.recorder.emit(EventKind::ReplicasSet { service: name.to_owned(), from, to: replicas });
        }
        Ok(Scaled { from, to: replicas, autoscaled })
    }

    pub(super) fn kill(
        &mut self,
        name: &str,
        replica: Option<&str>,
        restart: bool,
    ) -> Result<Killed, TargetError> {
        let service = self.known(name)?;
        let known: Vec<String> = service.replicas.iter().map(|replica| replica.name.clone()).collect();
        let found = if let Some(wanted) = replica {
            let unknown = || TargetError::UnknownReplica {
                service: name.to_owned(),
                replica: wanted.to_owned(),
                known,
            };
            service.replicas.iter_mut().find(|replica| replica.name == wanted).ok_or_else(unknown)?
        } else {
            let working = |replica: &&mut Replica| replica.running.is_some() && replica.told.is_none();
            let lowest = service.replicas.iter_mut().filter(working).min_by_key(|replica| replica.ordinal);
            lowest.ok_or_else(|| TargetError::Other { message: format!("no replica of {name} runs") })?
        };
        let Some(running) = &found.running else {
            return Err(TargetError::Other { message: format!("{} does not run", found.name) });
        };
        found.stay_dead = !restart;
        let draining = found.told.is_some();
        running.process.kill();
        let restart_in: Option<Duration> =
            (restart && !draining).then(|| found.backoff.clone().next(running.started.elapsed()));
        Ok(Killed { replica: found.name.clone(), pid: Some(running.process.pid()), draining, restart_in })
    }

    pub(super) fn endpoint(&mut self, name: &str) -> Result<SocketAddr, TargetError> {
        self.known(name)?;
        let world = self.running()?;
        endpoint_of(world, name)
            .ok_or_else(|| TargetError::Other { message: format!("no gateway listener leads to {name}") })
    }

    pub(super) fn autoscaler(&mut self, name: &str) -> Result<serde_json::Value, TargetError> {
        let service = self.known(name)?;
        let message = format!("{name} is not autoscaled");
        service.hpa.as_ref().map(Hpa::state).ok_or(TargetError::Other { message })
    }

    fn known(&mut self, name: &str) -> Result<&mut Service, TargetError> {
        let world = self.running()?;
        let known = world.services.iter().map(|service| service.name.clone()).collect();
        world.service(name).ok_or_else(|| TargetError::UnknownService { service: name.to_owned(), known })
    }
}

pub(super) fn service(world: &World, service: &Service, recorder: &Recorder) -> ServiceSnapshot {
    let replicas = service
        .replicas
        .iter()
        .map(|replica| ReplicaSnapshot {
            name: replica.name.clone(),
            node: node_name(replica.node),
            address: replica.client_address(&service.template),
            pid: replica.running.as_ref().map(|running| running.process.pid()),
            server_id: replica.server_id,
            phase: replica.phase,
            since: recorder.wall(replica.since),
            restarts: replica.restarts,
            connections: replica.series.connections(),
            packets_per_second: replica.series.packets_per_second(),
            cpu_cores: replica.series.cpu_milli.map(|cpu| cpu.milli as f64 / 1000.0),
            memory_bytes: replica.series.memory_bytes,
        })
        .collect();
    ServiceSnapshot {
        name: service.name.clone(),
        endpoint: endpoint_of(world, &service.name),
        desired: service.desired,
        replicas,
        autoscaler: service.hpa.as_ref().map(|hpa| hpa.snapshot(service.desired, recorder)),
    }
}

/// To be added to a part's description.
pub(super) fn restarts_in_words(restarts: u32) -> String {
    match restarts {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        more => format!(", {more} restarts"),
    }
}

pub(super) fn gateways(world: &World) -> Vec<PartSnapshot> {
    let of = |gateway: &Gateway| {
        let (origin, version, mut detail) = if let Some(proxied) = &gateway.proxied {
            (PartOrigin::Found, proxied.version(), proxied.in_words())
        } else {
            (PartOrigin::Embedded, OWN_VERSION, world.values.gateway.rules.policy.words().to_owned())
        };
        detail.extend([", ", &node_name(gateway.node)]);
        if gateway.told.is_some() {
            detail.push_str(", draining");
        }
        detail.push_str(&restarts_in_words(gateway.restarts));
        PartSnapshot {
            name: gateway.name.clone(),
            origin,
            version: Some(version.to_owned()),
            address: world
                .entrances
                .get(gateway.entrance)
                .and_then(|entrance| Some(entrance.address()?.to_string())),
            detail,
            healthy: gateway.ready,
            pid: gateway.running.as_ref().map(|running| running.process.pid()),
        }
    };
    world.gateways.all.iter().map(of).collect()
}
