//! The life of gateways: one process per entrance and node, replaced without closing a listener.

use std::{
    io,
    net::SocketAddr,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use ::platform::{
    EventKind,
    values::{Probe, Protocol},
};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::{GATEWAY, Platform, World, node_name};
use crate::{
    http,
    kernel::port,
    supervisor::{
        Message, ProcessKey, endpoints, environment,
        gateway::{Gateway, Gateways},
        probe,
        service::Running,
    },
};

/// A gateway that drains keeps its connections for as long as its own `DRAIN_TIMEOUT` says; this is for one that does
/// not end then.
const GRACE: Duration = Duration::from_secs(90);
/// How often a gateway is asked how far it is, while it is behind.
const ASK_EVERY: Duration = Duration::from_millis(5);

impl Gateways {
    /// Whether every place has one ready gateway that knows this version of the endpoints, and no old one takes
    /// connections.
    pub(super) fn are_settled(&self, version: u64) -> bool {
        let mut working = self.all.iter().filter(|gateway| gateway.told.is_none());
        working
            .all(|gateway| gateway.ready && gateway.version >= version && gateway.revision == self.revision)
    }
}

impl Platform {
    /// Tells the gateways which replicas there are now.
    pub(super) fn settle_endpoints(&mut self) {
        let Some(world) = &mut self.world else { return };
        let clusters = world.services.iter().map(endpoints::cluster).collect();
        let changed = match world.endpoints.update(clusters) {
            Ok(changed) => changed,
            Err(error) => {
                tracing::error!(%error, "cannot write the endpoints; the gateways go on with what they know");
                return;
            }
        };
        let version = world.endpoints.version();
        // Wakes whoever follows only if there is news.
        world.endpoints_version.send_if_modified(|known| std::mem::replace(known, version) != version);
        for cluster in changed {
            let (draining, ready) =
                cluster.endpoints.into_iter().partition::<Vec<_>, _>(|endpoint| endpoint.draining);
            let names = |endpoints: Vec<::platform::endpoints::Endpoint>| {
                endpoints.into_iter().map(|endpoint| endpoint.name).collect()
            };
            self.recorder.emit(EventKind::EndpointsChanged {
                service: cluster.name,
                ready: names(ready),
                draining: names(draining),
            });
        }
    }

    /// Starts gateways where there is none, and drains those that are old or out of place.
    pub(super) fn settle_gateways(&mut self) {
        let Some(world) = &self.world else { return };
        let (entrances, nodes, revision) = (world.entrances.len(), world.nodes, world.gateways.revision);
        let mut drain = Vec::new();
        for (index, gateway) in world.gateways.all.iter().enumerate() {
            if gateway.told.is_some() {
                continue;
            }
            let in_place = gateway.entrance < entrances && gateway.node < nodes;
            let has_successor = world.gateways.all.iter().any(|other| {
                other.revision == revision
                    && other.ready
                    && other.told.is_none()
                    && place(other) == place(gateway)
            });
            if !in_place || gateway.revision != revision && has_successor {
                drain.push(index);
            }
        }
        for index in drain {
            self.drain_gateway(index);
        }
        for entrance in 0..entrances {
            for node in 0..nodes {
                let there = self.world.as_ref().is_some_and(|world| {
                    let mut all = world.gateways.all.iter();
                    all.any(|other| {
                        other.told.is_none() && other.revision == revision && place(other) == (entrance, node)
                    })
                });
                if !there {
                    self.add_gateway(entrance, node);
                }
            }
        }
        self.forget_gateways();
    }

    fn add_gateway(&mut self, entrance: usize, node: u32) {
        let Some(world) = &mut self.world else { return };
        let Some(ordinal) = world.gateways.ordinals.take(Instant::now()) else {
            tracing::error!("no address is left for one more gateway");
            return;
        };
        let name = match entrance {
            0 => format!("gateway-{}", node_name(node)),
            _ => format!("gateway-{}-{}", world.entrances[entrance].listener.name, node_name(node)),
        };
        let ip = world.addresses().gateway(ordinal.into());
        let gateway = Gateway::new(name, entrance, node, ordinal, ip, world.gateways.revision);
        world.gateways.all.push(gateway);
        self.start_gateway(ordinal);
    }

    fn start_gateway(&mut self, ordinal: u16) {
        let folders = self.own.gateways_directory();
        let Some(world) = &mut self.world else { return };
        let Some(index) = world.gateways.all.iter().position(|gateway| gateway.ordinal == ordinal) else {
            return;
        };
        let proxied = world.proxied(&world.gateways.all[index], &folders);
        let gateway = &mut world.gateways.all[index];
        (gateway.ready, gateway.version) = (false, 0);
        gateway.proxied.clone_from(&proxied);
        let admin = SocketAddr::new(gateway.ip, world.values.gateway.admin_port);
        let started =
            port::check_free([(Protocol::Tcp, admin)]).map_err(io::Error::other).and_then(
                |()| match proxied {
                    Some(proxied) => self.start_proxied(ordinal, &proxied),
                    None => self.start_own(index),
                },
            );
        let Some(gateway) = self.world.as_mut().and_then(|world| world.gateways.all.get_mut(index)) else {
            return;
        };
        match started {
            Ok((line, running)) => {
                gateway.line = line;
                gateway.running = Some(running);
            }
            Err(error) => {
                let name = gateway.name.clone();
                let delay = gateway.next_delay(Duration::ZERO).max(Duration::from_secs(1));
                self.starter.later(delay, Message::RestartGateway { ordinal });
                self.gateway_failed(&name, &error.to_string(), Duration::ZERO);
            }
        }
    }

    fn start_own(&mut self, index: usize) -> io::Result<(Option<UnixStream>, Running)> {
        let gone = || io::Error::other("its place is gone");
        let world = self.world.as_ref().ok_or_else(gone)?;
        let gateway = &world.gateways.all[index];
        let entrance = world.entrances.get(gateway.entrance).ok_or_else(gone)?;
        let template = world.gateway_templates.get(gateway.entrance).ok_or_else(gone)?;
        let admin = SocketAddr::new(gateway.ip, world.values.gateway.admin_port);
        let clients = SocketAddr::new(gateway.ip, entrance.listener.port);
        let mut variables = template.clone();
        let node = node_name(gateway.node);
        variables.extend(environment::of_replica(&gateway.name, &node, clients, admin.port()));
        variables.insert("UPSTREAM_BIND".to_owned(), gateway.ip.to_string());
        variables.insert("ADMIN_HOST".to_owned(), gateway.ip.to_string());
        let (ours, theirs) = world.lend_listeners(gateway)?;
        let (messages, versions) = (self.starter.messages(), world.endpoints_version.subscribe());
        let watch = |key| follow(key, admin, messages, versions);
        let running = self.starter.serve(GATEWAY, &gateway.name, variables, Some(theirs), watch)?;
        Ok((Some(ours), running))
    }

    /// Whether the process is a gateway.
    pub(super) fn gateway_ready(&mut self, key: ProcessKey) -> bool {
        let came_up = self.came_up;
        let Some(gateway) = self.gateway(key) else {
            return false;
        };
        let first = !gateway.ready && gateway.restarts == 0;
        gateway.ready = true;
        let (part, address) = (gateway.name.clone(), gateway.ip);
        let after = gateway.running.as_ref().map(|running| running.started.elapsed()).unwrap_or_default();
        if first || came_up {
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            self.recorder.emit(EventKind::PartReady { part, detail: format!("from {address}"), after_ms });
        }
        true
    }

    pub(super) fn gateway_caught_up(&mut self, key: ProcessKey, version: u64) {
        if let Some(gateway) = self.gateway(key) {
            gateway.version = version;
        }
    }

    /// Whether the process was a gateway.
    pub(super) fn gateway_ended(&mut self, key: ProcessKey, how: &str) -> bool {
        let stopping = self.stopping.is_some();
        let Some(gateway) = self.gateway(key) else {
            return false;
        };
        let ran = gateway.running.take().map_or(Duration::ZERO, |running| running.started.elapsed());
        let was_ready = gateway.ready;
        (gateway.line, gateway.ready) = (None, false);
        if gateway.told.is_some() || stopping {
            gateway.told.get_or_insert_with(Instant::now);
            self.forget_gateways();
            return true;
        }
        let delay = gateway.next_delay(ran);
        gateway.restarts += 1;
        let (name, ordinal) = (gateway.name.clone(), gateway.ordinal);
        self.starter.later(delay, Message::RestartGateway { ordinal });
        if was_ready {
            let message =
                format!("{name}: {how}; started again in {} ms, its listener stays open", delay.as_millis());
            self.recorder.emit(EventKind::Warning { message });
        } else {
            self.gateway_failed(&name, how, ran);
        }
        true
    }

    fn gateway_failed(&mut self, name: &str, how: &str, ran: Duration) {
        if self.pending.is_empty() {
            let message = format!("{name} does not come up: {how}; its output: playctl logs {name}");
            self.recorder.emit(EventKind::Warning { message });
        } else {
            self.change_failed(&self.not_up(name, how, ran));
        }
    }

    pub(super) fn restart_gateway(&mut self, ordinal: u16) {
        let all = self.world.iter().flat_map(|world| &world.gateways.all);
        let waits = |gateway: &&Gateway| {
            gateway.ordinal == ordinal && gateway.running.is_none() && gateway.told.is_none()
        };
        if self.stopping.is_none() && all.filter(waits).count() == 1 {
            self.start_gateway(ordinal);
        }
    }

    fn drain_gateway(&mut self, index: usize) {
        let Some(world) = &mut self.world else { return };
        let gateway = &mut world.gateways.all[index];
        gateway.told = Some(Instant::now());
        if let Some(running) = &gateway.running {
            match &gateway.proxied {
                Some(proxied) => proxied.drain(running),
                None => running.process.terminate(),
            }
            self.starter.later(GRACE, Message::GraceOver { key: running.key });
        }
    }

    /// Whether the process is a gateway.
    pub(super) fn gateway_grace_over(&mut self, key: ProcessKey) -> bool {
        let Some(gateway) = self.gateway(key) else {
            return false;
        };
        if let Some(running) = &gateway.running {
            running.process.kill();
        }
        true
    }

    /// Forgets those that were told to end and have.
    fn forget_gateways(&mut self) {
        let Some(World { gateways, .. }) = &mut self.world else {
            return;
        };
        let now = Instant::now();
        let (gone, there) = std::mem::take(&mut gateways.all)
            .into_iter()
            .partition(|gateway: &Gateway| gateway.told.is_some() && gateway.running.is_none());
        gateways.all = there;
        for gateway in gone {
            gateways.ordinals.give_back(gateway.ordinal, now);
        }
    }

    fn gateway(&mut self, key: ProcessKey) -> Option<&mut Gateway> {
        let mut all = self.world.as_mut()?.gateways.all.iter_mut();
        all.find(|gateway| gateway.running.as_ref().is_some_and(|running| running.key == key))
    }
}

fn place(gateway: &Gateway) -> (usize, u32) {
    (gateway.entrance, gateway.node)
}

/// Probes a gateway and, whenever there are newer endpoints, asks it until it has taken them over.
async fn follow(
    key: ProcessKey,
    admin: SocketAddr,
    messages: mpsc::Sender<Message>,
    mut versions: watch::Receiver<u64>,
) {
    let readiness = Probe {
        path: "/readyz".to_owned(),
        period: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        failure_threshold: 3,
        success_threshold: 1,
    };
    let told = messages.clone();
    let progress = async move {
        loop {
            let wanted = *versions.borrow_and_update();
            loop {
                if let Some(version) = version_of(admin).await
                    && version >= wanted
                {
                    if told.send(Message::CaughtUp { key, version }).await.is_err() {
                        return;
                    }
                    break;
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
            if versions.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::join!(probe::run(key, admin, None, readiness, messages), progress);
}

async fn version_of(admin: SocketAddr) -> Option<u64> {
    #[derive(Deserialize)]
    struct View {
        version: Option<u64>,
    }
    let answer = http::get(admin, "/endpoints", Duration::from_secs(1)).await.ok()?;
    // The body may come in chunks; the document is what lies between its first and last brace.
    let document = answer.body.get(answer.body.find('{')?..=answer.body.rfind('}')?)?;
    serde_json::from_str::<View>(document).ok()?.version
}
