//! Applies values, for the first time or after a change.

use std::{collections::BTreeMap, sync::Arc};

use platform::{
    EventKind, PartKind, ServiceKind, TargetError,
    event::{GatewayInfo, ServiceInfo},
    values::{self, SettingChange, Values},
};

use crate::{
    Apply, Controller, Fact, Failure, RequestId, Time,
    autoscaling::Hpa,
    controller::{Pending, Spec},
    facts::{Change, Trouble},
    instance::Workload,
    parts::{self, Part, Wanted},
    template::Source,
};

/// The autoscalers that the values require, by service. Created before anything is changed, since a spec may be invalid.
type Autoscalers = BTreeMap<ServiceKind, Hpa>;

impl Controller {
    pub(crate) fn apply(&mut self, id: RequestId, apply: Apply, now: Time) {
        if let Err(error) = self.possible(&apply) {
            self.reply(id, Err(Failure::from(error)));
            return;
        }
        let Apply { values, nodes, programs, obstacle } = apply;
        let autoscalers = match obstacle.map_or_else(|| autoscalers(&values), Err) {
            Ok(autoscalers) => autoscalers,
            Err(obstacle) => {
                self.apply_failed(id, Trouble::Obstacle(obstacle), now);
                return;
            }
        };
        self.dirty();
        self.pending.push(Pending { id, since: now, changes: Vec::new(), settings: Vec::new() });
        let before = self.spec.replace(Spec { values: Arc::clone(&values), nodes, programs });
        let (changes, settings) = match before {
            None => (self.build(&values, nodes, autoscalers), Vec::new()),
            Some(before) => {
                let settings = settings(&before, &values, nodes);
                (self.change(&before, &values, autoscalers, now), settings)
            }
        };
        self.templates_stale = true;
        if let Some(pending) = self.pending.last_mut() {
            (pending.changes, pending.settings) = (changes, settings);
        }
    }

    /// Reports unsupported settings before anything is changed.
    fn possible(&self, apply: &Apply) -> Result<(), TargetError> {
        if self.stopping.is_some() {
            let message = format!("{} is being taken down", self.platform);
            return Err(TargetError::Temporary { message });
        }
        let most = self.capacity.nodes;
        if apply.nodes == 0 || apply.nodes > most {
            return Err(TargetError::Invalid {
                message: format!("{} nodes: expected 1 to {most}", apply.nodes),
            });
        }
        self.check_memory(&apply.values)
    }

    fn build(&mut self, values: &Values, nodes: u32, mut autoscalers: Autoscalers) -> Vec<Change> {
        let programs = self.spec.as_ref().map(|spec| spec.programs.clone()).unwrap_or_default();
        for kind in PartKind::ALL {
            self.parts.insert(kind, Part::new(parts::wanted(kind, values, &programs)));
        }
        for service in values.enabled_services() {
            self.add_service(service, autoscalers.remove(&service.kind));
        }
        let started = self.platform_started(values, nodes);
        self.event(started);
        for kind in PartKind::ALL {
            if let Some(Wanted::Given(address)) = self.parts.get(&kind).map(|part| part.wanted.clone()) {
                self.tell(Fact::PartGiven { part: kind.name().to_owned(), address });
            }
        }
        vec![Change::BroughtUp { platform: self.platform.clone(), nodes }]
    }

    /// Applies the changes, and returns them.
    fn change(
        &mut self,
        before: &Spec,
        values: &Values,
        mut autoscalers: Autoscalers,
        now: Time,
    ) -> Vec<Change> {
        let Some(spec) = self.spec.clone() else { return Vec::new() };
        let mut changes = Vec::new();
        if before.nodes != spec.nodes {
            changes.push(Change::Nodes { from: before.nodes, to: spec.nodes });
        }
        for kind in PartKind::ALL {
            let wanted = parts::wanted(kind, values, &spec.programs);
            let Some(part) = self.parts.get_mut(&kind) else { continue };
            let part_name = || kind.name().to_owned();
            if std::mem::take(&mut part.stopped) {
                changes.push(Change::Resumed { name: part_name() });
            }
            if part.change(wanted) {
                changes.push(Change::Part { part: part_name(), now: in_words(&part.wanted) });
            }
        }
        for wanted in values.services() {
            let (kind, hpa) = (wanted.kind, autoscalers.remove(&wanted.kind));
            match (self.services.contains_key(&kind), wanted.enabled) {
                (false, false) => {}
                (false, true) => {
                    changes.push(Change::ServiceOn { service: wanted.name.clone() });
                    self.add_service(wanted, hpa);
                }
                (true, false) => self.switch_off(kind, &mut changes),
                (true, true) => {
                    self.change_service(wanted, before.values.service(&wanted.name), hpa, &mut changes);
                }
            }
        }
        // A listener's policy is a setting of its gateways.
        let place = |one: &values::Listener| (one.name.clone(), one.protocol, one.port, one.service.clone());
        if !before.values.listeners().map(place).eq(values.listeners().map(place)) {
            changes.push(Change::Listeners);
        }
        if before.values.metrics != values.metrics {
            changes.push(Change::Metrics);
            self.change_pipeline(now);
        }
        changes
    }

    fn switch_off(&mut self, kind: ServiceKind, changes: &mut Vec<Change>) {
        let Some(service) = self.services.get_mut(&kind).filter(|service| !service.is_off) else { return };
        (service.is_off, service.hpa) = (true, None);
        changes.push(Change::ServiceOff { service: kind.name().to_owned() });
    }

    fn change_service(
        &mut self,
        wanted: &values::Service,
        before: Option<&values::Service>,
        hpa: Option<Hpa>,
        changes: &mut Vec<Change>,
    ) {
        let Some(service) = self.services.get_mut(&wanted.kind) else { return };
        let name = || wanted.name.clone();
        let was_off = std::mem::take(&mut service.is_off);
        if was_off {
            changes.push(Change::ServiceOn { service: name() });
        }
        if std::mem::take(&mut service.stopped) {
            changes.push(Change::Resumed { name: name() });
        }
        match (&mut service.hpa, hpa) {
            (None, None) => {}
            (own @ None, new @ Some(_)) => {
                *own = new;
                changes.push(Change::AutoscalingOn { service: name() });
            }
            (own @ Some(_), None) => {
                *own = None;
                changes.push(Change::AutoscalingOff { service: name() });
            }
            (Some(own), Some(new)) => {
                if own.adopt(&new) {
                    changes.push(Change::Autoscaling { service: name() });
                }
            }
        }
        // As with Helm: a number that was not changed in the values does not undo a `scale`.
        let number_changed = before.is_some_and(|before| before.replicas != wanted.replicas);
        let replicas = wanted.initial_replicas();
        if (was_off || number_changed && wanted.autoscaling.is_none()) && service.desired != replicas {
            changes.push(Change::Replicas { service: name(), from: service.desired, to: replicas });
            (service.desired, service.set_by_hand) = (replicas, false);
        }
        // `up` wants all replicas to run: those that were killed for good start again.
        for replica in self.instances.iter_mut().filter(|one| one.is_of(Workload::Service(wanted.kind))) {
            if replica.is_active() && std::mem::take(&mut replica.stay_dead) {
                changes.push(Change::Revived { name: replica.name.to_string() });
            }
        }
    }

    fn platform_started(&self, values: &Values, nodes: u32) -> EventKind {
        let usual = values.gateway.rules.policy;
        let policy_of = |service: &str| {
            let listener = values.gateway.listeners.iter().find(|listener| listener.service == service)?;
            let policy = listener.rules.policy;
            (policy != usual).then(|| policy.words().to_owned())
        };
        let services = self
            .services
            .values()
            .map(|service| ServiceInfo {
                name: service.kind.name().to_owned(),
                replicas: service.desired,
                // The caller, which carries out effects, knows where clients connect.
                endpoint: None,
                autoscaled: service.hpa.as_ref().map(|hpa| [hpa.bounds().0, hpa.bounds().1]),
                targets_milli: service.hpa.as_ref().map(Hpa::targets_milli).unwrap_or_default(),
                policy: policy_of(service.kind.name()),
            })
            .collect();
        EventKind::PlatformStarted {
            platform: self.platform.clone(),
            target: self.location.clone(),
            nodes,
            gateway: GatewayInfo {
                kind: values.gateway.kind.as_str().to_owned(),
                policy: values.gateway.rules.policy.words().to_owned(),
            },
            services,
        }
    }
}

/// Which settings differ from the previous ones.
fn settings(before: &Spec, values: &Values, nodes: u32) -> Vec<SettingChange> {
    let of_nodes =
        || SettingChange { key: "nodes".to_owned(), old: Some(before.nodes.into()), new: Some(nodes.into()) };
    let nodes = (before.nodes != nodes).then(of_nodes);
    nodes.into_iter().chain(values.changes_since(&before.values)).collect()
}

fn autoscalers(values: &Values) -> Result<Autoscalers, String> {
    values
        .enabled_services()
        .filter_map(|service| Some((service, service.autoscaling.as_ref()?)))
        .map(|(service, spec)| match Hpa::new(spec) {
            Ok(hpa) => Ok((service.kind, hpa)),
            Err(error) => Err(format!("{}.autoscaling: {error}", service.name)),
        })
        .collect()
}

fn in_words(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Off => "off".to_owned(),
        Wanted::Given(address) => format!("given, {address}"),
        Wanted::Own(template) => match &template.source {
            Source::Embedded => "embedded".to_owned(),
            Source::Server { program } => format!("a server of its own, {program}"),
        },
    }
}
