//! The invariants of every history, checked from outside: only by inputs, effects and snapshots.

use std::{collections::BTreeMap, time::Duration};

use controller::{
    Apply, Capacity, Cluster, Controller, Effect, Endpoint, Fact, GatewayTemplate, Input, Launch, PartPlace,
    PartTemplate, Places, ReplicaPlace, Reply, Request, RequestId, RunId, ServiceTemplate, Source, Time,
};
use platform::{
    EventKind, HostPort, ServiceKind,
    target::{Balanced, PartSnapshot, ReplicaPhase, Snapshot, Traffic},
};

type Verdict = Result<(), String>;

/// Allowed delay after a deadline, because ticks come late.
const LATENESS: Duration = Duration::from_secs(1);
const GATEWAY_GRACE: Duration = Duration::from_secs(90);
const PART_GRACE: Duration = Duration::from_secs(10);
/// The longest grace period of all plans, then 2 s for gateways and 10 s for parts.
const TEARDOWN_WITHIN: Duration = Duration::from_secs(45 + 2 + 10 + 5);
/// A change that takes longer has failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60 + 1);
/// The limits of a balancer's decision.
const ORDERS_MAX: usize = 64;
const REASON_MAX: usize = 1024;
/// More inputs than this within one second are an endless loop.
const STEPS_PER_SECOND: u32 = 3_000;

#[expect(clippy::struct_excessive_bools, reason = "each notes something of its own")]
pub(crate) struct Checks {
    capacity: Capacity,
    /// By run; the first is 1.
    runs: Vec<Run>,
    /// Replicas by name, and whether each one's process exists.
    replicas: BTreeMap<String, bool>,
    version: u64,
    writing: bool,
    endpoints: Vec<Cluster>,
    scraping: bool,
    asking: bool,
    /// Requests without a reply, and since when.
    outstanding: Vec<(RequestId, Time)>,
    /// The bounds of a service's autoscaler.
    bounds: BTreeMap<String, [u32; 2]>,
    /// Settings of replicas that are being applied, by name.
    marking: BTreeMap<RequestId, (String, Mark)>,
    /// Settings of existing replicas.
    marks: BTreeMap<String, (Traffic, Option<i32>)>,
    /// A balancer's decisions that are being reported.
    reporting: BTreeMap<RequestId, (String, Balanced)>,
    /// The last one of each service.
    decided: BTreeMap<String, Balanced>,
    stopping: Option<Time>,
    pub(crate) finished: bool,
    steps: u64,
    second: (u64, u32),
}

/// One start, as far as the controller knows.
#[expect(clippy::struct_excessive_bools, reason = "each notes something of its own")]
struct Run {
    name: String,
    service: Option<ServiceKind>,
    told: Told,
    /// It is probed; an embedded part is not.
    probes: bool,
    probing: bool,
    ready: bool,
    successes: u32,
    failures: u32,
    thresholds: (u32, u32),
    grace: Duration,
    terminated: Option<Time>,
    killed: bool,
}

enum Mark {
    Traffic(Traffic),
    Cost(i32),
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Starting,
    Running,
    Over,
}

impl Checks {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            runs: Vec::new(),
            replicas: BTreeMap::new(),
            version: 0,
            writing: false,
            endpoints: Vec::new(),
            scraping: false,
            asking: false,
            outstanding: Vec::new(),
            bounds: BTreeMap::new(),
            marking: BTreeMap::new(),
            marks: BTreeMap::new(),
            reporting: BTreeMap::new(),
            decided: BTreeMap::new(),
            stopping: None,
            finished: false,
            steps: 0,
            second: (0, 0),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Records the next input of the controller.
    pub(crate) fn note(&mut self, now: Time, input: &Input) {
        match input {
            Input::Started { run, result } => {
                if let Some(run) = self.run(*run).filter(|run| run.told == Told::Starting) {
                    run.told = if result.is_ok() { Told::Running } else { Told::Over };
                    run.ready = result.is_ok() && !run.probes;
                }
            }
            Input::Probed { run, result } => {
                if let Some(run) = self.run(*run).filter(|run| run.told == Told::Running && run.probing) {
                    run.answered(result.is_ok());
                }
            }
            Input::Ended { run, .. } => {
                if let Some(run) = self.run(*run) {
                    run.told = Told::Over;
                }
            }
            Input::EndpointsWritten { version, .. } if *version == self.version => self.writing = false,
            Input::Scraped { .. } => self.scraping = false,
            Input::MetricsAnswered { .. } => self.asking = false,
            Input::Request { id, request } => {
                self.outstanding.push((*id, now));
                match request {
                    Request::Apply(apply) => self.note_apply(apply),
                    Request::SetTraffic { replica, traffic, .. } => {
                        self.marking.insert(*id, (replica.clone(), Mark::Traffic(*traffic)));
                    }
                    Request::SetDeletionCost { replica, cost, .. } => {
                        self.marking.insert(*id, (replica.clone(), Mark::Cost(*cost)));
                    }
                    Request::Balanced { service, balanced } => {
                        self.reporting.insert(*id, (service.clone(), balanced.clone()));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn note_apply(&mut self, apply: &Apply) {
        if self.stopping.is_some() || apply.obstacle.is_some() || apply.nodes > self.capacity.nodes {
            return;
        }
        let services = apply.values.enabled_services();
        self.bounds = services.filter_map(|one| Some((one.name.clone(), one.autoscaled()?))).collect();
    }

    /// Checks the controller's effects.
    pub(crate) fn look(&mut self, now: Time, effects: &[Effect], controller: &Controller) -> Verdict {
        let mut endpoints = Vec::new();
        for effect in effects {
            if self.finished && !matches!(effect, Effect::Reply { .. }) {
                return Err(format!("after the end: {effect:?}"));
            }
            self.effect(now, effect, &mut endpoints)?;
        }
        self.endpoints_fit(&endpoints)?;
        ensure(self.finished == controller.is_finished(), || "the end is not said".to_owned())?;
        self.steps += 1;
        self.progress(now)?;
        if self.steps.is_multiple_of(16) {
            self.deadlines(now)?;
            if let Some(snapshot) = controller.snapshot(&Nowhere) {
                surge(&snapshot)?;
                self.marks_stick(&snapshot)?;
                self.decisions_are_shown(&snapshot)?;
            }
        }
        Ok(())
    }

    fn effect(&mut self, now: Time, effect: &Effect, endpoints: &mut Vec<Endpoint>) -> Verdict {
        match effect {
            Effect::Start { run, launch } => self.starts(*run, launch),
            Effect::Probe { run, .. } => {
                let one = self.alive(*run, effect)?;
                ensure(one.told == Told::Running, || format!("{run:?} is probed before it runs"))?;
                ensure(!std::mem::replace(&mut one.probing, true), || format!("{run:?} is probed twice"))
            }
            Effect::Terminate { run } => {
                let clusters = self.endpoints.iter().flat_map(|cluster| &cluster.endpoints);
                let gets_more = clusters.into_iter().any(|one| one.run == *run && !one.draining);
                ensure(!gets_more, || format!("{run:?} is told to end while it gets connections"))?;
                let again = self.alive(*run, effect)?.terminated.replace(now).is_some();
                ensure(!again, || format!("{run:?} is told to end twice"))
            }
            Effect::Kill { run } => {
                self.alive(*run, effect)?.killed = true;
                Ok(())
            }
            Effect::WriteEndpoints { version, clusters } => {
                ensure(!std::mem::replace(&mut self.writing, true), || "a second write".to_owned())?;
                ensure(*version > self.version, || format!("version {version} again"))?;
                self.version = *version;
                self.endpoints.clone_from(clusters);
                for endpoint in clusters.iter().flat_map(|cluster| &cluster.endpoints) {
                    let one = self.alive(endpoint.run, effect)?;
                    ensure(one.name == endpoint.replica, || format!("{endpoint:?} is {}", one.name))?;
                    let fits = endpoint.draining || one.ready && one.terminated.is_none();
                    ensure(fits, || format!("{} gets connections and is not ready", one.name))?;
                    endpoints.push(endpoint.clone());
                }
                Ok(())
            }
            Effect::Scrape => {
                ensure(!std::mem::replace(&mut self.scraping, true), || "a second scrape".to_owned())
            }
            Effect::AskMetrics { .. } => {
                ensure(!std::mem::replace(&mut self.asking, true), || "a second question".to_owned())
            }
            Effect::Emit(fact) => self.fact(now, fact),
            Effect::Reply { id, reply } => {
                let mark = self.marking.remove(id);
                if let (Some((replica, mark)), Ok(Reply::Marked)) = (mark, reply) {
                    let marks = self.marks.entry(replica).or_default();
                    match mark {
                        Mark::Traffic(traffic) => marks.0 = traffic,
                        Mark::Cost(cost) => marks.1 = Some(cost),
                    }
                }
                if let (Some((service, balanced)), Ok(Reply::Marked)) = (self.reporting.remove(id), reply) {
                    let short = balanced.orders.len() <= ORDERS_MAX && balanced.reason.len() <= REASON_MAX;
                    ensure(short, || format!("a decision without bounds is kept: {balanced:?}"))?;
                    self.decided.insert(service, balanced);
                }
                let place = self.outstanding.iter().position(|(one, _)| one == id);
                let place = place.ok_or_else(|| format!("{id:?} is answered, but nobody asked"))?;
                self.outstanding.swap_remove(place);
                Ok(())
            }
            Effect::Finished => {
                self.finished = true;
                let left: Vec<&str> =
                    self.runs.iter().filter(|run| run.told != Told::Over).map(|run| &*run.name).collect();
                ensure(left.is_empty(), || format!("left at the end: {left:?}"))?;
                ensure(self.replicas.is_empty(), || format!("never said to be gone: {:?}", self.replicas))
            }
        }
    }

    fn starts(&mut self, run: RunId, launch: &Launch) -> Verdict {
        ensure(self.stopping.is_none(), || format!("{launch:?} is started during the teardown"))?;
        ensure(run.0 == self.runs.len() as u64 + 1, || format!("{run:?} is not the next one"))?;
        let one = match launch {
            Launch::Replica { service, name, template, .. } => Run {
                service: Some(*service),
                thresholds: (template.readiness.success_threshold, template.readiness.failure_threshold),
                ..Run::new(name, template.grace)
            },
            Launch::Gateway { name, .. } => Run::new(name, GATEWAY_GRACE),
            Launch::Part { template, .. } => Run {
                probes: template.source != Source::Embedded,
                ..Run::new(template.kind.name(), PART_GRACE)
            },
        };
        if let Some(service) = one.service {
            let others = || {
                self.runs.iter().filter(|other| other.told != Told::Over && other.service == Some(service))
            };
            let most = self.capacity.replicas as usize;
            ensure(others().count() < most, || format!("more than {most} replicas of {service} run"))?;
            ensure(others().all(|other| other.name != one.name), || format!("{} runs twice", one.name))?;
        }
        self.runs.push(one);
        Ok(())
    }

    fn fact(&mut self, now: Time, fact: &Fact) -> Verdict {
        match fact {
            Fact::PodCrashed { pod, .. } => {
                let there = self.replicas.insert(pod.clone(), false);
                ensure(there == Some(true), || format!("{pod} crashes, but it does not run"))
            }
            Fact::Event(EventKind::PodStarting { pod, restarts, .. }) => {
                let there = self.replicas.insert(pod.clone(), true);
                let expected = (*restarts > 0).then_some(false);
                ensure(there == expected, || format!("{pod} starts, restarts {restarts}, was {there:?}"))
            }
            Fact::Event(EventKind::PodGone { pod, .. }) => {
                self.marks.remove(pod);
                ensure(self.replicas.remove(pod).is_some(), || format!("{pod} goes, but it was not there"))
            }
            Fact::Event(EventKind::DesiredChanged { service, to, .. }) => {
                let bounds = self.bounds.get(service).copied();
                let within = bounds.is_some_and(|[min, max]| (min..=max).contains(to));
                ensure(within, || format!("{service}: {to} replicas are outside of {bounds:?}"))
            }
            Fact::Event(EventKind::PlatformStopping { .. }) => {
                self.stopping = Some(now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Exactly the replicas that are inactive or were told to end get no new connections.
    fn endpoints_fit(&mut self, endpoints: &[Endpoint]) -> Verdict {
        for Endpoint { run, replica, draining } in endpoints {
            let inactive = self.marks.get(replica).is_some_and(|(traffic, _)| !traffic.is_active());
            let told = self.run(*run).is_some_and(|run| run.terminated.is_some());
            let fits = *draining == (told || inactive);
            ensure(fits, || {
                format!("{replica}: draining {draining}, told to end {told}, inactive {inactive}")
            })?;
        }
        Ok(())
    }

    /// Settings of a replica remain until it is gone, whatever happens to its process.
    fn marks_stick(&self, snapshot: &Snapshot) -> Verdict {
        for one in snapshot.services.iter().flat_map(|service| &service.replicas) {
            let (traffic, cost) = self.marks.get(&one.name).copied().unwrap_or_default();
            let fits = one.traffic == traffic && one.deletion_cost == cost.unwrap_or(0);
            ensure(fits, || format!("{} is to be {traffic} at {cost:?}: {one:?}", one.name))?;
        }
        Ok(())
    }

    /// The last decision that was accepted, until the service is switched off.
    fn decisions_are_shown(&self, snapshot: &Snapshot) -> Verdict {
        for service in &snapshot.services {
            let Some(shown) = &service.balanced else { continue };
            let fits = self
                .decided
                .get(&service.name)
                .is_some_and(|last| (&shown.orders, &shown.reason) == (&last.orders, &last.reason));
            ensure(fits, || format!("{} shows the decision {shown:?}", service.name))?;
        }
        Ok(())
    }

    /// Whether time passes.
    fn progress(&mut self, now: Time) -> Verdict {
        let second = now.as_millis() / 1000;
        self.second = if self.second.0 == second { (second, self.second.1 + 1) } else { (second, 1) };
        ensure(self.second.1 < STEPS_PER_SECOND, || "it turns in a circle".to_owned())
    }

    fn deadlines(&self, now: Time) -> Verdict {
        for run in self.runs.iter().filter(|run| run.told != Told::Over && !run.killed) {
            let Some(at) = run.terminated else { continue };
            let late = now > at + run.grace + LATENESS;
            ensure(!late, || format!("{} was told to end at {at:?} and is left alone", run.name))?;
        }
        let late =
            self.outstanding.iter().find(|(_, at)| self.stopping.is_none() && now > *at + ANSWERED_WITHIN);
        ensure(late.is_none(), || format!("not answered: {late:?}"))?;
        let late = self.stopping.is_some_and(|at| !self.finished && now > at + TEARDOWN_WITHIN);
        ensure(!late, || "the teardown does not end".to_owned())
    }

    /// When nothing fails any more, everything is up to date after a while.
    pub(crate) fn converged(&self, controller: &Controller) -> Verdict {
        ensure(self.outstanding.is_empty(), || format!("not answered: {:?}", self.outstanding))?;
        let Some(snapshot) = controller.snapshot(&Nowhere) else { return Ok(()) };
        ensure(snapshot.problems.is_empty(), || format!("{:?}", snapshot.problems))?;
        for service in &snapshot.services {
            let ready = service.replicas.iter().filter(|one| one.phase == ReplicaPhase::Ready).count();
            let dead = service.replicas.iter().filter(|one| one.phase == ReplicaPhase::Stopped).count();
            let desired = if service.stopped { 0 } else { service.desired };
            let expected = desired.saturating_sub(service.pending) as usize;
            let fits = ready + dead == expected && service.replicas.len() == expected;
            ensure(fits, || format!("{} of {desired}: {:?}", service.name, service.replicas))?;
            let known = self.endpoints.iter().find(|cluster| cluster.service.name() == service.name);
            let known = known.map_or(0, |cluster| cluster.endpoints.len());
            ensure(known == ready, || format!("{}: {known} endpoints, {ready} ready", service.name))?;
        }
        for part in snapshot.parts.iter().filter(|part| part.detail != "stopped") {
            ensure(part.healthy && !part.detail.contains("draining"), || format!("{part:?}"))?;
        }
        Ok(())
    }

    /// Checks the end of the history.
    pub(crate) fn end(&self) -> Verdict {
        ensure(self.finished, || "the teardown does not end".to_owned())?;
        ensure(self.outstanding.is_empty(), || format!("never answered: {:?}", self.outstanding))
    }

    fn run(&mut self, run: RunId) -> Option<&mut Run> {
        self.runs.get_mut(usize::try_from(run.0).ok()?.checked_sub(1)?)
    }

    fn alive(&mut self, run: RunId, effect: &Effect) -> Result<&mut Run, String> {
        let one = self.run(run).filter(|one| one.told != Told::Over);
        one.ok_or_else(|| format!("{run:?} has ended: {effect:?}"))
    }
}

impl Run {
    fn new(name: &str, grace: Duration) -> Self {
        Self {
            name: name.to_owned(),
            service: None,
            told: Told::Starting,
            probes: true,
            probing: false,
            ready: false,
            successes: 0,
            failures: 0,
            thresholds: (1, 3),
            grace,
            terminated: None,
            killed: false,
        }
    }

    fn answered(&mut self, success: bool) {
        self.probing = false;
        let (enough_successes, enough_failures) = self.thresholds;
        if success {
            (self.successes, self.failures) = (self.successes + 1, 0);
            self.ready |= self.successes >= enough_successes;
        } else {
            (self.successes, self.failures) = (0, self.failures + 1);
            self.ready &= self.failures < enough_failures;
        }
    }
}

/// Whether there are no more replicas than a rollout may have.
fn surge(snapshot: &Snapshot) -> Verdict {
    for service in &snapshot.services {
        let active = service.replicas.iter().filter(|one| one.phase != ReplicaPhase::Draining).count();
        let effective = if service.stopped { 0 } else { service.desired };
        let most = if effective == 0 { 0 } else { effective as usize + 1 };
        ensure(active <= most, || format!("{active} of {effective} replicas of {}", service.name))?;
        let one_only = service.remark.is_some();
        ensure(!one_only || service.desired <= 1, || {
            format!("{} replicas of {}, whose data are in memory", service.desired, service.name)
        })?;
    }
    Ok(())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Places without any locations.
struct Nowhere;

impl Places for Nowhere {
    fn target(&self) -> &'static str {
        "simulated"
    }

    fn endpoint(&self, _: ServiceKind) -> Option<HostPort> {
        None
    }

    fn route(&self, _: ServiceKind) -> Option<(HostPort, String)> {
        None
    }

    fn replica(&self, _: &ServiceTemplate, _: u16, _: Option<RunId>) -> ReplicaPlace {
        ReplicaPlace::default()
    }

    fn gateway(&self, _: &GatewayTemplate, _: u16, _: Option<RunId>) -> PartPlace {
        PartPlace::default()
    }

    fn part(&self, _: &PartTemplate, _: Option<RunId>) -> PartPlace {
        PartPlace::default()
    }

    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    fn others(&self) -> Vec<PartSnapshot> {
        Vec::new()
    }
}
