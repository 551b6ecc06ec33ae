//! Clients' requests, except for bringing the platform up and taking it down.

use platform::{
    PartKind, ServiceKind, TargetError,
    target::{Case, Drained, Killed, Pick, Scaled, Started, Stopped, Subject},
};

use crate::{
    Controller, Effect, Reply, RunId, Time,
    autoscaling::Hpa,
    deployment::Service,
    in_memory,
    instance::{Instance, Workload},
    parts::Wanted,
};

/// The command line's name for gateways.
const GATEWAY: &str = "gateway";

pub(crate) type Answer = Result<Reply, TargetError>;
/// The current loads of runs.
type Loads = [(RunId, u64)];

/// The meaning of a name.
enum Named {
    Service(ServiceKind),
    Part(PartKind),
    Gateways,
}

impl Controller {
    pub(crate) fn scale(&mut self, name: &str, replicas: u32) -> Answer {
        let kind = self.service_that_is_on(name)?;
        let most = self.capacity.replicas;
        if replicas > most {
            let message = format!("{replicas} replicas of {name}: expected 0 to {most}");
            return Err(TargetError::Invalid { message });
        }
        if self.is_in_memory(kind) {
            in_memory::one_at_most(replicas)?;
        }
        let from = self.set_desired(kind, replicas);
        let autoscaled = self.services.get(&kind).and_then(|service| service.hpa.as_ref()).map(Hpa::bounds);
        Ok(Reply::Scaled(Scaled { from, to: replicas, autoscaled }))
    }

    pub(crate) fn kill(&mut self, what: &Subject, restart: bool, loads: &Loads, now: Time) -> Answer {
        let uid = match self.named(&what.name)? {
            Named::Service(kind) => self.pick(kind, &what.replica, loads)?,
            Named::Gateways => self.pick_gateway(&what.replica)?,
            Named::Part(kind) => self.part_process(kind)?,
        };
        let Some(instance) = self.instances.get_mut(uid) else { return Err(gone(what)) };
        let name = instance.name.to_string();
        let Some(run) = &instance.run else {
            return Err(match instance.restart_at {
                Some(at) => {
                    let seconds = at.since(now).as_secs();
                    let message = format!("{name} does not run: it died, and starts again in {seconds} s");
                    TargetError::Temporary { message }
                }
                None => TargetError::Other {
                    message: format!("{name} does not run; start it with: playctl start {what}"),
                },
            });
        };
        let (run, ran) = (run.id, now.since(run.began));
        let draining = !instance.is_active();
        let stays_dead = !restart && matches!(instance.workload, Workload::Service(_));
        if !restart && !stays_dead {
            let message = match instance.workload {
                Workload::Gateway(_) => format!(
                    "{name} always starts again, as every node has a gateway; to remove a node: playctl node remove"
                ),
                _ => format!("{name} always starts again; to end it for good: playctl stop {}", what.name),
            };
            return Err(TargetError::Invalid { message });
        }
        instance.stay_dead = stays_dead;
        let restart_in = (restart && !draining).then(|| instance.backoff.peek(ran));
        self.effect(Effect::Kill { run });
        let killed = Killed { replica: name, pid: None, draining, replaced: false, restart_in };
        Ok(Reply::Killed { run, killed })
    }

    pub(crate) fn drain(&mut self, what: &Subject, loads: &Loads, now: Time) -> Answer {
        let uid = match self.named(&what.name)? {
            Named::Service(kind) => self.pick(kind, &what.replica, loads)?,
            Named::Gateways => self.pick_gateway(&what.replica)?,
            Named::Part(_) => {
                let why = format!(
                    "only replicas and gateways drain; a part is stopped: playctl stop {}",
                    what.name
                );
                return Err(TargetError::Unsupported { what: format!("drain {what}"), why });
            }
        };
        let Some(instance) = self.instances.get(uid) else { return Err(gone(what)) };
        if !instance.is_active() {
            let message = format!("{} is draining already", instance.name);
            return Err(TargetError::Other { message });
        }
        let run = instance.run.as_ref().map(|run| run.id);
        let load = run.and_then(|run| load(run, loads)).or(instance.series.connections());
        let drained =
            Drained { replica: instance.name.to_string(), connections: load, grace: instance.grace() };
        self.end(uid, now);
        Ok(Reply::Drained { run, drained })
    }

    pub(crate) fn stop_subject(&mut self, what: &Subject) -> Answer {
        let name = what.name.clone();
        let was_running = match (self.named(&what.name)?, &what.replica) {
            (Named::Service(_), Pick::Unnamed) => {
                let kind = self.service_that_is_on(&what.name)?;
                let Some(service) = self.services.get_mut(&kind) else { return Err(gone(what)) };
                let (was, desired) = (std::mem::replace(&mut service.stopped, true), service.desired);
                if !was && desired > 0 {
                    self.event(replicas_set(kind, desired, 0));
                }
                !was
            }
            (Named::Part(kind), Pick::Unnamed) => {
                self.own_part(kind, "stop")?;
                let Some(part) = self.parts.get_mut(&kind) else { return Err(gone(what)) };
                !std::mem::replace(&mut part.stopped, true)
            }
            (Named::Gateways, _) => {
                let why =
                    "clients come in through the gateways; kill and drain work on one of them".to_owned();
                return Err(TargetError::Unsupported { what: format!("stop {what}"), why });
            }
            (_, _) => {
                let message = format!(
                    "stop {what}: only a service or a part is stopped; for one replica: playctl drain {what}, \
                     or playctl kill {what} --no-restart"
                );
                return Err(TargetError::Invalid { message });
            }
        };
        Ok(Reply::Stopped(Stopped { name, was_running }))
    }

    pub(crate) fn start_subject(&mut self, what: &Subject) -> Answer {
        let (name, was_stopped) = match (self.named(&what.name)?, &what.replica) {
            (Named::Service(_), Pick::Unnamed) => {
                let kind = self.service_that_is_on(&what.name)?;
                let Some(service) = self.services.get_mut(&kind) else { return Err(gone(what)) };
                let (was, desired) = (std::mem::take(&mut service.stopped), service.desired);
                if was && desired > 0 {
                    self.event(replicas_set(kind, 0, desired));
                }
                let revived = self.revive(kind, None);
                (what.name.clone(), was || revived)
            }
            (Named::Part(kind), Pick::Unnamed) => {
                self.own_part(kind, "start")?;
                let Some(part) = self.parts.get_mut(&kind) else { return Err(gone(what)) };
                (what.name.clone(), std::mem::take(&mut part.stopped))
            }
            (Named::Service(kind), Pick::Named(replica)) => {
                let uid = self.pick(kind, &what.replica, &[])?;
                let name =
                    self.instances.get(uid).map_or_else(|| replica.clone(), |one| one.name.to_string());
                (name, self.revive(kind, Some(uid)))
            }
            (_, _) => {
                let message = format!("start {what}: expected a service, a part, or one replica by its name");
                return Err(TargetError::Invalid { message });
            }
        };
        Ok(Reply::Started(Started { name, was_stopped }))
    }

    /// Lets replicas that were killed for good start again, even those that have not ended yet; returns whether there
    /// were any.
    fn revive(&mut self, kind: ServiceKind, only: Option<u64>) -> bool {
        let mut revived = false;
        for one in self.instances.iter_mut().filter(|one| one.is_of(Workload::Service(kind))) {
            if only.is_none_or(|uid| one.uid == uid) {
                revived |= one.is_active() && std::mem::take(&mut one.stay_dead);
            }
        }
        revived
    }

    fn named(&self, name: &str) -> Result<Named, TargetError> {
        self.runs()?;
        if name == GATEWAY {
            return Ok(Named::Gateways);
        }
        if let Some(kind) = PartKind::by_name(name) {
            return Ok(Named::Part(kind));
        }
        self.known_service(name).map(Named::Service).map_err(|error| match error {
            TargetError::UnknownService { service, mut known } => {
                let own = |kind: &PartKind| {
                    self.parts.get(kind).is_some_and(|part| matches!(part.wanted, Wanted::Own(_)))
                };
                let parts = PartKind::ALL.into_iter().filter(own).map(|kind| kind.name().to_owned());
                known.extend(std::iter::once(GATEWAY.to_owned()).chain(parts));
                TargetError::UnknownService { service, known }
            }
            other => other,
        })
    }

    fn runs(&self) -> Result<(), TargetError> {
        let runs = self.spec.is_some() && self.stopping.is_none();
        runs.then_some(()).ok_or_else(|| TargetError::NotRunning { platform: self.platform.clone() })
    }

    /// A service, even one that was switched off and whose replicas are still ending.
    pub(crate) fn known_service(&self, name: &str) -> Result<ServiceKind, TargetError> {
        self.find_service(name, |_| true)
    }

    /// A service whose number of replicas can be set.
    fn service_that_is_on(&self, name: &str) -> Result<ServiceKind, TargetError> {
        self.find_service(name, |service| !service.is_off)
    }

    fn find_service(&self, name: &str, counts: fn(&Service) -> bool) -> Result<ServiceKind, TargetError> {
        self.runs()?;
        let known = || self.services.values().filter(|one| counts(one)).map(|one| one.kind);
        known().find(|kind| kind.name() == name).ok_or_else(|| TargetError::UnknownService {
            service: name.to_owned(),
            known: known().map(|kind| kind.name().to_owned()).collect(),
        })
    }

    /// The replica in question.
    pub(crate) fn pick(&self, kind: ServiceKind, pick: &Pick, loads: &Loads) -> Result<u64, TargetError> {
        let running = || self.replicas(kind).filter(|one| one.is_active() && one.run.is_some());
        // The oldest of equally loaded ones.
        let loaded = |one: &&Instance| {
            let now = one.run.as_ref().and_then(|run| load(run.id, loads));
            let packets = one.series.packets_per_second().map(|packets| packets as u64);
            now.or(one.series.connections()).or(packets).unwrap_or(0)
        };
        let found = match pick {
            Pick::Named(name) => {
                let named = self.replicas(kind).find(|one| &*one.name == name.as_str());
                let known = || self.replicas(kind).map(|one| one.name.to_string()).collect();
                return named.map(|one| one.uid).ok_or_else(|| TargetError::UnknownReplica {
                    service: kind.name().to_owned(),
                    replica: name.clone(),
                    known: known(),
                });
            }
            Pick::Unnamed => running().min_by_key(|one| one.ordinal),
            Pick::Fullest => running().max_by_key(|one| (loaded(one), std::cmp::Reverse(one.uid))),
            Pick::Emptiest => running().min_by_key(|one| (loaded(one), one.uid)),
        };
        let none = || {
            let message = format!("no replica of {kind} is running; playctl status shows what is");
            TargetError::Other { message }
        };
        found.map(|one| one.uid).ok_or_else(none)
    }

    /// `node-0`, or the whole name of a gateway.
    fn pick_gateway(&self, pick: &Pick) -> Result<u64, TargetError> {
        let active = || {
            let gateways = self.instances.iter().filter(|one| one.is_active());
            gateways.filter(|one| matches!(one.workload, Workload::Gateway(_)))
        };
        let found = match pick {
            Pick::Named(name) => active()
                .find(|one| &*one.name == name.as_str() || one.name[..] == format!("{GATEWAY}-{name}")),
            Pick::Unnamed => active().next(),
            Pick::Fullest | Pick::Emptiest => {
                let message = format!("expected one gateway by its node, such as {GATEWAY}/node-0");
                return Err(TargetError::Invalid { message });
            }
        };
        let known: Vec<String> = active().map(|one| one.name.to_string()).collect();
        found.map(|one| one.uid).ok_or_else(|| match pick {
            Pick::Named(name) if !known.is_empty() => {
                TargetError::UnknownReplica { service: GATEWAY.to_owned(), replica: name.clone(), known }
            }
            _ => TargetError::Other {
                message: "no gateway is running; playctl status shows what is".to_owned(),
            },
        })
    }

    /// A part's process, if it has one.
    fn part_process(&self, kind: PartKind) -> Result<u64, TargetError> {
        let part = self.own_part(kind, "kill")?;
        if let Wanted::Own(template) = &part.wanted
            && template.source == crate::Source::Embedded
        {
            let why = format!("it is embedded, not a process of its own; use: playctl stop {}", kind.name());
            return Err(TargetError::Unsupported { what: format!("kill {}", kind.name()), why });
        }
        let mut processes = self.instances_of(Workload::Part(kind)).filter(|one| one.is_active());
        let none = || {
            let name = kind.name();
            TargetError::Other {
                message: format!("{name} does not run; start it with: playctl start {name}"),
            }
        };
        processes.next().map(|one| one.uid).ok_or_else(none)
    }

    /// A part that the platform starts and stops itself.
    fn own_part(&self, kind: PartKind, verb: &str) -> Result<&crate::parts::Part, TargetError> {
        let unsupported =
            |why: String| Err(TargetError::Unsupported { what: format!("{verb} {}", kind.name()), why });
        match self.parts.get(&kind) {
            Some(part) if matches!(part.wanted, Wanted::Own(_)) => Ok(part),
            Some(crate::parts::Part { wanted: Wanted::Given(address), .. }) => unsupported(format!(
                "it runs elsewhere, at {address}, and is not ours to control; do it there"
            )),
            _ if kind == PartKind::Etcd && self.own_part(PartKind::Etcd01, verb).is_ok() => {
                let members = PartKind::ETCD_MEMBERS.map(PartKind::name);
                unsupported(format!("expected one of its members: {}", members.join(", ")))
            }
            _ => unsupported("it is off on this platform".to_owned()),
        }
    }

    /// The autoscaler of a service with its history and last observation, for `explain`.
    pub fn autoscaler(&self, service: &str) -> Result<Case, TargetError> {
        let kind = self.known_service(service)?;
        let hpa = self.services.get(&kind).and_then(|service| service.hpa.as_ref());
        let not_autoscaled = || TargetError::Other { message: format!("{service} is not autoscaled") };
        hpa.ok_or_else(not_autoscaled)?.case().ok_or_else(|| TargetError::Temporary {
            message: format!(
                "the autoscaler of {service} has not run yet; it first runs one sync period after bring-up (15 s by \
                 default): try again then"
            ),
        })
    }
}

fn load(run: RunId, loads: &Loads) -> Option<u64> {
    loads.iter().find(|(of, _)| *of == run).map(|(_, load)| *load)
}

fn gone(what: &Subject) -> TargetError {
    TargetError::Other { message: format!("{what} is gone") }
}

fn replicas_set(kind: ServiceKind, from: u32, to: u32) -> platform::EventKind {
    platform::EventKind::ReplicasSet { service: kind.name().to_owned(), from, to }
}
