//! A platform in a perfect world: everything starts, answers and ends at once, unless a test says otherwise.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use controller::{
    Apply, Capacity, Cluster, Controller, Effect, Exit, Fact, Failure, GatewayTemplate, Input, Launch,
    MetricAnswer, PartPlace, PartTemplate, Places, ProbeFailure, Probed, ReplicaPlace, Reply, Request,
    RequestId, RunId, Sample, ServiceTemplate, Started, Time,
};
use platform::{
    EventKind, HostPort, ServiceKind,
    event::ServiceInfo,
    target::{PartSnapshot, ReplicaPhase, ServiceSnapshot, Snapshot, Subject},
    values::{Values, ValuesSource},
};

/// Two fixed replicas of `tcp`, no parts, and one gateway.
pub(crate) const SMALL: &[&str] =
    &["tcp.autoscaling=null,tcp.replicas=2,kafka.enabled=false,memcached.enabled=false"];

pub(crate) struct Bench {
    pub(crate) controller: Controller,
    pub(crate) now: Time,
    /// The effects since the last call of `lines`, one line each.
    lines: Vec<String>,
    runs: BTreeMap<RunId, String>,
    /// The replicas' templates at their last start, by name.
    pub(crate) templates: BTreeMap<String, Arc<ServiceTemplate>>,
    latest: BTreeMap<String, RunId>,
    replies: BTreeMap<RequestId, Result<Reply, Failure>>,
    next_request: u64,
    /// Names whose probes fail.
    pub(crate) sick: BTreeSet<String>,
    /// Names whose start fails.
    pub(crate) broken: BTreeSet<String>,
    /// Names whose start is never answered.
    pub(crate) silent: BTreeSet<String>,
    /// Names that ignore the request to end.
    pub(crate) stubborn: BTreeSet<String>,
    /// Gateways that do not apply endpoints.
    pub(crate) behind: BTreeSet<String>,
    pub(crate) writes: Writes,
    /// Writes without an answer yet.
    pub(crate) writing: Option<u64>,
    /// The results of a scrape, by name.
    pub(crate) samples: BTreeMap<String, Sample>,
    /// Prometheus' answers; `None`: it does not answer.
    pub(crate) answers: Option<Vec<MetricAnswer>>,
    pub(crate) programs: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    Work,
    Fail,
    /// Writes are never answered.
    Hang,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Capacity { ordinals: 254, replicas: 200, nodes: 5 })
    }

    pub(crate) fn with(capacity: Capacity) -> Self {
        let began = "2026-11-28T06:00:00Z".parse().expect("a time stamp");
        Self {
            controller: Controller::new("playground", "this machine", began, capacity),
            now: Time::ZERO,
            lines: Vec::new(),
            runs: BTreeMap::new(),
            templates: BTreeMap::new(),
            latest: BTreeMap::new(),
            replies: BTreeMap::new(),
            next_request: 0,
            sick: BTreeSet::new(),
            broken: BTreeSet::new(),
            silent: BTreeSet::new(),
            stubborn: BTreeSet::new(),
            behind: BTreeSet::new(),
            writes: Writes::Work,
            writing: None,
            samples: BTreeMap::new(),
            answers: Some(Vec::new()),
            programs: BTreeMap::new(),
        }
    }

    /// A platform that is up.
    pub(crate) fn up(set: &[&str]) -> Self {
        let mut bench = Self::new();
        let applied = bench.apply(set, 1);
        assert!(applied.is_ok(), "{applied:?}");
        bench.lines();
        bench
    }

    // === requests ===

    /// Applies values and returns the reply, which must come at once.
    pub(crate) fn apply(&mut self, set: &[&str], nodes: u32) -> Result<Vec<String>, String> {
        let id = self.begin_apply(set, nodes);
        self.changes(id)
    }

    pub(crate) fn begin_apply(&mut self, set: &[&str], nodes: u32) -> RequestId {
        let apply =
            Apply { values: values(set).into(), nodes, programs: self.programs.clone(), obstacle: None };
        self.begin(Request::Apply(Box::new(apply)))
    }

    /// The reply to an apply: its changes, or its error.
    pub(crate) fn changes(&mut self, id: RequestId) -> Result<Vec<String>, String> {
        match self.reply(id) {
            Some(Ok(Reply::Applied(applied))) => Ok(applied.changes),
            Some(Err(failure)) => Err(failure.error.to_string()),
            other => panic!("{id:?}: {other:?}"),
        }
    }

    pub(crate) fn begin(&mut self, request: Request) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.tell(Input::Request { id, request });
        id
    }

    pub(crate) fn reply(&mut self, id: RequestId) -> Option<Result<Reply, Failure>> {
        self.replies.remove(&id)
    }

    /// Sends a request that is answered at once.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Reply, String> {
        let id = self.begin(request);
        self.reply(id).expect("a reply").map_err(|failure| failure.error.to_string())
    }

    pub(crate) fn scale(&mut self, service: &str, replicas: u32) -> Result<Reply, String> {
        self.ask(Request::Scale { service: service.to_owned(), replicas })
    }

    pub(crate) fn kill(&mut self, what: &str, restart: bool) -> Result<Reply, String> {
        self.ask(Request::Kill { what: subject(what), restart, loads: Vec::new() })
    }

    pub(crate) fn drain(&mut self, what: &str) -> Result<Reply, String> {
        self.ask(Request::Drain { what: subject(what), loads: Vec::new() })
    }

    pub(crate) fn stop(&mut self, what: &str) -> Result<Reply, String> {
        self.ask(Request::Stop { what: subject(what) })
    }

    pub(crate) fn start(&mut self, what: &str) -> Result<Reply, String> {
        self.ask(Request::Start { what: subject(what) })
    }

    // === inputs ===

    /// Lets time pass.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        let mut steps = 0;
        while let Some(due) = self.controller.next_due().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.tell(Input::Tick);
            steps += 1;
            assert!(steps < 100_000, "time does not pass");
        }
        self.now = until;
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    pub(crate) fn dies(&mut self, name: &str) {
        let run = self.run(name);
        self.tell(Input::Ended { run, exit: Exit::Code(1) });
    }

    /// The run of its last start.
    pub(crate) fn run(&self, name: &str) -> RunId {
        *self.latest.get(name).unwrap_or_else(|| panic!("{name} was never started: {:?}", self.latest))
    }

    /// Passes an input to the controller, and carries out its effects.
    pub(crate) fn tell(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in &self.controller.step(self.now, input) {
                inputs.extend(self.carry_out(effect));
                let line = self.line(effect);
                self.lines.extend(line);
            }
        }
    }

    /// A write of the endpoints ends.
    pub(crate) fn written(&mut self, result: Result<(), &str>) {
        let version = self.writing.take().expect("a write");
        self.tell(Input::EndpointsWritten { version, result: result.map_err(str::to_owned) });
    }

    fn carry_out(&mut self, effect: &Effect) -> Vec<Input> {
        match effect {
            Effect::Start { run, launch } => {
                let name = name(launch);
                self.runs.insert(*run, name.clone());
                if let Launch::Replica { template, .. } = launch {
                    self.templates.insert(name.clone(), Arc::clone(template));
                }
                self.latest.insert(name.clone(), *run);
                let run = *run;
                if self.silent.contains(&name) {
                    return Vec::new();
                }
                if self.broken.contains(&name) {
                    return vec![Input::Started { run, result: Err("no such file".to_owned()) }];
                }
                let started = Started { address: Some(format!("{name}:1")), detail: "made here".to_owned() };
                let mut inputs = vec![Input::Started { run, result: Ok(started) }];
                if matches!(launch, Launch::Gateway { .. }) && !self.behind.contains(&name) {
                    inputs.push(Input::CaughtUp { run, version: u64::MAX });
                }
                inputs
            }
            Effect::Probe { run, .. } => {
                let failure = ProbeFailure::Answered { status: 503, line: "draining".to_owned() };
                let sick = self.sick.contains(&self.runs[run]);
                let result = if sick { Err(failure) } else { Ok(Probed::default()) };
                vec![Input::Probed { run: *run, result }]
            }
            Effect::Terminate { run } if !self.stubborn.contains(&self.runs[run]) => {
                vec![Input::Ended { run: *run, exit: Exit::Code(0) }]
            }
            Effect::Kill { run } => vec![Input::Ended { run: *run, exit: Exit::Signal(9) }],
            Effect::WriteEndpoints { version, .. } => {
                let version = *version;
                match self.writes {
                    Writes::Work => vec![Input::EndpointsWritten { version, result: Ok(()) }],
                    Writes::Fail => {
                        vec![Input::EndpointsWritten { version, result: Err("disk full".to_owned()) }]
                    }
                    Writes::Hang => {
                        assert_eq!(self.writing.replace(version), None, "a second write");
                        Vec::new()
                    }
                }
            }
            Effect::Scrape => {
                let found = |(run, name): (&RunId, &String)| {
                    Some((*run, *self.samples.get(name).filter(|_| self.latest[name] == *run)?))
                };
                vec![Input::Scraped { samples: self.runs.iter().filter_map(found).collect() }]
            }
            Effect::AskMetrics { .. } => {
                self.answers.clone().map(|answers| Input::MetricsAnswered { answers }).into_iter().collect()
            }
            Effect::Reply { id, reply } => {
                let before = self.replies.insert(*id, reply.clone());
                assert!(before.is_none(), "{id:?} is answered twice");
                Vec::new()
            }
            Effect::Terminate { .. } | Effect::Emit(_) | Effect::Finished => Vec::new(),
        }
    }

    // === observations ===

    /// The effects since the last call.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Only the lines that contain one of these words.
    pub(crate) fn lines_with(&mut self, words: &[&str]) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| words.iter().any(|word| line.contains(word)));
        lines
    }

    fn line(&self, effect: &Effect) -> Option<String> {
        let of = |run: &RunId| self.runs.get(run).cloned().unwrap_or_default();
        let line = match effect {
            Effect::Start { launch, .. } => format!("start {}", name(launch)),
            Effect::Terminate { run } => format!("terminate {}", of(run)),
            Effect::Kill { run } => format!("kill {}", of(run)),
            Effect::WriteEndpoints { clusters, .. } => {
                let words: Vec<String> = clusters.iter().map(cluster).collect();
                format!("endpoints {}", words.join("; "))
            }
            Effect::Scrape => "scrape".to_owned(),
            Effect::AskMetrics { questions, .. } => {
                let words =
                    questions.iter().map(|one| format!("{} {} {:?}", one.service, one.metric, one.replicas));
                format!("ask {}", words.collect::<Vec<_>>().join("; "))
            }
            Effect::Finished => "finished".to_owned(),
            Effect::Emit(fact) => told(fact)?,
            Effect::Reply { id, reply } => {
                format!("reply {} {}", id.0, if reply.is_ok() { "ok" } else { "failed" })
            }
            Effect::Probe { .. } => return None,
        };
        Some(line)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.controller.snapshot(&Nowhere).expect("a platform that is up")
    }

    pub(crate) fn service(&self, name: &str) -> ServiceSnapshot {
        self.snapshot().services.into_iter().find(|service| service.name == name).expect("a service")
    }

    /// Replicas and their phases.
    pub(crate) fn replicas(&self, service: &str) -> Vec<(String, ReplicaPhase)> {
        self.service(service).replicas.into_iter().map(|one| (one.name, one.phase)).collect()
    }

    pub(crate) fn phase(&self, replica: &str) -> ReplicaPhase {
        let service = replica.split('-').next().unwrap_or_default();
        let found = self.replicas(service).into_iter().find(|(name, _)| name == replica);
        found.unwrap_or_else(|| panic!("there is no {replica}")).1
    }

    pub(crate) fn names(&self, service: &str) -> Vec<String> {
        self.replicas(service).into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn part(&self, name: &str) -> PartSnapshot {
        self.snapshot().parts.into_iter().find(|part| part.name == name).expect("a part")
    }
}

pub(crate) fn values(set: &[&str]) -> Values {
    let set = set.iter().map(|text| (*text).to_owned()).collect();
    Values::load(&ValuesSource { set, ..ValuesSource::default() }).expect("values")
}

pub(crate) fn subject(text: &str) -> Subject {
    text.parse().expect("a subject")
}

pub(crate) fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn name(launch: &Launch) -> String {
    match launch {
        Launch::Replica { name, .. } | Launch::Gateway { name, .. } => name.clone(),
        Launch::Part { template, .. } => template.kind.name().to_owned(),
    }
}

/// `tcp: tcp-1 (tcp-0)`, with draining ones in brackets.
fn cluster(cluster: &Cluster) -> String {
    let words = cluster
        .endpoints
        .iter()
        .map(|one| if one.draining { format!(" ({})", one.replica) } else { format!(" {}", one.replica) });
    format!("{}:{}", cluster.service, words.collect::<String>())
}

fn told(fact: &Fact) -> Option<String> {
    let line = match fact.clone().into_event() {
        EventKind::PodStarting { .. } | EventKind::EndpointsChanged { .. } | EventKind::HpaSynced { .. } => {
            return None;
        }
        EventKind::PodReady { pod, .. } => format!("{pod} ready"),
        EventKind::PodUnready { pod, reason, .. } => format!("{pod} unready: {reason}"),
        EventKind::PodDraining { pod, .. } => format!("{pod} draining"),
        EventKind::PodGone { pod, after_ms, forced, .. } => {
            format!("{pod} gone after {after_ms} ms{}", if forced { ", forced" } else { "" })
        }
        EventKind::PodCrashed { pod, exit, restart_in_ms, .. } => match restart_in_ms {
            Some(delay) => format!("{pod} crashed: {exit}, again in {delay} ms"),
            None => format!("{pod} crashed: {exit}"),
        },
        EventKind::PartReady { part, detail, .. } => format!("{part} ready: {detail}"),
        EventKind::PartStopped { part, .. } => format!("{part} stopped"),
        EventKind::ReplicasSet { service, from, to } => format!("{service} set {from} → {to}"),
        EventKind::DesiredChanged { service, from, to, .. } => format!("{service} desired {from} → {to}"),
        EventKind::PlatformStarted { services, .. } => {
            let with_policy = |one: ServiceInfo| Some(format!(", {} by {}", one.name, one.policy?));
            let policies: String = services.into_iter().filter_map(with_policy).collect();
            format!("platform started{policies}")
        }
        EventKind::PlatformReady { .. } => "platform ready".to_owned(),
        EventKind::PlatformStopping { grace, .. } => format!("platform stopping, grace {grace}"),
        EventKind::PlatformStopped { .. } => "platform stopped".to_owned(),
        EventKind::Warning { message } => format!("! {message}"),
        other => format!("{other:?}"),
    };
    Some(line)
}

/// Made-up locations.
pub(crate) struct Nowhere;

impl Places for Nowhere {
    fn target(&self) -> &'static str {
        "simulated"
    }

    fn endpoint(&self, service: ServiceKind) -> Option<HostPort> {
        (service == ServiceKind::Tcp).then(|| SocketAddr::from(([127, 0, 0, 1], 10_000)).into())
    }

    fn route(&self, _: ServiceKind) -> Option<(HostPort, String)> {
        None
    }

    fn replica(&self, _: &ServiceTemplate, ordinal: u16, run: Option<RunId>) -> ReplicaPlace {
        let pid = run.map(|run| run.0 as u32);
        ReplicaPlace { address: Some(SocketAddr::from(([127, 0, 0, 1], ordinal)).into()), pid }
    }

    fn gateway(&self, _: &GatewayTemplate, _: u16, run: Option<RunId>) -> PartPlace {
        PartPlace { pid: run.map(|run| run.0 as u32), ..PartPlace::default() }
    }

    fn part(&self, _: &PartTemplate, _: Option<RunId>) -> PartPlace {
        PartPlace { version: Some("1.0".to_owned()), ..PartPlace::default() }
    }

    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    fn others(&self) -> Vec<PartSnapshot> {
        Vec::new()
    }
}
