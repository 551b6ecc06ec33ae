//! Carries out the controller's decisions, on processes, files and sockets of this machine.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    rc::Rc,
    sync::Arc,
};

use ::platform::{
    EventKind, TargetError,
    endpoints::{self, Endpoints},
    target::GATEWAY,
    values::{Protocol, Values},
};
use controller::{
    Cluster, Controller, Effect, Exit, Failure, GatewayTemplate, Input, Launch, PartTemplate, Reply,
    RequestId, RunId, ServiceTemplate, Source, Started, Time, node_name,
};
use service::handover;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Message,
    clock::Clock,
    embedded::{self, Embedded},
    endpoints::EndpointsFile,
    environment::{self, Site},
    ground::Ground,
    obstacle::Obstacle,
    output::{self, Output},
    proxy::{self, Proxied, Proxy},
    recorder::{self, Recorder},
    runs::{self, Run, What},
    sample::Scrape,
    servers::Spec,
    start::{Named, Starter},
};
use crate::{
    control::{self, Traces},
    journal::{Journal, Source as Lines},
    kernel::port,
    listeners,
    paths::{Paths, PlatformPaths},
    process::Process,
    programs::{Program, Programs},
    prometheus::client::Prometheus,
};

/// Number of lines of a failed process's output to show.
const LAST_LINES: usize = 8;

pub(crate) type Answer = tokio::sync::oneshot::Sender<control::Reply>;

#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    paths: Paths,
    pub(super) own: PlatformPaths,
    pub(super) recorder: Recorder,
    pub(super) output: Output,
    pub(super) messages: mpsc::Sender<Message>,
    starter: Rc<Starter>,
    pub(super) clock: Clock,
    /// `None` until the first `apply`.
    pub(super) ground: Option<Ground>,
    pub(super) runs: BTreeMap<RunId, Run>,
    embedded: Embedded,
    pub(super) programs: Programs,
    endpoints: EndpointsFile,
    pub(super) prometheus: Prometheus,
    /// Why the list of scrape targets could not be written.
    pub(super) unwritten_targets: Option<String>,
    /// The token of orders to shed, new with every supervisor.
    shed_token: Arc<str>,
    /// Clients that wait for the outcome of their requests.
    waiting: BTreeMap<RequestId, Answer>,
    requests: u64,
    /// Nothing remains; the replies to clients once everything has been released.
    farewell: Option<Vec<(Answer, control::Reply)>>,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        run: Uuid,
        paths: &Paths,
        own: PlatformPaths,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, super::Error> {
        let file = |path: &std::path::Path| {
            let what = path.display().to_string();
            move |source| super::Error::Files { what, source }
        };
        let folder = own.endpoints_directory();
        crate::paths::private_directory(&folder).map_err(file(&folder))?;
        let events = Journal::create(own.events(), recorder::SEGMENT_MAX).map_err(file(&own.events()))?;
        let logs = Journal::create(own.logs(), output::SEGMENT_MAX).map_err(file(&own.logs()))?;
        let output = Output::new(logs);
        let common = environment::common(name, run);
        let starter =
            Starter::new(output.clone(), messages.clone(), common).map_err(super::Error::Runtime)?;
        let clock = Clock::start();
        Ok(Self {
            name: name.to_owned(),
            paths: paths.clone(),
            endpoints: EndpointsFile::new(own.endpoints()),
            own,
            recorder: Recorder::new(run, clock, events),
            output,
            messages,
            starter: Rc::new(starter),
            clock,
            ground: None,
            runs: BTreeMap::new(),
            embedded: Embedded::default(),
            programs: Programs::new(),
            prometheus: Prometheus::default(),
            unwritten_targets: None,
            shed_token: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).into(),
            waiting: BTreeMap::new(),
            requests: 0,
            farewell: None,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn events(&self) -> Lines {
        self.recorder.source()
    }

    pub(crate) fn shed_token(&self) -> Arc<str> {
        Arc::clone(&self.shed_token)
    }

    pub(crate) fn logs(&self) -> Lines {
        self.output.source()
    }

    /// Remembers who waits for the outcome of a request.
    pub(crate) fn expect(&mut self, answer: Answer) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.waiting.insert(id, answer);
        id
    }

    /// The real servers in use, as found.
    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Prepares everything that the values need and the controller does not start; otherwise says why not.
    pub(crate) fn prepare(
        &mut self,
        values: &Values,
        nodes: u32,
        programs: Programs,
    ) -> Result<(), Obstacle> {
        Proxy::check(values, &programs)?;
        self.programs = programs;
        match &mut self.ground {
            None => {
                let mut ground = Ground::take(&self.name, &self.paths, &self.own, values, nodes)?;
                let starter = Rc::clone(&self.starter);
                ground.page.serve_by(move |listener| starter.page(listener));
                self.ground = Some(ground);
            }
            Some(ground) => {
                if ground.change(values, nodes)? {
                    self.reload_prometheus();
                }
            }
        }
        Ok(())
    }

    fn reload_prometheus(&self) {
        for run in self.runs.values() {
            if let (What::Server(spec), Some(process)) = (&run.what, &run.process)
                && spec.program == Program::Prometheus
            {
                process.reload();
            }
        }
    }

    /// The current load of a service's replicas.
    pub(crate) fn loads(&self, name: &str) -> Vec<(RunId, u64)> {
        let of_service =
            |run: &Run| matches!(&run.what, What::Replica { service, .. } if service.name() == name);
        let counted: Vec<(RunId, SocketAddr)> = self
            .runs
            .iter()
            .filter(|(_, run)| of_service(run))
            .filter_map(|(id, run)| Some((*id, run.connections_at()?)))
            .collect();
        let ports: HashSet<u16> = counted.iter().map(|(_, address)| address.port()).collect();
        let scrape = Scrape::take(&super::sample::Targets { ports, pids: Vec::new() });
        counted.into_iter().filter_map(|(run, address)| Some((run, scrape.connections(address)?))).collect()
    }

    /// Notes an input for the controller.
    pub(crate) fn observe(&mut self, input: &Input) {
        match input {
            Input::Probed { run, result: Ok(probed) } => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.answered = Some(*probed);
                }
            }
            Input::Ended { run, .. } => drop(self.runs.remove(run)),
            _ => {}
        }
    }

    /// Publishes the current targets to all scrapers.
    pub(crate) fn publish(&mut self, controller: &Controller) {
        let targets = self.scrape_targets();
        let snapshot = controller.snapshot(self);
        let Some(ground) = &mut self.ground else { return };
        if controller.came_up() {
            ground.telemetry().ready();
        }
        if let Some(snapshot) = snapshot {
            ground.telemetry().publish(snapshot, controller.counts());
        }
        // Retried at the next change; until then Prometheus keeps its targets.
        self.unwritten_targets = ground.targets.update(targets).err().map(|error| error.to_string());
    }

    /// Carries out an effect; returns its outcome if it is known at once.
    pub(crate) fn carry_out(&mut self, effect: Effect, now: Time) -> Option<Input> {
        match effect {
            Effect::Start { run, launch } => {
                let result = self.start(run, launch).map_err(|error| error.to_string());
                Some(Input::Started { run, result })
            }
            Effect::Probe { run, timeout } => {
                self.probe(run, timeout);
                None
            }
            Effect::Terminate { run } => self.terminate(run),
            Effect::Kill { run } => self.kill(run),
            Effect::WriteEndpoints { version, clusters } => {
                let endpoints = self.endpoints_of(version, &clusters);
                let result = self.endpoints.write(endpoints).map_err(|error| error.to_string());
                Some(Input::EndpointsWritten { version, result })
            }
            Effect::Scrape => {
                self.scrape();
                None
            }
            Effect::AskMetrics { questions, prometheus, patience } => {
                self.ask_metrics(questions, prometheus.as_deref(), patience);
                None
            }
            Effect::Emit(fact) => {
                let event = self.located(fact.into_event());
                self.recorder.emit(now, event);
                None
            }
            Effect::Reply { id, reply } => {
                self.reply(id, reply);
                None
            }
            Effect::Finished => {
                self.farewell = Some(Vec::new());
                None
            }
        }
    }

    fn start(&mut self, id: RunId, launch: Launch) -> io::Result<Started> {
        let (run, started) = match launch {
            Launch::Replica { name, ordinal, node, template, .. } => {
                self.start_replica(id, name, ordinal, &node_name(node), &template)?
            }
            Launch::Gateway { name, ordinal, node, template } => {
                self.start_gateway(id, name, ordinal, node, &template)?
            }
            Launch::Part { template, topics } => self.start_part(id, &template, topics)?,
        };
        self.runs.insert(id, run);
        Ok(started)
    }

    fn start_replica(
        &mut self,
        id: RunId,
        name: String,
        ordinal: u16,
        node: &str,
        template: &ServiceTemplate,
    ) -> io::Result<(Run, Started)> {
        let ip = self.ground()?.addresses().replica(template.kind, ordinal);
        let clients = SocketAddr::new(ip, template.port);
        let admin = SocketAddr::new(ip, template.admin_port);
        port::check_free([(template.transport(), clients), (Protocol::Tcp, admin)])
            .map_err(io::Error::other)?;
        let site = Site { name: &name, node, clients, admin_port: template.admin_port };
        let addresses = self.ground()?.addresses();
        let mut environment = environment::of_replica(template, &self.shed_token, site, addresses);
        if let Some(redis) = &template.backends.redis {
            let parts = self.own.parts_directory();
            let password = Spec::redis_password(redis, self.ground()?.addresses(), &parts)?;
            // A manually set one takes precedence.
            password.map(|password| environment.entry("REDIS_PASSWORD".to_owned()).or_insert(password));
        }
        let named = Named { run: id, service: template.kind.name(), name: &name };
        let process = self.starter.serve(&named, environment, None)?;
        let what = What::Replica {
            service: template.kind,
            clients,
            admin,
            readiness: template.readiness.path.clone(),
        };
        Ok((Run::new(name, node, what, Some(process)), Started { address: None, detail: String::new() }))
    }

    fn start_gateway(
        &mut self,
        id: RunId,
        name: String,
        ordinal: u16,
        node: u32,
        template: &GatewayTemplate,
    ) -> io::Result<(Run, Started)> {
        let ground = self.ground()?;
        let ip = ground.addresses().gateway(ordinal.into());
        let (listener, node_word) = (&template.listener, node_name(node));
        let admin = SocketAddr::new(ip, template.settings.admin_port);
        port::check_free([(Protocol::Tcp, admin)]).map_err(io::Error::other)?;
        let entrance = ground.entrance(listener).ok_or_else(|| io::Error::other("its listener is gone"))?;
        let lend = || -> io::Result<(UnixStream, OwnedFd)> {
            let (ours, theirs) = listeners::line()?;
            handover::send(&ours, listener.protocol, &entrance.of_node(node))?;
            Ok((ours, theirs))
        };
        let named = Named { run: id, service: GATEWAY, name: &name };
        let proxied = Proxy::of(template, &self.programs).map(|proxy| {
            Box::new(Proxied {
                proxy,
                site: proxy::Site {
                    name: name.clone(),
                    ip,
                    clients: entrance.addresses().collect(),
                    clusters: listener.services().into_iter().map(str::to_owned).collect(),
                    folder: self.own.gateways_directory().join(ordinal.to_string()),
                    endpoints: self.endpoints.path().to_owned(),
                },
            })
        });
        let (process, line, detail) = if let Some(proxied) = &proxied {
            let launch = proxied.proxy.prepare(&proxied.site, self.endpoints.current())?;
            let (line, stdin) = if proxied.proxy.takes_listeners() {
                lend().map(|(ours, theirs)| (Some(ours), Some(theirs)))?
            } else {
                (None, None)
            };
            (self.starter.wrapped(&named, launch, stdin)?, line, proxied.in_words())
        } else {
            let clients = SocketAddr::new(ip, listener.port);
            let site = Site { name: &name, node: &node_word, clients, admin_port: admin.port() };
            let environment = environment::of_gateway(template, &self.own, ip, site);
            let (line, stdin) = lend()?;
            (self.starter.serve(&named, environment, Some(stdin))?, Some(line), format!("from {ip}"))
        };
        let (messages, versions) = (self.messages.clone(), self.endpoints.versions());
        let follower = match proxied.clone() {
            Some(proxied) => tokio::task::spawn_local(proxied.follow(id, messages, versions)),
            None => tokio::task::spawn_local(super::gateway::follow(id, admin, messages, versions)),
        };
        let mut run = Run::new(name, &node_word, What::Gateway { admin, proxied }, Some(process));
        (run.line, run.follower) = (line, Some(follower.abort_handle()));
        Ok((run, Started { address: None, detail }))
    }

    fn start_part(
        &mut self,
        id: RunId,
        template: &PartTemplate,
        topics: Vec<String>,
    ) -> io::Result<(Run, Started)> {
        let addresses = self.ground()?.addresses();
        let name = template.kind.name().to_owned();
        if template.source == Source::Embedded {
            let wanted = embedded::Wanted {
                kind: template.kind,
                port: template.port,
                topics: &topics,
                addresses,
                documents: &self.own.documents(),
            };
            let started = self.embedded.start(id, wanted).map_err(io::Error::other)?;
            return Ok((Run::new(name, "", What::Embedded, None), started));
        }
        let parts = self.own.parts_directory();
        let spec = Spec::of(template, topics, addresses, &self.programs, &parts)?;
        port::check_free(spec.addresses().map(|address| (Protocol::Tcp, address)))
            .map_err(io::Error::other)?;
        let launch = spec.prepare(self.recorder.run())?;
        let process = self.starter.wrapped(&Named { run: id, service: &name, name: &name }, launch, None)?;
        let started = Started { address: Some(spec.url()), detail: spec.in_words() };
        Ok((Run::new(name, "", What::Server(spec), Some(process)), started))
    }

    fn probe(&self, id: RunId, timeout: std::time::Duration) {
        let Some(run) = self.runs.get(&id) else { return };
        let (what, answered, messages) = (run.what.clone(), run.answered, self.messages.clone());
        tokio::task::spawn_local(async move {
            let result = runs::look(what, answered, timeout).await;
            // The supervisor has ended: nobody probes any more.
            let _ = messages.send(Message::Input(Input::Probed { run: id, result })).await;
        });
    }

    fn terminate(&mut self, id: RunId) -> Option<Input> {
        let run = self.runs.get(&id)?;
        match (&run.what, &run.process) {
            (What::Embedded, _) => Some(self.stop_embedded(id)),
            (What::Gateway { proxied: Some(proxied), .. }, Some(process)) => {
                proxied.drain(process);
                None
            }
            (_, process) => {
                process.iter().for_each(Process::terminate);
                None
            }
        }
    }

    fn kill(&mut self, id: RunId) -> Option<Input> {
        let run = self.runs.get(&id)?;
        match (&run.what, &run.process) {
            (What::Embedded, _) => Some(self.stop_embedded(id)),
            (_, process) => {
                process.iter().for_each(Process::kill);
                None
            }
        }
    }

    fn stop_embedded(&mut self, run: RunId) -> Input {
        self.embedded.stop(run);
        Input::Ended { run, exit: Exit::Stopped }
    }

    fn endpoints_of(&self, version: u64, clusters: &[Cluster]) -> Endpoints {
        let endpoint = |endpoint: &controller::Endpoint| match &self.runs.get(&endpoint.run)?.what {
            What::Replica { clients, admin, .. } => Some(endpoints::Endpoint {
                name: endpoint.replica.clone(),
                address: *clients,
                health: Some(*admin),
                draining: endpoint.draining,
            }),
            _ => None,
        };
        let cluster = |cluster: &Cluster| endpoints::Cluster {
            name: cluster.service.name().to_owned(),
            endpoints: cluster.endpoints.iter().filter_map(endpoint).collect(),
        };
        Endpoints { version, clusters: clusters.iter().map(cluster).collect() }
    }

    /// Adds to an event what only this side knows.
    fn located(&self, mut event: EventKind) -> EventKind {
        match &mut event {
            EventKind::PlatformStarted { services, .. } => {
                for service in services {
                    let kind = ::platform::ServiceKind::by_name(&service.name);
                    service.endpoint = kind.and_then(|kind| controller::Places::endpoint(self, kind));
                }
            }
            EventKind::PodDraining { pod, connections, .. } => {
                // The last scrape may be seconds old.
                let run = self.runs.values().find(|run| run.name == *pod);
                *connections = run
                    .and_then(Run::connections_at)
                    .and_then(|address| Scrape::of_port(address.port()).connections(address));
            }
            _ => {}
        }
        event
    }

    fn reply(&mut self, id: RequestId, reply: Result<Reply, Failure>) {
        let Some(answer) = self.waiting.remove(&id) else { return };
        let reply = match reply {
            Ok(Reply::Down) => control::Reply::Down(self.traces()),
            Ok(Reply::Killed { run, mut killed }) => {
                killed.pid = self.runs.get(&run).and_then(Run::pid);
                control::Reply::Done(Reply::Killed { run, killed })
            }
            Ok(done) => control::Reply::Done(done),
            Err(failure) => control::Reply::Failed(self.with_last_lines(failure)),
        };
        match &mut self.farewell {
            Some(farewell) => farewell.push((answer, reply)),
            // A client that left does not hear it.
            None => drop(answer.send(reply)),
        }
    }

    fn with_last_lines(&self, failure: Failure) -> TargetError {
        let lines =
            failure.output_of.map(|name| self.output.last_lines(&name, LAST_LINES)).unwrap_or_default();
        match failure.error {
            TargetError::BringUp { message } if !lines.is_empty() => TargetError::BringUp {
                message: format!("{message}; its last lines:\n  {}", lines.join("\n  ")),
            },
            error => error,
        }
    }

    pub(super) fn ground(&self) -> io::Result<&Ground> {
        self.ground.as_ref().ok_or_else(|| io::Error::other("the platform has no addresses"))
    }

    /// Lets a client prove that nothing remains.
    fn traces(&self) -> Traces {
        Traces {
            run: self.recorder.run(),
            supervisor: std::process::id(),
            slot: self.ground.as_ref().map(Ground::slot),
            socket: self.own.socket.clone(),
        }
    }

    /// Releases everything: listeners, embedded parts, slot. Reports what remains.
    pub(crate) fn finish(mut self) -> Farewell {
        let traces = self.traces();
        self.ground = None;
        self.embedded = Embedded::default();
        // A server may have child processes (Elasticsearch's launcher does); they end with it, but not at once, and
        // anything they still write would remain.
        crate::leftovers::kill_others(&traces, traces.supervisor);
        Farewell(self.farewell.take().unwrap_or_default())
    }
}

/// The replies to clients when everything is gone.
#[derive(Debug)]
pub(crate) struct Farewell(Vec<(Answer, control::Reply)>);

impl Farewell {
    pub(crate) fn say(self) {
        for (answer, reply) in self.0 {
            drop(answer.send(reply));
        }
    }
}

/// Distinguishes installations of a program, for the controller.
pub(crate) fn identities(programs: &Programs) -> BTreeMap<String, String> {
    programs.iter().map(|(program, found)| (program.name().to_owned(), found.in_words(*program))).collect()
}
