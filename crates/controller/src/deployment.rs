//! Services: how many replicas they have, which ones start and which ones stop.

use std::sync::Arc;

use platform::{
    EventKind, ServiceKind,
    target::{Decided, ReplicaPhase},
    values::{self, Values},
};

use crate::{
    Controller, Fact, Time,
    autoscaling::Hpa,
    deletion::{self, Candidate},
    facts::{Change, Warning},
    instance::{Instance, Workload},
    ordinals::Ordinals,
    template::{Backends, ServiceTemplate, Template, same},
};

/// One service of the platform.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) kind: ServiceKind,
    /// Switched off in the values; removed with its last replica.
    pub(crate) is_off: bool,
    /// The template of its replicas; `None` until the parts that it depends on are available.
    pub(crate) template: Option<Arc<ServiceTemplate>>,
    /// The desired number of replicas.
    pub(crate) desired: u32,
    /// Stopped by hand: no replica runs, whatever number is desired.
    pub(crate) stopped: bool,
    /// The number was set by hand, and neither the autoscaler nor a balancer has changed it since.
    pub(crate) set_by_hand: bool,
    /// The number of replicas without a place.
    pub(crate) without_place: u32,
    pub(crate) hpa: Option<Hpa>,
    /// A balancer's last orders.
    pub(crate) balanced: Option<Decided>,
    /// Changes of the number that it has announced but not made yet.
    pub(crate) announced: Vec<String>,
}

impl Service {
    /// How many replicas there should be now.
    pub(crate) fn effective(&self) -> u32 {
        if self.stopped || self.is_off { 0 } else { self.desired }
    }
}

impl Controller {
    pub(crate) fn replicas(&self, kind: ServiceKind) -> impl Iterator<Item = &Instance> {
        self.instances_of(Workload::Service(kind))
    }

    /// Whether it is in the desired state: as many ready replicas of the current template as desired, and no others.
    /// Replicas that have no place are not waited for.
    pub(crate) fn is_service_settled(&self, service: &Service) -> bool {
        let mut done = 0;
        for replica in self.replicas(service.kind).filter(|one| one.is_active()) {
            if !self.is_done(replica) {
                return false;
            }
            done += 1;
        }
        done + service.without_place == service.effective()
    }

    /// Recomputes the templates of replicas; returns the services whose template changed.
    pub(crate) fn change_service_templates(&mut self, values: &Values, backends: &Backends) -> Vec<Change> {
        let mut changes = Vec::new();
        for service in self.services.values_mut() {
            let Some(wanted) = values.service(service.kind.name()).filter(|wanted| wanted.enabled) else {
                continue;
            };
            let template = Arc::new(ServiceTemplate::new(wanted, backends));
            match &service.template {
                Some(before) if same(before, &template) => {}
                before => {
                    if before.is_some() {
                        changes.push(Change::Template { service: service.kind.name().to_owned() });
                    }
                    service.template = Some(template);
                }
            }
        }
        changes
    }

    /// Starts and drains replicas until there are as many as there should be.
    pub(crate) fn settle_services(&mut self, now: Time) {
        for kind in ServiceKind::ALL {
            let Some(service) = self.services.get(&kind) else { continue };
            let Some(template) = service.template.clone() else { continue };
            let (effective, before) = (service.effective(), service.without_place);
            if self.is_steady(kind, &template, effective) {
                if let Some(service) = self.services.get_mut(&kind) {
                    service.without_place = 0;
                }
                continue;
            }
            let views: Vec<View> = self
                .replicas(kind)
                .filter(|one| one.is_active())
                .map(|one| View { current: is_of(one, &template), candidate: candidate(one, &template) })
                .collect();
            let plan = plan(effective, &views, now);
            for uid in plan.drain {
                self.end(uid, now);
            }
            let mut without_place = 0;
            for _ in 0..plan.start {
                if !self.add_replica(kind, &template, now) {
                    without_place += 1;
                }
            }
            if let Some(service) = self.services.get_mut(&kind) {
                service.without_place = without_place;
            }
            if before == 0 && without_place > 0 {
                let service = kind.name().to_owned();
                self.tell(Fact::Warning(Warning::NoPlace { service, pending: without_place }));
            }
            let revived: Vec<u64> = self
                .replicas(kind)
                .filter(|one| one.is_active() && one.phase == ReplicaPhase::Stopped && !one.stay_dead)
                .map(|one| one.uid)
                .collect();
            for uid in revived {
                self.restart(uid, now);
            }
        }
        // A service that was switched off is forgotten with its last replica.
        let instances = &self.instances;
        self.services.retain(|kind, service| {
            !service.is_off || instances.iter().any(|one| one.is_of(Workload::Service(*kind)))
        });
    }

    /// Whether there are as many replicas as there should be, none of them is old, and none waits to be revived.
    fn is_steady(&self, kind: ServiceKind, template: &Arc<ServiceTemplate>, effective: u32) -> bool {
        let mut count = 0;
        for one in self.replicas(kind).filter(|one| one.is_active()) {
            if !is_of(one, template) || one.phase == ReplicaPhase::Stopped {
                return false;
            }
            count += 1;
        }
        count == effective
    }

    /// Whether there was a place for one more.
    fn add_replica(&mut self, kind: ServiceKind, template: &Arc<ServiceTemplate>, now: Time) -> bool {
        let nodes = self.spec.as_ref().map_or(1, |spec| spec.nodes);
        // The node with the fewest replicas.
        let node = (0..nodes).min_by_key(|node| {
            self.replicas(kind).filter(|one| one.is_active() && one.node == *node).count()
        });
        if self.replicas(kind).count() >= self.capacity.replicas as usize {
            return false;
        }
        let ordinals = self.ordinals.entry(kind).or_insert_with(|| Ordinals::new(self.capacity.ordinals));
        let Some(ordinal) = ordinals.take(now) else { return false };
        let name = format!("{kind}-{ordinal}");
        let template = Template::Service(Arc::clone(template));
        self.create(Workload::Service(kind), &name, ordinal, node.unwrap_or(0), template, now);
        true
    }

    /// Adds a service; its replicas start once their backends are up.
    pub(crate) fn add_service(&mut self, wanted: &values::Service, hpa: Option<Hpa>) {
        let service = Service {
            kind: wanted.kind,
            is_off: false,
            template: None,
            desired: wanted.initial_replicas(),
            stopped: false,
            set_by_hand: false,
            without_place: 0,
            hpa,
            balanced: None,
            announced: Vec::new(),
        };
        self.services.insert(wanted.kind, service);
    }

    /// Sets the desired number of replicas, by hand or as a balancer has just announced.
    pub(crate) fn set_desired(&mut self, kind: ServiceKind, replicas: u32) -> u32 {
        let Some(service) = self.services.get_mut(&kind) else { return replicas };
        let from = std::mem::replace(&mut service.desired, replicas);
        if from != replicas {
            let ordered = format!("{from} → {replicas}");
            let place = service.announced.iter().position(|announced| *announced == ordered);
            service.set_by_hand = place.is_none();
            match place {
                // A later repetition of the same change comes from somebody else.
                Some(place) => drop(service.announced.drain(..=place)),
                // The announcement was about another number, and no longer applies.
                None => service.announced.clear(),
            }
            self.event(EventKind::ReplicasSet { service: kind.name().to_owned(), from, to: replicas });
        }
        from
    }
}

fn is_of(replica: &Instance, template: &Arc<ServiceTemplate>) -> bool {
    matches!(&replica.template, Template::Service(own) if same(own, template))
}

fn candidate(replica: &Instance, template: &ServiceTemplate) -> Candidate {
    let run = replica.run.as_ref();
    Candidate {
        uid: replica.uid,
        node: replica.node,
        running: run.is_some(),
        ready_since: run.filter(|_| replica.is_ready()).and_then(|run| run.ready_since),
        deletion_cost: replica.deletion_cost(template),
        restarts: replica.restarts,
        created: replica.created,
    }
}

/// The rollout's view of a replica.
#[derive(Debug, Clone)]
struct View {
    /// It has the current template.
    current: bool,
    candidate: Candidate,
}

/// The necessary steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Plan {
    /// How many replicas of the current template to start.
    start: u32,
    /// Which ones to drain.
    drain: Vec<u64>,
}

/// Scaling and rolling replacement, as a Deployment with `maxSurge: 1` and `maxUnavailable: 0`: one replica more
/// than desired is started, and an old one goes when the new one is ready.
fn plan(desired: u32, replicas: &[View], now: Time) -> Plan {
    let desired = desired as usize;
    let (current, old): (Vec<&View>, Vec<&View>) = replicas.iter().partition(|view| view.current);
    let start = (desired + 1).saturating_sub(replicas.len()).min(desired.saturating_sub(current.len()));

    let mut drain = Vec::new();
    let mut ready = replicas.iter().filter(|view| view.candidate.ready_since.is_some()).count();
    let mut left = replicas.len();
    for candidate in in_order(&old, now) {
        let is_ready = candidate.ready_since.is_some();
        if left > desired && (!is_ready || ready > desired) {
            drain.push(candidate.uid);
            left -= 1;
            ready -= usize::from(is_ready);
        }
    }
    // After a scale-down during a rollout, the surge stays the same: starting replicas go first.
    let excess = current.len().saturating_sub(desired).max(left.saturating_sub(desired + 1));
    if excess > 0 {
        drain.extend(in_order(&current, now).into_iter().take(excess).map(|candidate| candidate.uid));
    }
    Plan { start: u32::try_from(start).unwrap_or(u32::MAX), drain }
}

fn in_order(views: &[&View], now: Time) -> Vec<Candidate> {
    let candidates: Vec<Candidate> = views.iter().map(|view| view.candidate.clone()).collect();
    deletion::order(&candidates, now).into_iter().map(|index| candidates[index].clone()).collect()
}

#[cfg(test)]
mod tests;
