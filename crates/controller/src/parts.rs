//! The backends that services depend on: embedded, real servers that the platform starts, or existing ones.
//!
//! At bring-up a part comes up before the services that depend on it; a part that dies later delays nothing. When its
//! template changes, the new part is started beside the old one and takes over when it is ready, except where both need
//! the same address; if the new one does not come up, the old one keeps running.

use std::sync::Arc;

use platform::{
    PartKind, ServiceKind,
    target::ReplicaPhase,
    values::{MetricsSource, Values},
};

use crate::{
    Controller, Time,
    facts::Fact,
    instance::{Instance, Workload},
    template::{Backends, Kafka, PartTemplate, Source, Template, same},
};

/// A part's configuration in the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Off,
    /// An existing server, at this address.
    Given(String),
    /// Our own, started from this template.
    Own(Arc<PartTemplate>),
}

#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) wanted: Wanted,
    /// Stopped by hand.
    pub(crate) stopped: bool,
    /// Whether services wait for it until it is ready: only the first time, and not after the change that required it
    /// has failed.
    pub(crate) awaited: bool,
    /// Its address for clients. It is kept while the part is down, since the part comes back there.
    pub(crate) address: Option<String>,
}

impl Part {
    pub(crate) fn new(wanted: Wanted) -> Self {
        let address = match &wanted {
            Wanted::Given(address) => Some(address.clone()),
            Wanted::Off | Wanted::Own(_) => None,
        };
        let awaited = matches!(wanted, Wanted::Own(_));
        Self { wanted, stopped: false, awaited, address }
    }

    /// Adopts other values; returns whether they differ.
    pub(crate) fn change(&mut self, wanted: Wanted) -> bool {
        let same = match (&self.wanted, &wanted) {
            (Wanted::Own(a), Wanted::Own(b)) => same(a, b),
            (a, b) => a == b,
        };
        if same {
            return false;
        }
        let new = Self::new(wanted);
        // Until the new one is ready, clients use the old one.
        let address = if new.awaited { self.address.take() } else { new.address };
        *self = Self { address, ..new };
        true
    }
}

/// Each part's configuration in `values`.
pub(crate) fn wanted(
    kind: PartKind,
    values: &Values,
    programs: &std::collections::BTreeMap<String, String>,
) -> Wanted {
    let (enabled, given, real, port) = match kind {
        PartKind::Kafka => (values.kafka.enabled, values.kafka.brokers.clone(), values.kafka.real, None),
        PartKind::Memcached => {
            let memcached = &values.memcached;
            let given = memcached.host.as_ref().map(|host| format!("{host}:{}", memcached.port));
            (memcached.enabled, given, memcached.real, Some(memcached.port))
        }
        PartKind::Elasticsearch => {
            let elasticsearch = &values.elasticsearch;
            (values.has_elasticsearch(), elasticsearch.url.clone(), elasticsearch.real, None)
        }
        // There is no embedded one.
        PartKind::Prometheus => (values.prometheus.enabled, values.prometheus.url.clone(), true, None),
        PartKind::Redis => (values.has_redis(), values.redis.address.clone(), values.redis.real, None),
        // There is no embedded one. A given one is one part, our own has one for each member.
        PartKind::Etcd => {
            let given = values.etcd.endpoints.clone();
            (values.etcd.enabled && given.is_some(), given, true, None)
        }
        PartKind::Etcd01 | PartKind::Etcd02 | PartKind::Etcd03 => {
            (values.etcd.enabled && values.etcd.endpoints.is_none(), None, true, None)
        }
        // There is no embedded one: without it, profiles has its data in memory.
        PartKind::Cassandra => {
            (values.cassandra.enabled, values.cassandra.contact_points.clone(), true, None)
        }
    };
    match given {
        _ if !enabled => Wanted::Off,
        Some(address) => Wanted::Given(address),
        None => {
            let program = || programs.get(kind.program()).cloned().unwrap_or_default();
            let source = if real { Source::Server { program: program() } } else { Source::Embedded };
            Wanted::Own(Arc::new(PartTemplate { kind, source, port }))
        }
    }
}

/// The gateway's port for a service.
fn port_of(values: &Values, kind: ServiceKind) -> Option<u16> {
    values.listeners().find(|one| one.service == kind.name()).map(|one| one.port)
}

/// Whether the two cannot run at the same time because they share an address and files.
fn conflict(a: &PartTemplate, b: &PartTemplate) -> bool {
    std::mem::discriminant(&a.source) == std::mem::discriminant(&b.source) && a.port == b.port
}

fn template(instance: &Instance) -> Option<&Arc<PartTemplate>> {
    match &instance.template {
        Template::Part(template) => Some(template),
        _ => None,
    }
}

impl Controller {
    /// Whether nothing has to wait for a part: all desired ones were ready once or have been given up.
    pub(crate) fn parts_came_up(&self) -> bool {
        self.parts.values().all(|part| !part.awaited || part.stopped)
    }

    /// Starts missing parts, and ends superfluous ones.
    pub(crate) fn settle_parts(&mut self, now: Time) {
        for kind in PartKind::ALL {
            let Some(part) = self.parts.get(&kind) else { continue };
            let wanted = match &part.wanted {
                Wanted::Own(template) if !part.stopped => Some(Arc::clone(template)),
                _ => None,
            };
            let of_part: Vec<&Instance> = self.instances_of(Workload::Part(kind)).collect();
            if of_part.is_empty() && wanted.is_none() {
                continue;
            }
            let is_wanted = |one: &Instance| {
                template(one).zip(wanted.as_ref()).is_some_and(|(have, want)| same(have, want))
            };
            let in_the_way = |one: &Instance| {
                let both = template(one).zip(wanted.as_ref());
                both.is_none_or(|(have, want)| conflict(have, want))
            };
            let successor = of_part.iter().any(|one| one.is_active() && is_wanted(one));
            let successor_ready =
                of_part.iter().any(|one| one.is_active() && is_wanted(one) && one.is_ready());
            let obsolete: Vec<u64> = of_part
                .iter()
                .filter(|one| one.is_active() && !is_wanted(one))
                .filter(|one| successor_ready || in_the_way(one))
                .map(|one| one.uid)
                .collect();
            let blocked = of_part.iter().any(|one| in_the_way(one));
            for uid in obsolete {
                self.end(uid, now);
            }
            if let Some(wanted) = wanted.filter(|_| !successor && !blocked) {
                self.create(Workload::Part(kind), kind.name(), 0, 0, Template::Part(wanted), now);
            }
        }
    }

    /// A part answers: clients get its address.
    pub(crate) fn part_ready(&mut self, kind: PartKind, uid: u64, now: Time) {
        let Some(instance) = self.instances.get(uid) else { return };
        let Some(part) = self.parts.get_mut(&kind) else { return };
        let is_wanted = match (&part.wanted, template(instance)) {
            (Wanted::Own(wanted), Some(have)) => same(wanted, have),
            _ => false,
        };
        if is_wanted {
            part.awaited = false;
            if part.address != instance.address {
                part.address.clone_from(&instance.address);
                self.templates_stale = true;
            }
        }
        let after = instance.run.as_ref().map(|run| now.since(run.began)).unwrap_or_default();
        self.tell(Fact::PartReady { part: kind.name().to_owned(), detail: instance.detail.clone(), after });
    }

    /// A change has failed: services run without the parts that it required if they can, and old parts that still work
    /// stay.
    pub(crate) fn await_no_parts(&mut self, now: Time) {
        for kind in PartKind::ALL {
            let Some(part) = self.parts.get_mut(&kind).filter(|part| part.awaited) else { continue };
            part.awaited = false;
            let of_part = || self.instances.iter().filter(|one| one.is_of(Workload::Part(kind)));
            let old = of_part().find(|one| one.is_active() && one.phase == ReplicaPhase::Ready);
            if let Some(old) = old.and_then(template).cloned() {
                let failed: Vec<u64> = of_part()
                    .filter(|one| one.is_active() && template(one).is_some_and(|have| !same(have, &old)))
                    .map(|one| one.uid)
                    .collect();
                part.wanted = Wanted::Own(old);
                for uid in failed {
                    self.end(uid, now);
                }
            }
        }
    }

    /// The services' backends.
    pub(crate) fn backends(&self, values: &Values) -> Backends {
        let address = |kind| self.parts.get(&kind).and_then(|part| part.address.clone());
        Backends {
            kafka: address(PartKind::Kafka).map(|brokers| Kafka {
                brokers,
                broadcast_topic: values.kafka.broadcast_topic.clone(),
                logging_topic: values.kafka.logging_topic.clone(),
            }),
            memcached: address(PartKind::Memcached),
            elasticsearch: address(PartKind::Elasticsearch),
            redis: address(PartKind::Redis),
            etcd: address(PartKind::Etcd).or_else(|| {
                let members: Vec<String> = PartKind::ETCD_MEMBERS.into_iter().filter_map(address).collect();
                (!members.is_empty()).then(|| members.join(","))
            }),
            cassandra: address(PartKind::Cassandra),
            ws_port: port_of(values, ServiceKind::Ws),
            profiles_port: port_of(values, ServiceKind::Profiles),
        }
    }

    /// Whether custom metrics come from a Prometheus.
    pub(crate) fn asks_prometheus(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.values.metrics.source == MetricsSource::Prometheus)
    }
}
