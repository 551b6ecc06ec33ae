//! The state machine: the desired state, the actual state, and one step from one to the other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use platform::{
    EventKind, PartKind, ServiceKind,
    target::Applied,
    values::{SettingChange, Values},
};
use serde::{Deserialize, Serialize};

use crate::{
    Effect, Fact, Failure, Input, Reply, Request, RequestId, RunId, Time,
    deployment::Service,
    endpoints::Endpoints,
    facts::{Change, Trouble, Warning},
    gateways::Gateways,
    instance::{Instance, Workload, earlier},
    instances::Instances,
    ordinals::Ordinals,
    parts::Part,
    pipeline::Pipeline,
    teardown::Stopping,
};

/// After this long, a client that waits for a change learns that it did not happen.
const CHANGE_DEADLINE: Duration = Duration::from_mins(1);

/// Maximum number of passes of one step: changes lead to others, but not for ever.
const PASSES_MAX: usize = 1000;

/// The capacity of one platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Ordinals of a service's replicas, including resting ones.
    pub ordinals: u16,
    /// Maximum number of a service's replicas, including draining ones.
    pub replicas: u32,
    pub nodes: u32,
}

/// The control plane of one platform.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub struct Controller {
    pub(crate) platform: String,
    /// Where it runs, in words, for the time line's heading: `this machine`.
    pub(crate) location: String,
    /// Wall-clock time at [`Time::ZERO`].
    pub(crate) began: Timestamp,
    pub(crate) capacity: Capacity,
    /// The desired state; empty until the first `apply`.
    pub(crate) spec: Option<Spec>,
    pub(crate) parts: BTreeMap<PartKind, Part>,
    pub(crate) services: BTreeMap<ServiceKind, Service>,
    /// Ordinals of replicas; they also rest while the service is switched off.
    pub(crate) ordinals: BTreeMap<ServiceKind, Ordinals>,
    pub(crate) gateways: Gateways,
    /// Everything that is starting, running or ending, oldest first.
    pub(crate) instances: Instances,
    pub(crate) endpoints: Endpoints,
    pub(crate) pipeline: Pipeline,
    /// Everything has been ready once.
    pub(crate) came_up: bool,
    /// Changes that clients wait for.
    pub(crate) pending: Vec<Pending>,
    pub(crate) stopping: Option<Stopping>,
    pub(crate) finished: bool,
    /// The templates of services and gateways may have changed.
    pub(crate) templates_stale: bool,
    next_uid: u64,
    next_run: u64,
    /// Something has changed since the last comparison.
    dirty: bool,
    effects: Vec<Effect>,
    /// Runs to end as soon as the gateways know that these get no more connections.
    leaving: Vec<RunId>,
}

/// The last requested state.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) values: Arc<Values>,
    pub(crate) nodes: u32,
    pub(crate) programs: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) id: RequestId,
    pub(crate) since: Time,
    pub(crate) changes: Vec<Change>,
    pub(crate) settings: Vec<SettingChange>,
}

impl Controller {
    /// `location`: in words, as in the time line's heading (`this machine`). `began`: wall-clock time at [`Time::ZERO`].
    pub fn new(platform: &str, location: &str, began: Timestamp, capacity: Capacity) -> Self {
        Self {
            platform: platform.to_owned(),
            location: location.to_owned(),
            began,
            capacity,
            spec: None,
            parts: BTreeMap::new(),
            services: BTreeMap::new(),
            ordinals: BTreeMap::new(),
            gateways: Gateways::new(capacity.ordinals),
            instances: Instances::default(),
            endpoints: Endpoints::default(),
            pipeline: Pipeline::default(),
            came_up: false,
            pending: Vec::new(),
            stopping: None,
            finished: false,
            templates_stale: false,
            next_uid: 0,
            next_run: 0,
            dirty: false,
            effects: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Processes one input at one moment; returns what to do, in order. `now` must not be earlier than in the previous
    /// step. Whatever is due by then happens after the input, so that nothing is done to a run that has just ended.
    pub fn step(&mut self, now: Time, input: Input) -> Vec<Effect> {
        if self.finished && !matches!(input, Input::Request { .. }) {
            return Vec::new();
        }
        match input {
            Input::Tick => {}
            Input::Request { id, request } => self.request(id, request, now),
            Input::Abandoned => {
                if !self.came_up {
                    self.stop(false, None, now);
                }
            }
            Input::Interrupted => self.stop(false, None, now),
            Input::Started { run, result } => self.started(run, result, now),
            Input::Probed { run, result } => self.probed(run, result, now),
            Input::CaughtUp { run, version } => self.caught_up(run, version),
            Input::Ended { run, exit } => self.ended(run, &exit, now),
            Input::EndpointsWritten { version, result } => self.endpoints_written(version, result, now),
            Input::Scraped { samples } => self.scraped(&samples, now),
            Input::MetricsAnswered { answers } => self.metrics_answered(&answers, now),
        }
        self.fire(now);
        self.settle(now);
        self.terminate_leaving();
        std::mem::take(&mut self.effects)
    }

    /// Ends runs that no gateway is told to use any more. While an older version of the endpoints is being written, this
    /// waits for the next one.
    fn terminate_leaving(&mut self) {
        for run in std::mem::take(&mut self.leaving) {
            if self.endpoints.offer(run) {
                self.leaving.push(run);
            } else if self.instances.iter().any(|one| one.runs_as(run)) {
                self.effect(Effect::Terminate { run });
            }
        }
    }

    /// When something is due if nothing else happens: the time for an [`Input::Tick`].
    pub fn next_due(&self) -> Option<Time> {
        if self.finished {
            return None;
        }
        if self.dirty {
            return Some(Time::ZERO);
        }
        let instances = self.instances.iter().map(Instance::next_due).fold(None, earlier);
        let deadline = self.pending.iter().map(|pending| pending.since + CHANGE_DEADLINE).min();
        let (scrape, sync) = self.next_ticks();
        [deadline, scrape, sync, self.endpoints.retry_at()].into_iter().fold(instances, earlier)
    }

    /// Whether nothing is left and nothing more will be done.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The last requested values and number of nodes.
    pub fn wanted(&self) -> Option<(&Arc<Values>, u32)> {
        self.spec.as_ref().map(|spec| (&spec.values, spec.nodes))
    }

    /// Whether it is being taken down.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Does what is due.
    fn fire(&mut self, now: Time) {
        let due: Vec<u64> = self
            .instances
            .iter()
            .filter(|one| one.next_due().is_some_and(|at| at <= now))
            .map(|one| one.uid)
            .collect();
        for uid in due {
            self.fire_instance(uid, now);
        }
        let (scrape, sync) = self.next_ticks();
        if scrape.is_some_and(|at| at <= now) {
            self.scrape();
        }
        if sync.is_some_and(|at| at <= now) {
            self.sync(now);
        }
        if self.endpoints.retry_at().is_some_and(|at| at <= now) {
            self.dirty();
        }
        if self.pending.iter().any(|pending| pending.since + CHANGE_DEADLINE <= now) {
            self.overdue(now);
        }
    }

    /// Compares the actual with the desired state, and takes the next step; notifies waiting clients when none is left.
    fn settle(&mut self, now: Time) {
        // No history needs this many passes; anything left continues in the next step.
        for _ in 0..PASSES_MAX {
            if !std::mem::take(&mut self.dirty) || self.finished {
                return;
            }
            if self.stopping.is_some() {
                self.settle_endpoints(now);
                self.settle_stop(now);
                continue;
            }
            if self.spec.is_none() {
                continue;
            }
            self.settle_parts(now);
            // The parts that services and gateways depend on come first; until then those keep their templates.
            if self.parts_came_up() {
                self.settle_templates();
            }
            self.settle_services(now);
            self.settle_endpoints(now);
            self.settle_gateways(now);
            if !self.dirty && self.is_settled() {
                self.settled(now);
            }
        }
    }

    /// Recomputes the templates of services and gateways if their inputs have changed.
    fn settle_templates(&mut self) {
        if !std::mem::take(&mut self.templates_stale) {
            return;
        }
        let Some(spec) = &self.spec else { return };
        let values = Arc::clone(&spec.values);
        let backends = self.backends(&values);
        let mut changes = self.change_service_templates(&values, &backends);
        changes.extend(self.change_gateway_templates(&values, &backends));
        if let Some(pending) = self.pending.last_mut() {
            pending.changes.extend(changes);
        }
    }

    fn is_settled(&self) -> bool {
        self.parts_came_up()
            && self.services.values().all(|service| self.is_service_settled(service))
            && self.are_gateways_settled()
    }

    fn settled(&mut self, now: Time) {
        if !self.came_up {
            self.came_up = true;
            let platform = self.platform.clone();
            self.event(EventKind::PlatformReady { platform, after_ms: now.as_millis() });
            self.begin_pipeline(now);
        }
        for pending in std::mem::take(&mut self.pending) {
            let applied = Applied {
                changes: pending.changes.iter().map(ToString::to_string).collect(),
                settings: pending.settings,
                took: now.since(pending.since),
            };
            self.reply(pending.id, Ok(Reply::Applied(applied)));
        }
    }

    /// A change takes too long: reports what it is waiting for. If there was a later one, only notifies its client.
    fn overdue(&mut self, now: Time) {
        let waiting = self.instances.iter().filter(|one| one.is_active() && !self.is_done(one));
        let waiting = waiting.map(|one| one.name.to_string()).collect();
        let endpoints = self.endpoints.problem().map(str::to_owned);
        let trouble = Trouble::Late { within: CHANGE_DEADLINE, waiting, endpoints };
        let is_late = |pending: &Pending| pending.since + CHANGE_DEADLINE <= now;
        if self.pending.iter().all(is_late) {
            self.change_failed(trouble, now);
            return;
        }
        let failure = Failure::from(&trouble);
        let (late, pending) = std::mem::take(&mut self.pending).into_iter().partition(is_late);
        self.pending = pending;
        for pending in late {
            self.reply(pending.id, Err(failure.clone()));
        }
    }

    /// Whether an instance is in its desired state, so that nobody waits for it.
    pub(crate) fn is_done(&self, instance: &Instance) -> bool {
        let is_gateway = matches!(instance.workload, Workload::Gateway(_));
        let knows = !is_gateway || instance.endpoints_version >= self.endpoints.version();
        instance.is_ready() && self.is_current(instance) && knows
    }

    /// An `apply` cannot be carried out, and has changed nothing.
    pub(crate) fn apply_failed(&mut self, id: RequestId, trouble: Trouble, now: Time) {
        if self.spec.is_none() {
            self.pending.push(Pending { id, since: now, changes: Vec::new(), settings: Vec::new() });
            self.change_failed(trouble, now);
            return;
        }
        let failure = Failure::from(&trouble);
        self.tell(Fact::Warning(Warning::ChangeFailed(trouble)));
        self.reply(id, Err(failure));
    }

    /// A change cannot be carried out. If the platform was never up, that is its end; otherwise what runs keeps running.
    pub(crate) fn change_failed(&mut self, trouble: Trouble, now: Time) {
        let failure = Failure::from(&trouble);
        if !self.came_up {
            self.stop_failed(&failure, now);
            return;
        }
        self.tell(Fact::Warning(Warning::ChangeFailed(trouble)));
        self.await_no_parts(now);
        for pending in std::mem::take(&mut self.pending) {
            self.reply(pending.id, Err(failure.clone()));
        }
        self.dirty();
    }

    // === common to all parts of the state machine ===

    pub(crate) fn dirty(&mut self) {
        self.dirty = true;
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn terminate(&mut self, run: RunId) {
        self.leaving.push(run);
    }

    pub(crate) fn tell(&mut self, fact: Fact) {
        self.effects.push(Effect::Emit(fact));
    }

    pub(crate) fn event(&mut self, event: EventKind) {
        self.tell(Fact::Event(event));
    }

    pub(crate) fn reply(&mut self, id: RequestId, reply: Result<Reply, Failure>) {
        self.effects.push(Effect::Reply { id, reply });
    }

    pub(crate) fn new_uid(&mut self) -> u64 {
        self.next_uid += 1;
        self.next_uid
    }

    pub(crate) fn new_run(&mut self) -> RunId {
        self.next_run += 1;
        RunId(self.next_run)
    }

    pub(crate) fn instances_of(&self, workload: Workload) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(move |one| one.is_of(workload))
    }

    /// Wall-clock time that does not jump.
    pub(crate) fn wall(&self, at: Time) -> Timestamp {
        let passed = SignedDuration::from_nanos(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX));
        self.began.saturating_add(passed).unwrap_or(self.began)
    }

    /// Whether a client waits for a change.
    pub(crate) fn somebody_waits(&self) -> bool {
        !self.pending.is_empty()
    }
}

impl Controller {
    fn request(&mut self, id: RequestId, request: Request, now: Time) {
        let reply = match request {
            Request::Apply(apply) => {
                self.apply(id, *apply, now);
                return;
            }
            Request::Teardown { grace } => {
                self.stop(grace, Some(id), now);
                return;
            }
            Request::Scale { service, replicas } => self.scale(&service, replicas),
            Request::Kill { what, restart, loads } => self.kill(&what, restart, &loads, now),
            Request::Stop { what } => self.stop_subject(&what),
            Request::Start { what } => self.start_subject(&what),
            Request::Drain { what, loads } => self.drain(&what, &loads, now),
            Request::SetTraffic { service, replica, traffic } => {
                self.set_traffic(&service, &replica, traffic)
            }
            Request::SetDeletionCost { service, replica, cost } => {
                self.set_deletion_cost(&service, &replica, cost)
            }
            Request::Balanced { service, balanced } => self.balanced(&service, balanced, now),
        };
        self.dirty();
        self.reply(id, reply.map_err(Failure::from));
    }
}
