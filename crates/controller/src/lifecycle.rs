//! The life cycle of every instance: starting, ready, unready, draining, dead and waiting, gone.
//!
//! ```text
//!   create ─► starting ─► ready ◄─► unready          end ─► draining ─► gone
//!                │ dies     │ dies     │ dies              (at once where nothing runs)
//!                └──────────┴──────────┴─► back-off ─► starting
//!                                          stopped      (when it must stay dead)
//! ```
//!
//! A run ends exactly once: with [`Input::Ended`](crate::Input::Ended), or with an error as its
//! [`Input::Started`](crate::Input::Started). Answers about runs other than the current one are late and are ignored.

use std::{sync::Arc, time::Duration};

use platform::{
    EventKind, ServiceKind,
    target::{ReplicaPhase, Traffic},
};

use crate::{
    Controller, Effect, Fact, RunId, Time,
    backoff::BackOff,
    effect::Launch,
    facts::{Trouble, Warning},
    input::{Exit, ProbeFailure, Probed, Started},
    instance::{Instance, Run, Workload},
    names::node_name,
    probe::{News, Prober},
    series::Series,
    template::{Template, same},
    time::milliseconds,
};

/// Minimum delay before retrying a gateway that could not even be started.
const GATEWAY_RETRY_MIN: Duration = Duration::from_secs(1);

impl Controller {
    /// Creates an instance and starts it.
    pub(crate) fn create(
        &mut self,
        workload: Workload,
        name: &str,
        ordinal: u16,
        node: u32,
        template: Template,
        now: Time,
    ) {
        let uid = self.new_uid();
        let window = self.spec.as_ref().map_or(Duration::ZERO, |spec| spec.values.metrics.window);
        let backoff = match workload {
            Workload::Gateway(_) => BackOff::gateway(),
            Workload::Part(_) | Workload::Service(_) => BackOff::kubelet(),
        };
        let instance = Instance {
            uid,
            workload,
            name: Arc::from(name),
            ordinal,
            node,
            template,
            created: now,
            phase: ReplicaPhase::Starting,
            since: now,
            run: None,
            restarts: 0,
            backoff,
            restart_at: None,
            draining_since: None,
            kill_at: None,
            forced: false,
            stay_dead: false,
            traffic: Traffic::Active,
            deletion_cost: None,
            server_id: None,
            endpoints_version: 0,
            detail: String::new(),
            address: None,
            series: Series::new(window),
        };
        self.instances.push(instance);
        self.begin(uid, now);
    }

    /// Starts an instance that does not run.
    pub(crate) fn begin(&mut self, uid: u64, now: Time) {
        let run = self.new_run();
        let topics = self.spec.as_ref().map(|spec| {
            let kafka = &spec.values.kafka;
            vec![kafka.broadcast_topic.clone(), kafka.logging_topic.clone()]
        });
        let Some(instance) = self.instances.get_mut(uid) else { return };
        let prober = Prober::idle(now);
        instance.run = Some(Run { id: run, began: now, started: false, ready_since: None, prober });
        (instance.restart_at, instance.endpoints_version) = (None, 0);
        instance.enter(ReplicaPhase::Starting, now);
        let (name, ordinal, node) = (instance.name.to_string(), instance.ordinal, instance.node);
        let launch = match &instance.template {
            Template::Service(template) => {
                let template = Arc::clone(template);
                Launch::Replica { service: template.kind, name, ordinal, node, template }
            }
            Template::Gateway(template) => {
                Launch::Gateway { name, ordinal, node, template: Arc::clone(template) }
            }
            Template::Part(template) => {
                Launch::Part { template: Arc::clone(template), topics: topics.unwrap_or_default() }
            }
        };
        if let Workload::Service(service) = instance.workload {
            let event = EventKind::PodStarting {
                service: service.name().to_owned(),
                pod: instance.name.to_string(),
                node: node_name(node),
                restarts: instance.restarts,
            };
            self.event(event);
        }
        self.effect(Effect::Start { run, launch });
        self.dirty();
    }

    pub(crate) fn started(&mut self, run: RunId, result: Result<Started, String>, now: Time) {
        let Some(instance) = self.running(run) else { return };
        let uid = instance.uid;
        // A repeated report counts once.
        if instance.run.as_mut().is_none_or(|run| std::mem::replace(&mut run.started, true)) {
            return;
        }
        match result {
            Ok(started) => {
                (instance.address, instance.detail) = (started.address, started.detail);
                let probes = instance.readiness().is_some();
                if let Some(run) = instance.run.as_mut().filter(|_| probes) {
                    run.prober.begin(now);
                }
                if !probes {
                    self.became_ready(uid, Probed::default(), now);
                }
            }
            Err(reason) => self.ended_as(uid, &Exit::NotStarted(reason), Duration::ZERO, now),
        }
    }

    pub(crate) fn probed(&mut self, run: RunId, result: Result<Probed, ProbeFailure>, now: Time) {
        let Some(instance) = self.running(run) else { return };
        let uid = instance.uid;
        let Some(settings) = instance.readiness() else { return };
        let Some(run) = &mut instance.run else { return };
        let news = run.prober.answered(result.is_ok(), settings, now);
        match (news, result) {
            (Some(News::Ready), Ok(probed)) => self.became_ready(uid, probed, now),
            (Some(News::Unready), Err(failure)) => self.became_unready(uid, failure, now),
            _ => {}
        }
    }

    fn became_ready(&mut self, uid: u64, probed: Probed, now: Time) {
        let came_up = self.came_up;
        let Some(instance) = self.instances.get_mut(uid) else { return };
        let Some(run) = &mut instance.run else { return };
        run.ready_since = Some(now);
        let after = now.since(run.began);
        instance.server_id = probed.server_id;
        // A draining instance stays draining, and nothing changes once it is to be killed.
        if !instance.is_active() || self.stopping.is_some() {
            return;
        }
        instance.enter(ReplicaPhase::Ready, now);
        match instance.workload {
            Workload::Service(service) => {
                let event = pod_ready(service, &instance.name, after);
                self.event(event);
            }
            Workload::Part(kind) => self.part_ready(kind, uid, now),
            Workload::Gateway(_) => {
                if instance.restarts == 0 || came_up {
                    let (part, detail) = (instance.name.to_string(), instance.detail.clone());
                    self.tell(Fact::PartReady { part, detail, after });
                }
            }
        }
        self.dirty();
    }

    fn became_unready(&mut self, uid: u64, failure: ProbeFailure, now: Time) {
        let Some(instance) = self.instances.get_mut(uid) else { return };
        // A draining instance is expected to report that it is not ready.
        if !instance.is_ready() {
            return;
        }
        instance.enter(ReplicaPhase::Unready, now);
        let fact = match &instance.template {
            Template::Service(template) => Fact::PodUnready {
                service: template.kind.name().to_owned(),
                pod: instance.name.to_string(),
                path: template.readiness.path.clone(),
                failure,
            },
            Template::Part(_) | Template::Gateway(_) => {
                Fact::Warning(Warning::PartUnready { part: instance.name.to_string(), failure })
            }
        };
        self.tell(fact);
        self.dirty();
    }

    /// Tells an instance to end, within its grace period; one that does not run is gone at once.
    pub(crate) fn end(&mut self, uid: u64, now: Time) {
        let Some(instance) = self.instances.get_mut(uid).filter(|one| one.is_active()) else { return };
        instance.draining_since = Some(now);
        instance.restart_at = None;
        instance.enter(ReplicaPhase::Draining, now);
        let run = instance.run.as_ref().map(|run| run.id);
        if run.is_some() {
            instance.kill_at = Some(now + instance.grace());
        }
        if let Workload::Service(service) = instance.workload {
            let event = EventKind::PodDraining {
                service: service.name().to_owned(),
                pod: instance.name.to_string(),
                connections: instance.series.connections(),
            };
            self.event(event);
        }
        match run {
            Some(run) => self.terminate(run),
            None => self.gone(uid, now),
        }
        self.dirty();
    }

    /// A run has ended.
    pub(crate) fn ended(&mut self, run: RunId, exit: &Exit, now: Time) {
        let Some(instance) = self.running(run) else { return };
        let uid = instance.uid;
        let ran = instance.run.as_ref().map_or(Duration::ZERO, |run| now.since(run.began));
        self.ended_as(uid, exit, ran, now);
    }

    fn ended_as(&mut self, uid: u64, exit: &Exit, ran: Duration, now: Time) {
        let stopping = self.stopping.is_some();
        let Some(instance) = self.instances.get_mut(uid) else { return };
        instance.run = None;
        instance.kill_at = None;
        instance.series.miss();
        if instance.is_active() && !stopping {
            self.crashed(uid, exit, ran, now);
        } else {
            self.gone(uid, now);
        }
        self.dirty();
    }

    fn gone(&mut self, uid: u64, now: Time) {
        let Some(instance) = self.instances.remove(uid) else { return };
        let after = now.since(instance.draining_since.unwrap_or(now));
        match instance.workload {
            Workload::Service(kind) => {
                if let Some(ordinals) = self.ordinals.get_mut(&kind) {
                    ordinals.give_back(instance.ordinal, now);
                }
                self.event(EventKind::PodGone {
                    service: kind.name().to_owned(),
                    pod: instance.name.to_string(),
                    after_ms: milliseconds(after),
                    forced: instance.forced,
                });
            }
            Workload::Gateway(_) => self.gateways.ordinals.give_back(instance.ordinal, now),
            Workload::Part(kind) => {
                let part = kind.name().to_owned();
                self.event(EventKind::PartStopped { part, after_ms: milliseconds(after) });
            }
        }
        self.dirty();
    }

    /// It died without having been told to end.
    fn crashed(&mut self, uid: u64, exit: &Exit, ran: Duration, now: Time) {
        let (came_up, waits) = (self.came_up, self.somebody_waits());
        let is_current = self.instances.get(uid).is_some_and(|one| self.is_current(one));
        let Some(instance) = self.instances.get_mut(uid) else { return };
        let was_ready = matches!(instance.phase, ReplicaPhase::Ready | ReplicaPhase::Unready);
        let first = instance.restarts == 0;
        let name = instance.name.to_string();
        // A bring-up fails with the first replica that dies: nothing is restarted.
        let is_end = waits && !came_up && matches!(instance.workload, Workload::Service(_));
        let restart_in = (!instance.stay_dead && !is_end).then(|| {
            let delay = instance.backoff.next(ran);
            let is_gateway = matches!(instance.workload, Workload::Gateway(_));
            let never_ran = is_gateway && matches!(exit, Exit::NotStarted(_));
            if never_ran { delay.max(GATEWAY_RETRY_MIN) } else { delay }
        });
        instance.server_id = None;
        instance.restart_at = restart_in.map(|delay| now + delay);
        let phase = if restart_in.is_some() { ReplicaPhase::BackOff } else { ReplicaPhase::Stopped };
        instance.enter(phase, now);
        // An instance that dies right after its start would do so again: the waiting client gets an error.
        let (fact, fails_change) = match instance.workload {
            Workload::Service(service) => {
                let (service, pod) = (service.name().to_owned(), name.clone());
                let fact = Fact::PodCrashed { service, pod, exit: exit.clone(), restart_in };
                (Some(fact), is_end || waits && !was_ready && first && is_current)
            }
            Workload::Gateway(_) => {
                let (gateway, exit) = (name.clone(), exit.clone());
                let warning = if was_ready {
                    let restart_in = restart_in.unwrap_or_default();
                    Some(Warning::GatewayDied { gateway, exit, restart_in })
                } else {
                    (!waits).then_some(Warning::GatewayNotUp { gateway, exit })
                };
                (warning.map(Fact::Warning), !was_ready && waits && is_current)
            }
            Workload::Part(kind) => {
                let awaited = self.parts.get(&kind).is_some_and(|part| part.awaited);
                let restart_in = restart_in.unwrap_or_default();
                let warning = Warning::PartDied { part: name.clone(), exit: exit.clone(), restart_in };
                let fails = awaited && waits;
                ((!fails).then_some(Fact::Warning(warning)), fails)
            }
        };
        if let Some(fact) = fact {
            self.tell(fact);
        }
        if fails_change {
            self.change_failed(Trouble::NotUp { name, exit: exit.clone() }, now);
        }
    }

    /// Does everything that is due for one instance now.
    pub(crate) fn fire_instance(&mut self, uid: u64, now: Time) {
        let Some(instance) = self.instances.get_mut(uid) else { return };
        let is_over = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if is_over(instance.kill_at) {
            (instance.kill_at, instance.forced) = (None, true);
            if let Some(run) = instance.run.as_ref().map(|run| run.id) {
                self.effect(Effect::Kill { run });
            }
            return;
        }
        if is_over(instance.restart_at) {
            instance.restart_at = None;
            if self.stopping.is_none() {
                self.restart(uid, now);
            }
            return;
        }
        let timeout = instance.readiness().map(|settings| settings.timeout);
        if let Some(run) = &mut instance.run
            && run.prober.is_due(now)
            && let Some(timeout) = timeout
        {
            let run = run.id;
            self.effect(Effect::Probe { run, timeout });
        }
    }

    /// Restarts a dead instance in its place, from the current template.
    pub(crate) fn restart(&mut self, uid: u64, now: Time) {
        let Some(instance) = self.instances.get(uid) else { return };
        let template = match instance.workload {
            Workload::Service(kind) => self.services.get(&kind).and_then(|service| service.template.clone()),
            Workload::Gateway(_) | Workload::Part(_) => None,
        };
        let Some(instance) = self.instances.get_mut(uid) else { return };
        if let Some(template) = template {
            instance.template = Template::Service(template);
        }
        instance.restarts += 1;
        self.begin(uid, now);
    }

    /// Whether an instance is in its desired state.
    pub(crate) fn is_current(&self, instance: &Instance) -> bool {
        match (instance.workload, &instance.template) {
            (Workload::Service(kind), Template::Service(own)) => {
                let wanted = self.services.get(&kind).and_then(|service| service.template.as_ref());
                wanted.is_some_and(|wanted| same(own, wanted))
            }
            (Workload::Gateway(port), Template::Gateway(own)) => {
                self.gateways.template(port).is_some_and(|wanted| same(own, wanted))
            }
            _ => true,
        }
    }

    fn running(&mut self, run: RunId) -> Option<&mut Instance> {
        self.instances.iter_mut().find(|one| one.runs_as(run))
    }
}

/// An event of a replica, with the common fields.
fn pod_ready(service: ServiceKind, pod: &str, after: Duration) -> EventKind {
    EventKind::PodReady {
        service: service.name().to_owned(),
        pod: pod.to_owned(),
        after_ms: milliseconds(after),
    }
}
