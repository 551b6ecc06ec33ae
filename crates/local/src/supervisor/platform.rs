//! The platform as one state machine: what there should be, what there is, and the steps between.
//!
//! Every method runs to its end without waiting. [`Platform::settle`] after every message compares what is with what
//! should be; nothing else starts or ends a process.

mod apply;
mod gateways;
mod metrics;
mod prometheus;
mod proxies;
mod replicas;
mod requests;
mod servers;
mod stop;
mod telemetry;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ::platform::{
    EventKind, TargetError,
    event::{GatewayInfo, ServiceInfo},
    target::{Applied, Snapshot},
    values::Values,
};
use tokio::sync::mpsc;
use uuid::Uuid;

pub(crate) use self::prometheus::Answers;
use self::{prometheus::CustomMetrics, stop::Stopping};
use super::{
    Answer, Command, Error, Message,
    endpoints::EndpointsFile,
    entrance::Entrance,
    environment,
    gateway::Gateways,
    output::{self, Output},
    parts::Parts,
    probe,
    proxy::Proxy,
    recorder::{self, Recorder},
    servers::Server,
    service::Service,
    start::Starter,
    telemetry::{Counts, Telemetry},
};
use crate::{
    journal::{Journal, Source},
    paths::{Paths, PlatformPaths},
    prometheus::targets::TargetFiles,
    slot::{Addresses, Slot},
};

/// What the gateways' log lines go by.
const GATEWAY: &str = "gateway";
/// Whoever waits for a change is told after this that it does not come about.
const CHANGE_DEADLINE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Platform {
    name: String,
    paths: Paths,
    own: PlatformPaths,
    recorder: Recorder,
    output: Output,
    starter: Starter,
    /// Empty until the first `apply`.
    world: Option<World>,
    /// Everything was ready once.
    came_up: bool,
    /// How many changes were asked for.
    changes: u64,
    /// Changes that somebody waits for.
    pending: Vec<Pending>,
    stopping: Option<Stopping>,
}

/// What there is once somebody has said what there should be.
#[derive(Debug)]
struct World {
    slot: Slot,
    nodes: u32,
    values: Values,
    parts: Parts,
    servers: Vec<Server>,
    entrances: Vec<Entrance>,
    services: Vec<Service>,
    gateways: Gateways,
    /// What gateways are started from, by entrance.
    gateway_templates: Vec<BTreeMap<String, String>>,
    /// Who serves connections in place of our own gateway.
    proxy: Option<Proxy>,
    endpoints: EndpointsFile,
    /// Told to the tasks that ask gateways how far they are.
    endpoints_version: tokio::sync::watch::Sender<u64>,
    next_uid: u64,
    next_scrape: Instant,
    next_sync: Instant,
    /// A scrape is under way.
    scraping: bool,
    /// Where the autoscalers' custom metrics come from.
    custom_metrics: CustomMetrics,
    counts: Counts,
    telemetry: Telemetry,
    /// What Prometheus scrapes.
    targets: TargetFiles,
}

#[derive(Debug)]
struct Pending {
    change: u64,
    answer: Answer<Applied>,
    since: Instant,
    changes: Vec<String>,
}

impl World {
    fn addresses(&self) -> Addresses {
        self.slot.addresses()
    }

    fn uid(&mut self) -> u64 {
        self.next_uid += 1;
        self.next_uid
    }

    fn service(&mut self, name: &str) -> Option<&mut Service> {
        self.services.iter_mut().find(|service| service.name == name)
    }
}

fn node_name(node: u32) -> String {
    format!("node-{node}")
}

impl Platform {
    pub(crate) fn new(
        name: &str,
        run: Uuid,
        paths: &Paths,
        own: PlatformPaths,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, Error> {
        let file = |path: &std::path::Path| {
            let what = path.display().to_string();
            move |source| Error::Files { what, source }
        };
        let endpoints = own.endpoints_directory();
        crate::paths::private_directory(&endpoints).map_err(file(&endpoints))?;
        let events = Journal::create(own.events(), recorder::SEGMENT_MAX).map_err(file(&own.events()))?;
        let logs = Journal::create(own.logs(), output::SEGMENT_MAX).map_err(file(&own.logs()))?;
        let output = Output::new(logs);
        let starter =
            Starter::new(output.clone(), messages, environment::common(name, run)).map_err(Error::Runtime)?;
        Ok(Self {
            name: name.to_owned(),
            paths: paths.clone(),
            own,
            recorder: Recorder::new(run, events),
            output,
            starter,
            world: None,
            came_up: false,
            changes: 0,
            pending: Vec::new(),
            stopping: None,
        })
    }

    pub(crate) fn events(&self) -> Source {
        self.recorder.source()
    }

    pub(crate) fn logs(&self) -> Source {
        self.output.source()
    }

    pub(crate) fn handle(&mut self, message: Message) {
        match message {
            Message::Command(command) => self.command(command),
            Message::Probed { key, found: probe::Found::Ready { server_id } } => self.ready(key, server_id),
            Message::Probed { key, found: probe::Found::Unready(why) } => self.unready(key, why),
            Message::CaughtUp { key, version } => self.gateway_caught_up(key, version),
            Message::Ended { key, how } => self.ended(key, &how),
            Message::Scraped(scrape) => self.scraped(&scrape),
            Message::Answered { answers } => self.answered(answers),
            Message::Restart { uid } => self.restart(uid),
            Message::RestartGateway { ordinal } => self.restart_gateway(ordinal),
            Message::RestartServer { program } => self.restart_server(program),
            Message::GraceOver { key } => self.grace_over(key),
            Message::Overdue { change } => self.overdue(change),
        }
        self.settle();
    }

    fn command(&mut self, command: Command) {
        // An answer that nobody waits for any more is no error.
        match command {
            Command::Apply { values, nodes, programs, answer } => {
                self.apply(*values, nodes, &programs, answer);
            }
            Command::Teardown { grace, answer } => self.stop(grace, Some(answer)),
            Command::Snapshot { answer } => drop(answer.send(self.snapshot())),
            Command::Scale { service, replicas, answer } => drop(answer.send(self.scale(&service, replicas))),
            Command::Kill { service, replica, restart, answer } => {
                drop(answer.send(self.kill(&service, replica.as_deref(), restart)));
            }
            Command::Endpoint { service, answer } => drop(answer.send(self.endpoint(&service))),
            Command::Autoscaler { service, answer } => drop(answer.send(self.autoscaler(&service))),
            Command::Abandoned => {
                if !self.came_up {
                    self.stop(false, None);
                }
            }
        }
    }

    /// Does what has to be done next, and tells whoever waits when nothing has.
    pub(crate) fn settle(&mut self) {
        self.take_steps();
        self.publish();
    }

    fn take_steps(&mut self) {
        if self.stopping.is_some() {
            self.settle_stop();
            return;
        }
        if self.world.is_none() {
            return;
        }
        self.settle_servers();
        // What services lean on comes first. It is waited for once: whoever dies later does not hold up the rest.
        if self.world.as_ref().is_some_and(World::servers_came_up) {
            self.settle_replicas();
        }
        self.settle_endpoints();
        self.settle_gateways();
        if self.is_settled() {
            self.settled();
        }
    }

    fn is_settled(&self) -> bool {
        let Some(world) = &self.world else { return false };
        world.servers_came_up()
            && world.services.iter().all(Service::is_settled)
            && world.gateways.are_settled(world.endpoints.version())
    }

    fn settled(&mut self) {
        let now = Instant::now();
        if !self.came_up {
            self.came_up = true;
            let after_ms = self.recorder.run_ms(now);
            self.recorder.emit(EventKind::PlatformReady { platform: self.name.clone(), after_ms });
            if let Some(world) = &mut self.world {
                // The pipeline starts to count when there is something to see.
                world.next_scrape = now + world.values.metrics.scrape_interval;
                world.next_sync = now + world.values.metrics.sync_period;
            }
        }
        for pending in self.pending.drain(..) {
            let applied =
                Applied { changes: pending.changes, took: now.saturating_duration_since(pending.since) };
            drop(pending.answer.send(Ok(applied)));
        }
    }

    /// A change cannot be carried out. If the platform was never up, that is its end; otherwise what runs goes on.
    fn change_failed(&mut self, message: &str) {
        let error = TargetError::BringUp { message: message.to_owned() };
        if self.came_up {
            // The lines of its output are for whoever waits; they are in the logs, too.
            let first = message.lines().next().unwrap_or_default();
            self.recorder.emit(EventKind::Warning { message: first.trim_end_matches(':').to_owned() });
            if let Some(world) = &mut self.world {
                world.await_no_servers();
            }
            for pending in self.pending.drain(..) {
                drop(pending.answer.send(Err(error.clone())));
            }
        } else {
            self.stop_failed(&error);
        }
    }

    /// A change takes too long: names what it waits for.
    fn overdue(&mut self, change: u64) {
        if !self.pending.iter().any(|pending| pending.change == change) {
            return;
        }
        let Some(world) = &self.world else { return };
        let replicas = world.services.iter().flat_map(Service::active).filter(|replica| !replica.is_ready());
        let gateways = world.gateways.all.iter().filter(|gateway| !gateway.ready && gateway.told.is_none());
        let waiting: Vec<String> = world
            .servers_awaited()
            .map(str::to_owned)
            .chain(replicas.map(|replica| replica.name.clone()))
            .chain(gateways.map(|gateway| gateway.name.clone()))
            .collect();
        let seconds = CHANGE_DEADLINE.as_secs();
        let mut message = format!("not ready within {seconds} s: {}", waiting.join(", "));
        if let Some(first) = waiting.first() {
            message = self.with_last_lines(&message, first);
        }
        self.change_failed(&message);
    }

    /// When the next scrape and the next sync are due.
    pub(crate) fn next_ticks(&self) -> (Option<tokio::time::Instant>, Option<tokio::time::Instant>) {
        match &self.world {
            Some(world) if self.came_up && self.stopping.is_none() => {
                let scrape = (!world.scraping).then(|| world.next_scrape.into());
                (scrape, (!world.custom_metrics.is_asking()).then(|| world.next_sync.into()))
            }
            _ => (None, None),
        }
    }

    fn started_event(&self, world: &World) -> EventKind {
        let services = world
            .services
            .iter()
            .map(|service| ServiceInfo {
                name: service.name.clone(),
                replicas: service.desired,
                endpoint: endpoint_of(world, &service.name),
                autoscaled: service.hpa.as_ref().map(|hpa| [hpa.bounds().0, hpa.bounds().1]),
                targets_milli: service
                    .hpa
                    .as_ref()
                    .map(super::autoscaling::Hpa::targets_milli)
                    .unwrap_or_default(),
            })
            .collect();
        EventKind::PlatformStarted {
            platform: self.name.clone(),
            target: "this machine".to_owned(),
            nodes: world.nodes,
            gateway: GatewayInfo {
                kind: world.values.gateway.kind.as_str().to_owned(),
                policy: world.values.gateway.rules.policy.words().to_owned(),
            },
            services,
        }
    }

    fn not_running(&self) -> TargetError {
        TargetError::NotRunning { platform: self.name.clone() }
    }

    fn running(&mut self) -> Result<&mut World, TargetError> {
        let error = self.not_running();
        if self.stopping.is_some() {
            return Err(error);
        }
        self.world.as_mut().ok_or(error)
    }
}

fn endpoint_of(world: &World, service: &str) -> Option<std::net::SocketAddr> {
    world.entrances.iter().find(|entrance| entrance.listener.service == service)?.address()
}

impl Platform {
    fn snapshot(&mut self) -> Result<Snapshot, TargetError> {
        let (since, name) = (self.recorder.began(), self.name.clone());
        let recorder = &self.recorder;
        let world = match &self.world {
            Some(world) if self.stopping.is_none() => world,
            _ => return Err(TargetError::NotRunning { platform: name }),
        };
        let services =
            world.services.iter().map(|service| requests::service(world, service, recorder)).collect();
        let mut parts = world.parts.snapshot();
        parts.extend(world.server_snapshots());
        parts.extend(requests::gateways(world));
        parts.push(telemetry::supervisor(world));
        Ok(Snapshot {
            platform: name,
            target: "local".to_owned(),
            since,
            nodes: world.nodes,
            services,
            parts,
        })
    }
}
