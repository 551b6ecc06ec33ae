//! The life of replicas.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use ::platform::{EventKind, target::ReplicaPhase, values::Protocol};
use uuid::Uuid;

use super::{Platform, World, node_name};
use crate::{
    backoff::BackOff,
    kernel::port,
    supervisor::{
        Message, ProcessKey, environment, probe,
        sample::{Scrape, Series, Targets},
        service::{Replica, Service},
    },
};

/// Lines of a replica's output that are shown when it fails.
const LAST_LINES: usize = 8;

impl Platform {
    /// Starts and drains replicas until there are as many as there should be.
    pub(super) fn settle_replicas(&mut self) {
        let now = Instant::now();
        let services = self.world.as_ref().map_or(0, |world| world.services.len());
        for index in 0..services {
            let Some(world) = &self.world else { return };
            let plan = world.services[index].plan(now);
            for uid in plan.drain {
                self.drain(uid);
            }
            for _ in 0..plan.start {
                self.add_replica(index);
            }
            let Some(world) = &mut self.world else { return };
            let revived: Vec<u64> = world.services[index]
                .active()
                .filter(|replica| replica.phase == ReplicaPhase::Stopped && !replica.stay_dead)
                .map(|replica| replica.uid)
                .collect();
            for uid in revived {
                self.start_replica(uid);
            }
        }
        if let Some(world) = &mut self.world {
            // A service that was switched off is forgotten with its last replica.
            let values = &world.values;
            world.services.retain(|service| {
                !service.replicas.is_empty()
                    || values.service(&service.name).is_some_and(|service| service.enabled)
            });
        }
    }

    fn add_replica(&mut self, service: usize) {
        let now = Instant::now();
        let Some(world) = &mut self.world else { return };
        let (uid, nodes, addresses) = (world.uid(), world.nodes, world.addresses());
        let window = world.values.metrics.window;
        let service = &mut world.services[service];
        let Some(ordinal) = service.ordinals.take(now) else {
            tracing::error!(service = service.name, "no address is left for one more replica");
            return;
        };
        let node = service.next_node(nodes);
        service.replicas.push(Replica {
            uid,
            name: format!("{}-{ordinal}", service.name),
            ordinal,
            ip: addresses.replica(service.index, ordinal),
            node,
            revision: service.revision,
            created: now,
            phase: ReplicaPhase::Starting,
            since: now,
            restarts: 0,
            backoff: BackOff::default(),
            running: None,
            server_id: None,
            told: None,
            forced: false,
            stay_dead: false,
            series: Series::new(window),
        });
        self.start_replica(uid);
    }

    fn start_replica(&mut self, uid: u64) {
        let now = Instant::now();
        let Some((service, replica)) =
            self.world.as_mut().and_then(|world| find(world, |one| one.uid == uid))
        else {
            return;
        };
        let replica = &mut service.replicas[replica];
        let template = &service.template;
        let (clients, admin) = (replica.client_address(template), replica.admin_address(template));
        let node = node_name(replica.node);
        let mut variables = template.environment.clone();
        variables.extend(environment::of_replica(&replica.name, &node, clients, template.admin_port));
        replica.enter(ReplicaPhase::Starting, now);
        self.recorder.emit(EventKind::PodStarting {
            service: service.name.clone(),
            pod: replica.name.clone(),
            node,
            restarts: replica.restarts,
        });
        let (readiness, messages) = (template.readiness.clone(), self.starter.messages());
        // Who it is, it can only be asked over TCP, and only where it takes clients.
        let identity = (template.protocol == Protocol::Tcp && clients != admin).then_some(clients);
        let watch = |key| probe::run(key, admin, identity, readiness, messages);
        let started = port::check_free([(template.protocol, clients), (Protocol::Tcp, admin)])
            .map_err(io::Error::other)
            .and_then(|()| self.starter.serve(&service.name, &replica.name, variables, None, watch));
        match started {
            Ok(running) => replica.running = Some(running),
            Err(error) => self.replica_crashed(uid, &error.to_string(), Duration::ZERO),
        }
    }

    pub(super) fn ready(&mut self, key: ProcessKey, server_id: Option<Uuid>) {
        let now = Instant::now();
        if self.server_ready(key) || self.gateway_ready(key) {
            return;
        }
        let Some((service, index)) = self.world.as_mut().and_then(|world| find_running(world, key)) else {
            return;
        };
        let replica = &mut service.replicas[index];
        let Some(running) = &mut replica.running else {
            return;
        };
        running.ready_since = Some(now);
        let after = now.saturating_duration_since(running.started);
        replica.server_id = server_id;
        if replica.told.is_none() {
            replica.enter(ReplicaPhase::Ready, now);
            let (service, pod) = (service.name.clone(), replica.name.clone());
            self.recorder.emit(EventKind::PodReady { service, pod, after_ms: milliseconds(after) });
        }
    }

    pub(super) fn unready(&mut self, key: ProcessKey, reason: String) {
        if self.server_unready(key, &reason) {
            return;
        }
        let Some((service, index)) = self.world.as_mut().and_then(|world| find_running(world, key)) else {
            return;
        };
        let replica = &mut service.replicas[index];
        // While it drains it says that it is not ready, as it should.
        if replica.is_ready() {
            replica.enter(ReplicaPhase::Unready, Instant::now());
            let (service, pod) = (service.name.clone(), replica.name.clone());
            self.recorder.emit(EventKind::PodUnready { service, pod, reason });
        }
    }

    /// Tells a replica to end: out of the endpoints at once, then SIGTERM.
    pub(super) fn drain(&mut self, uid: u64) {
        let now = Instant::now();
        let Some((service, index)) = self.world.as_mut().and_then(|world| find(world, |one| one.uid == uid))
        else {
            return;
        };
        let replica = &mut service.replicas[index];
        if replica.told.is_some() {
            return;
        }
        let clients = replica.client_address(&service.template);
        replica.told = Some(now);
        replica.enter(ReplicaPhase::Draining, now);
        self.recorder.emit(EventKind::PodDraining {
            service: service.name.clone(),
            pod: replica.name.clone(),
            connections: (service.template.protocol == Protocol::Tcp && replica.running.is_some())
                .then(|| connections_now(clients))
                .flatten(),
        });
        let grace = service.template.grace;
        let Some((key, process)) =
            replica.running.as_ref().map(|running| (running.key, running.process.clone()))
        else {
            self.replica_gone(uid);
            return;
        };
        self.settle_endpoints();
        process.terminate();
        self.starter.later(grace, Message::GraceOver { key });
    }

    pub(super) fn grace_over(&mut self, key: ProcessKey) {
        if self.server_grace_over(key) || self.gateway_grace_over(key) {
            return;
        }
        let Some((service, index)) = self.world.as_mut().and_then(|world| find_running(world, key)) else {
            return;
        };
        let replica = &mut service.replicas[index];
        replica.forced = true;
        if let Some(running) = &replica.running {
            running.process.kill();
        }
    }

    pub(super) fn ended(&mut self, key: ProcessKey, how: &str) {
        if self.server_ended(key, how) || self.gateway_ended(key, how) {
            return;
        }
        let Some((service, index)) = self.world.as_mut().and_then(|world| find_running(world, key)) else {
            return;
        };
        let replica = &mut service.replicas[index];
        let uid = replica.uid;
        let ran = replica.running.take().map_or(Duration::ZERO, |running| running.started.elapsed());
        if replica.told.is_some() || self.stopping.is_some() {
            self.replica_gone(uid);
        } else {
            self.replica_crashed(uid, how, ran);
        }
    }

    fn replica_gone(&mut self, uid: u64) {
        let now = Instant::now();
        let Some((service, index)) = self.world.as_mut().and_then(|world| find(world, |one| one.uid == uid))
        else {
            return;
        };
        let replica = service.replicas.remove(index);
        service.ordinals.give_back(replica.ordinal, now);
        let after = now.saturating_duration_since(replica.told.unwrap_or(now));
        self.recorder.emit(EventKind::PodGone {
            service: service.name.clone(),
            pod: replica.name,
            after_ms: milliseconds(after),
            forced: replica.forced,
        });
    }

    fn replica_crashed(&mut self, uid: u64, how: &str, ran: Duration) {
        let now = Instant::now();
        let (came_up, somebody_waits) = (self.came_up, !self.pending.is_empty());
        let Some((service, index)) = self.world.as_mut().and_then(|world| find(world, |one| one.uid == uid))
        else {
            return;
        };
        let replica = &mut service.replicas[index];
        let never_ready = replica.phase == ReplicaPhase::Starting && replica.restarts == 0;
        let is_current = replica.revision == service.revision;
        // A bring-up fails with its first replica that does: nothing is started again.
        let is_end = somebody_waits && !came_up;
        let restart_in = (!replica.stay_dead && !is_end).then(|| replica.backoff.next(ran));
        replica.server_id = None;
        replica.enter(if restart_in.is_some() { ReplicaPhase::BackOff } else { ReplicaPhase::Stopped }, now);
        let pod = replica.name.clone();
        self.recorder.emit(EventKind::PodCrashed {
            service: service.name.clone(),
            pod: pod.clone(),
            exit: how.to_owned(),
            restart_in_ms: restart_in.map(milliseconds),
        });
        if let Some(delay) = restart_in {
            self.starter.later(delay, Message::Restart { uid });
        }
        // What dies right after its start would do so again: whoever waits for it is told.
        if is_end || somebody_waits && never_ready && is_current {
            self.change_failed(&self.not_up(&pod, how, ran));
        }
    }

    /// Why a process does not come up. One that was not even started (`ran` is zero) has said nothing itself.
    pub(super) fn not_up(&self, name: &str, how: &str, ran: Duration) -> String {
        let message = format!("{name} does not come up: {how}");
        if ran.is_zero() { message } else { self.with_last_lines(&message, name) }
    }

    pub(super) fn with_last_lines(&self, message: &str, replica: &str) -> String {
        let lines = self.output.last_lines(replica, LAST_LINES);
        if lines.is_empty() {
            return message.to_owned();
        }
        format!("{message}; its last lines:\n  {}", lines.join("\n  "))
    }

    pub(super) fn restart(&mut self, uid: u64) {
        if self.stopping.is_some() {
            return;
        }
        let Some((service, index)) = self.world.as_mut().and_then(|world| find(world, |one| one.uid == uid))
        else {
            return;
        };
        let replica = &mut service.replicas[index];
        if replica.phase == ReplicaPhase::BackOff {
            replica.restarts += 1;
            // In its place it gets what its successors would get.
            replica.revision = service.revision;
            self.start_replica(uid);
        }
    }
}

/// What the kernel counts at this moment; the last scrape may be seconds old.
fn connections_now(address: SocketAddr) -> Option<u64> {
    let targets = Targets { ports: HashSet::from([address.port()]), pids: Vec::new() };
    Scrape::take(&targets).connections(address)
}

/// The service and the place of a replica in it.
pub(super) fn find(world: &mut World, wanted: impl Fn(&Replica) -> bool) -> Option<(&mut Service, usize)> {
    world.services.iter_mut().find_map(|service| {
        let index = service.replicas.iter().position(&wanted)?;
        Some((service, index))
    })
}

fn find_running(world: &mut World, key: ProcessKey) -> Option<(&mut Service, usize)> {
    find(world, |replica| replica.running.as_ref().is_some_and(|running| running.key == key))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
