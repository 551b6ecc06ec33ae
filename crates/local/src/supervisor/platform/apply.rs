//! What there should be: taking over values, for the first time or changed.

use std::{net::SocketAddr, time::Instant};

use ::platform::{
    EventKind, ServiceKind, TargetError,
    target::{Applied, ReplicaPhase},
    values::{self, Protocol, Values},
};

use super::{Answer, CHANGE_DEADLINE, CustomMetrics, Message, Pending, Platform, World};
use crate::{
    kernel::port::Unusable,
    paths::PlatformPaths,
    prometheus::{config, targets::TargetFiles},
    slot::{Addresses, NODES_MAX, Ordinals, SERVICES_MAX, Slot},
    supervisor::{
        autoscaling::Hpa,
        endpoints::EndpointsFile,
        entrance::Entrance,
        environment,
        gateway::Gateways,
        parts::{Ground, Parts, Programs},
        proxy::Proxy,
        service::{Service, Template},
        telemetry::{self, Counts, Telemetry},
    },
};

impl Platform {
    pub(super) fn apply(&mut self, values: Values, nodes: u32, programs: &Programs, answer: Answer<Applied>) {
        let since = Instant::now();
        if self.stopping.is_some() {
            drop(
                answer
                    .send(Err(TargetError::Other { message: format!("{} is being taken down", self.name) })),
            );
            return;
        }
        if let Err(error) = possible(&values, nodes) {
            drop(answer.send(Err(error)));
            return;
        }
        let changed = match self.world.take() {
            None => self.build(values, nodes, programs).map(|world| {
                let started = self.started_event(&world);
                self.recorder.emit(started);
                for (part, detail) in world.parts.in_words() {
                    let after_ms = self.recorder.run_ms(Instant::now());
                    self.recorder.emit(EventKind::PartReady { part: part.to_owned(), detail, after_ms });
                }
                self.world = Some(world);
                let plural = if nodes == 1 { "" } else { "s" };
                vec![format!("{} brought up on {nodes} node{plural}", self.name)]
            }),
            Some(mut world) => {
                let changes = self.change(&mut world, values, nodes, programs);
                self.world = Some(world);
                changes
            }
        };
        self.changes += 1;
        let change = self.changes;
        match changed {
            Ok(changes) => {
                self.pending.push(Pending { change, answer, since, changes });
                self.starter.later(CHANGE_DEADLINE, Message::Overdue { change });
            }
            Err(message) => {
                self.pending.push(Pending { change, answer, since, changes: Vec::new() });
                self.change_failed(&message);
            }
        }
    }

    fn build(&self, values: Values, nodes: u32, programs: &Programs) -> Result<World, String> {
        let in_words = |error: &dyn std::fmt::Display| error.to_string();
        let slot = Slot::take(&self.paths.slots(), &self.name).map_err(|error| in_words(&error))?;
        let addresses = slot.addresses();
        let proxy = Proxy::of(&values, programs)?;
        let kind = values.gateway.kind;
        let open = |listener| Entrance::open(&self.name, addresses, listener, nodes, kind);
        let entrances: Vec<Entrance> =
            values.listeners().map(open).collect::<Result<_, _>>().map_err(|error| in_words(&error))?;
        let ground = Ground { addresses, programs, documents: &self.own.documents() };
        let parts = Parts::start(&values, ground).map_err(|error| in_words(&error))?;
        let services = values
            .services()
            .enumerate()
            .filter(|(_, service)| service.enabled)
            .map(|(index, service)| new_service(index, service, &values, &parts))
            .collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = services.iter().map(|service| service.name.clone()).collect();
        let endpoints =
            EndpointsFile::create(self.own.endpoints(), &names).map_err(|error| in_words(&error))?;
        let custom_metrics = CustomMetrics::new(&values, &parts)?;
        let telemetry = start_telemetry(addresses)?;
        let prometheus = self.own.prometheus_directory();
        config::write(&prometheus, values.metrics.scrape_interval).map_err(|error| in_words(&error))?;
        let now = Instant::now();
        let gateway_templates = gateway_templates(&entrances, &values, &parts, &self.own);
        Ok(World {
            slot,
            nodes,
            parts,
            servers: Vec::new(),
            entrances,
            services,
            gateways: Gateways::default(),
            gateway_templates,
            proxy,
            endpoints_version: tokio::sync::watch::Sender::new(endpoints.version()),
            endpoints,
            next_uid: 0,
            next_scrape: now + values.metrics.scrape_interval,
            next_sync: now + values.metrics.sync_period,
            scraping: false,
            custom_metrics,
            counts: Counts::default(),
            telemetry,
            targets: TargetFiles::new(&prometheus),
            values,
        })
    }

    /// Takes over what changed; returns it in words.
    fn change(
        &mut self,
        world: &mut World,
        values: Values,
        nodes: u32,
        programs: &Programs,
    ) -> Result<Vec<String>, String> {
        let mut changes = Vec::new();
        let proxy = Proxy::of(&values, programs)?;
        self.change_entrances(world, &values, nodes, &mut changes)?;
        let ground = Ground { addresses: world.addresses(), programs, documents: &self.own.documents() };
        changes.extend(world.parts.change(&values, ground).map_err(|error| error.to_string())?);
        for (index, wanted) in values.services().enumerate() {
            let known = world.services.iter().position(|service| service.name == wanted.name);
            match (known, wanted.enabled) {
                (None, false) => {}
                (None, true) => {
                    changes.push(format!("{}: switched on", wanted.name));
                    let service = new_service(index, wanted, &values, &world.parts)?;
                    world.services.push(service);
                }
                (Some(known), false) => {
                    let service = &mut world.services[known];
                    if service.desired > 0 {
                        changes.push(format!("{}: switched off", wanted.name));
                        (service.desired, service.hpa) = (0, None);
                    }
                }
                (Some(known), true) => {
                    let template = template(wanted, &values, &world.parts);
                    let before = world.values.service(&wanted.name).cloned();
                    change_service(
                        &mut world.services[known],
                        wanted,
                        before.as_ref(),
                        template,
                        &mut changes,
                    )?;
                    restart_stopped(&mut world.services[known], &mut changes);
                }
            }
        }
        let templates = gateway_templates(&world.entrances, &values, &world.parts, &self.own);
        // Entrances that came or went leave the gateways of the others alone.
        let changed = templates.iter().zip(&world.gateway_templates).any(|(new, old)| new != old)
            || world.proxy != proxy;
        (world.gateway_templates, world.proxy) = (templates, proxy);
        if changed {
            world.gateways.revision += 1;
            changes.push("gateway: settings changed, gateways are replaced".to_owned());
        }
        world.custom_metrics.change(CustomMetrics::new(&values, &world.parts)?);
        if world.values.metrics != values.metrics {
            let now = Instant::now();
            world.next_scrape = world.next_scrape.min(now + values.metrics.scrape_interval);
            world.next_sync = world.next_sync.min(now + values.metrics.sync_period);
            for replica in world.services.iter_mut().flat_map(|service| &mut service.replicas) {
                replica.series.set_window(values.metrics.window);
            }
            self.reconfigure_prometheus(world, values.metrics.scrape_interval)?;
            changes.push("metrics: intervals or source changed".to_owned());
        }
        world.values = values;
        Ok(changes)
    }

    fn change_entrances(
        &self,
        world: &mut World,
        values: &Values,
        nodes: u32,
        changes: &mut Vec<String>,
    ) -> Result<(), String> {
        if world.nodes != nodes {
            changes.push(format!("nodes {} → {nodes}", world.nodes));
            for entrance in &mut world.entrances {
                entrance.resize(nodes).map_err(|error| error.to_string())?;
            }
            world.nodes = nodes;
        }
        let kind = values.gateway.kind;
        for entrance in &mut world.entrances {
            entrance.serve_by(kind).map_err(|error| error.to_string())?;
        }
        let wanted: Vec<values::Listener> = values.listeners().cloned().collect();
        if wanted.iter().eq(world.entrances.iter().map(|entrance| &entrance.listener)) {
            return Ok(());
        }
        changes.push("gateway: listeners changed".to_owned());
        let addresses = world.addresses();
        let mut old = std::mem::take(&mut world.entrances);
        for listener in &wanted {
            let same = |old: &Entrance| {
                (old.listener.port, old.listener.protocol) == (listener.port, listener.protocol)
            };
            let entrance = match old.iter().position(same) {
                Some(same_port) => {
                    let mut entrance = old.swap_remove(same_port);
                    entrance.listener = listener.clone();
                    entrance
                }
                None => Entrance::open(&self.name, addresses, listener, nodes, kind)
                    .map_err(|error| error.to_string())?,
            };
            world.entrances.push(entrance);
        }
        Ok(())
    }
}

/// What this target cannot do is said before anything is touched.
fn possible(values: &Values, nodes: u32) -> Result<(), TargetError> {
    let not_yet = |what: String, why: &str| Err(TargetError::Unsupported { what, why: why.to_owned() });
    if nodes == 0 || nodes > NODES_MAX {
        return Err(TargetError::Invalid { message: format!("{nodes} nodes: expected 1 to {NODES_MAX}") });
    }
    if values.services().count() > SERVICES_MAX {
        return Err(TargetError::Invalid {
            message: format!("at most {SERVICES_MAX} services fit one platform"),
        });
    }
    for service in values.enabled_services() {
        if !service.kind.row().runs {
            let runs: Vec<&str> = ServiceKind::running().map(ServiceKind::name).collect();
            return not_yet(
                format!("service {}", service.name),
                &format!("this version runs {} only; set {}.enabled=false", runs.join(", "), service.name),
            );
        }
    }
    Ok(())
}

fn start_telemetry(addresses: Addresses) -> Result<Telemetry, String> {
    let address = SocketAddr::new(addresses.supervisor(), telemetry::PORT);
    let failed = |source| {
        format!(
            "the supervisor's metrics cannot be served: {}",
            Unusable::new(Protocol::Tcp, address, source)
        )
    };
    Telemetry::start(address).map_err(failed)
}

fn new_service(
    index: usize,
    service: &values::Service,
    values: &Values,
    parts: &Parts,
) -> Result<Service, String> {
    Ok(Service {
        name: service.name.clone(),
        index: u8::try_from(index).map_err(|_| "too many services".to_owned())?,
        template: template(service, values, parts),
        revision: 1,
        desired: service.initial_replicas(),
        replicas: Vec::new(),
        ordinals: Ordinals::default(),
        hpa: new_hpa(service)?,
    })
}

fn new_hpa(service: &values::Service) -> Result<Option<Hpa>, String> {
    let spec = service.autoscaling.as_ref();
    spec.map(Hpa::new).transpose().map_err(|error| format!("{}.autoscaling: {error}", service.name))
}

fn template(service: &values::Service, values: &Values, parts: &Parts) -> Template {
    Template {
        environment: environment::of_service(service, values, parts),
        protocol: service.protocol(),
        port: service.port,
        admin_port: service.admin_port,
        readiness: service.readiness.clone(),
        grace: service.termination_grace_period,
        resources: service.resources.clone(),
        annotations: service.pod_annotations.clone(),
    }
}

fn change_service(
    service: &mut Service,
    wanted: &values::Service,
    before: Option<&values::Service>,
    template: Template,
    changes: &mut Vec<String>,
) -> Result<(), String> {
    let name = &wanted.name;
    if service.template != template {
        service.template = template;
        service.revision += 1;
        changes.push(format!("{name}: template changed, its replicas are replaced one by one"));
    }
    match (&mut service.hpa, &wanted.autoscaling) {
        (None, None) => {}
        (hpa @ None, Some(_)) => {
            *hpa = new_hpa(wanted)?;
            changes.push(format!("{name}: autoscaling switched on"));
        }
        (hpa @ Some(_), None) => {
            *hpa = None;
            changes.push(format!("{name}: autoscaling switched off"));
        }
        (Some(hpa), Some(spec)) => {
            if hpa.set_spec(spec).map_err(|error| format!("{name}.autoscaling: {error}"))? {
                changes.push(format!("{name}: autoscaling changed"));
            }
        }
    }
    // As with Helm: a number that was not changed in the values does not undo a `scale`.
    let was_off = before.is_none_or(|before| !before.enabled);
    let number_changed = before.is_some_and(|before| before.replicas != wanted.replicas);
    let replicas = wanted.initial_replicas();
    if (was_off || number_changed && wanted.autoscaling.is_none()) && service.desired != replicas {
        changes.push(format!("{name} {} → {replicas}", service.desired));
        service.desired = replicas;
    }
    Ok(())
}

/// `up` wants all replicas to run: those that were killed for good come back.
fn restart_stopped(service: &mut Service, changes: &mut Vec<String>) {
    for replica in &mut service.replicas {
        if replica.phase == ReplicaPhase::Stopped {
            replica.stay_dead = false;
            changes.push(format!("{}: started again", replica.name));
        }
    }
}

fn gateway_templates(
    entrances: &[Entrance],
    values: &Values,
    parts: &Parts,
    own: &PlatformPaths,
) -> Vec<std::collections::BTreeMap<String, String>> {
    let template = |entrance: &Entrance| environment::of_gateway(values, &entrance.listener, parts, own);
    entrances.iter().map(template).collect()
}
