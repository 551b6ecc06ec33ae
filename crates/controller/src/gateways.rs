//! Gateways: one for every listener on every node, like a DaemonSet's pods; replaced without a gap.

use std::{collections::BTreeMap, sync::Arc};

use platform::{
    target::ReplicaPhase,
    values::{self, Values},
};

use crate::{
    Controller, Fact, RunId, Time,
    facts::{Change, Warning},
    instance::{Instance, Port, Workload},
    names::node_name,
    ordinals::Ordinals,
    template::{Backends, GatewayTemplate, Template, same},
};

#[derive(Debug, Clone)]
pub(crate) struct Gateways {
    pub(crate) ordinals: Ordinals,
    /// The template of each port's gateways.
    templates: BTreeMap<Port, Listener>,
    /// The lack of a place for one more has been reported.
    crowded: bool,
}

#[derive(Debug, Clone)]
struct Listener {
    /// `gateway`, or `gateway-NAME` for all listeners except the first; the node follows.
    name: String,
    template: Arc<GatewayTemplate>,
}

impl Gateways {
    /// The current template of a port's gateways.
    pub(crate) fn template(&self, port: Port) -> Option<&Arc<GatewayTemplate>> {
        self.templates.get(&port).map(|listener| &listener.template)
    }

    pub(crate) fn new(ordinals: u16) -> Self {
        Self { ordinals: Ordinals::new(ordinals), templates: BTreeMap::new(), crowded: false }
    }
}

impl Controller {
    /// Recomputes the gateways' templates; returns whether any gateway is replaced.
    pub(crate) fn change_gateway_templates(
        &mut self,
        values: &Values,
        backends: &Backends,
    ) -> Option<Change> {
        let programs = self.spec.as_ref().map(|spec| &spec.programs)?;
        let mut templates = BTreeMap::new();
        let mut replaced = false;
        // The chart's first listener has the short name, whichever listeners are switched on.
        let first = values.gateway.listeners.first().map(port);
        for listener in values.listeners() {
            let is_first = first == Some(port(listener));
            let name = if is_first { "gateway".to_owned() } else { format!("gateway-{}", listener.name) };
            let new = Arc::new(GatewayTemplate::new(listener, values, backends.kafka.clone(), programs));
            let before = self.gateways.templates.get(&port(listener)).map(|before| &before.template);
            replaced |= before.is_some_and(|before| !same(before, &new));
            let template = before.filter(|before| same(before, &new)).map_or(new, Arc::clone);
            templates.insert(port(listener), Listener { name, template });
        }
        self.gateways.templates = templates;
        replaced.then_some(Change::Gateways)
    }

    /// Whether every place has one ready gateway that knows the present endpoints, and no old one takes connections.
    pub(crate) fn are_gateways_settled(&self) -> bool {
        self.endpoints.is_written() && self.active_gateways().all(|(_, one)| self.is_done(one))
    }

    /// Starts missing gateways, and drains outdated or misplaced ones. As with a DaemonSet that surges, an old one that
    /// serves stays until its successor serves, and one that never served goes at once.
    pub(crate) fn settle_gateways(&mut self, now: Time) {
        let Some(nodes) = self.spec.as_ref().map(|spec| spec.nodes) else { return };
        let written = self.endpoints.written_version();
        let mut obsolete = Vec::new();
        for (port, gateway) in self.active_gateways() {
            let wanted = self.gateways.template(port).filter(|_| gateway.node < nodes);
            let serves = matches!(gateway.phase, ReplicaPhase::Ready | ReplicaPhase::Unready);
            let stays = wanted.is_some_and(|wanted| {
                let successor = |other: &Instance| {
                    let serves = other.is_ready() && other.endpoints_version >= written;
                    other.node == gateway.node && serves && is_of(other, wanted)
                };
                let succeeded = || self.active_gateways().any(|(other, one)| other == port && successor(one));
                is_of(gateway, wanted) || serves && !succeeded()
            });
            if !stays {
                obsolete.push(gateway.uid);
            }
        }
        for uid in obsolete {
            self.end(uid, now);
        }
        let places = self
            .gateways
            .templates
            .iter()
            .flat_map(|(port, listener)| (0..nodes).map(move |node| (*port, node, listener)));
        let missing: Vec<(Port, u32, Listener)> = places
            .filter(|(port, node, listener)| {
                let is_there = |(other, one): (Port, &Instance)| {
                    other == *port && one.node == *node && is_of(one, &listener.template)
                };
                !self.active_gateways().any(is_there)
            })
            .map(|(port, node, listener)| (port, node, listener.clone()))
            .collect();
        let mut crowded = None;
        for (port, node, listener) in missing {
            let name = format!("{}-{}", listener.name, node_name(node));
            let Some(ordinal) = self.gateways.ordinals.take(now) else {
                crowded = Some(name);
                continue;
            };
            let template = Template::Gateway(listener.template);
            self.create(Workload::Gateway(port), &name, ordinal, node, template, now);
        }
        let said = std::mem::replace(&mut self.gateways.crowded, crowded.is_some());
        if let Some(gateway) = crowded.filter(|_| !said) {
            self.tell(Fact::Warning(Warning::NoGatewayPlace { gateway }));
        }
    }

    pub(crate) fn caught_up(&mut self, run: RunId, version: u64) {
        let gateway = self.instances.iter_mut().find(|one| one.runs_as(run));
        if let Some(gateway) = gateway.filter(|one| one.endpoints_version < version) {
            gateway.endpoints_version = version;
            self.dirty();
        }
    }

    fn active_gateways(&self) -> impl Iterator<Item = (Port, &Instance)> {
        self.instances.iter().filter(|one| one.is_active()).filter_map(|one| match one.workload {
            Workload::Gateway(port) => Some((port, one)),
            Workload::Part(_) | Workload::Service(_) => None,
        })
    }
}

fn port(listener: &values::Listener) -> Port {
    Port::new(listener.protocol, listener.port)
}

fn is_of(gateway: &Instance, template: &Arc<GatewayTemplate>) -> bool {
    matches!(&gateway.template, Template::Gateway(own) if same(own, template))
}
