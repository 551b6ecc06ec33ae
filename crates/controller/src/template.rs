//! Templates of instances. Anything started from an outdated template is replaced.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use platform::{
    PartKind, ServiceKind,
    services::Backend,
    values::{self, Probe, Protocol, Values},
};

/// The template of a service's replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceTemplate {
    pub kind: ServiceKind,
    pub port: u16,
    pub admin_port: u16,
    /// As in `values.yaml`, without a target's additions.
    pub env: BTreeMap<String, String>,
    pub backends: Backends,
    pub readiness: Probe,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    pub resources: values::Resources,
    pub annotations: BTreeMap<String, String>,
}

impl ServiceTemplate {
    pub(crate) fn new(service: &values::Service, backends: &Backends) -> Self {
        Self {
            kind: service.kind,
            port: service.port,
            admin_port: service.admin_port,
            env: service.env.clone(),
            backends: backends.of_service(service.kind),
            readiness: service.readiness.clone(),
            grace: service.termination_grace_period,
            resources: service.resources.clone(),
            annotations: service.pod_annotations.clone(),
        }
    }

    pub fn transport(&self) -> Protocol {
        self.kind.row().transport
    }

    /// `controller.kubernetes.io/pod-deletion-cost`; lower goes first.
    pub(crate) fn deletion_cost(&self) -> i32 {
        let annotation = self.annotations.get("controller.kubernetes.io/pod-deletion-cost");
        annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
    }
}

/// The services' backends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backends {
    pub kafka: Option<Kafka>,
    /// `host:port`.
    pub memcached: Option<String>,
    /// `http://…`.
    pub elasticsearch: Option<String>,
    /// `host:port`.
    pub redis: Option<String>,
    /// `http://…,…`.
    pub etcd: Option<String>,
    /// `host:port,…`.
    pub cassandra: Option<String>,
    /// The gateway's port for `ws`.
    pub ws_port: Option<u16>,
    /// The gateway's port for `profiles`.
    pub profiles_port: Option<u16>,
}

impl Backends {
    /// Without backends of other services, whose changes would otherwise replace this one.
    fn of_service(&self, kind: ServiceKind) -> Self {
        Self {
            redis: self.redis.clone().filter(|_| kind.connects_to(Backend::Redis)),
            etcd: self.etcd.clone().filter(|_| kind.connects_to(Backend::Etcd)),
            cassandra: self.cassandra.clone().filter(|_| kind.connects_to(Backend::Cassandra)),
            ws_port: self.ws_port.filter(|_| kind.connects_to(Backend::Ws)),
            profiles_port: self.profiles_port.filter(|_| kind.connects_to(Backend::Profiles)),
            ..self.clone()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port,…`.
    pub brokers: String,
    pub broadcast_topic: String,
    pub logging_topic: String,
}

/// The template of one listener's gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayTemplate {
    pub listener: values::Listener,
    /// Without its listeners.
    pub settings: values::Gateway,
    pub kafka: Option<Kafka>,
    /// The program, if it is not our own gateway; see [`Apply::programs`](crate::Apply).
    pub program: Option<String>,
}

impl GatewayTemplate {
    pub(crate) fn new(
        listener: &values::Listener,
        values: &Values,
        kafka: Option<Kafka>,
        programs: &BTreeMap<String, String>,
    ) -> Self {
        let settings = values::Gateway { listeners: Vec::new(), ..values.gateway.clone() };
        // Our own gateway always handles packets.
        let program = (listener.protocol == Protocol::Tcp).then(|| programs.get(settings.kind.as_str()));
        Self { listener: listener.clone(), settings, kafka, program: program.flatten().cloned() }
    }
}

/// The template of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTemplate {
    pub kind: PartKind,
    pub source: Source,
    /// The address, if the values name one.
    pub port: Option<u16>,
}

/// The kind of part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Within the supervisor.
    Embedded,
    /// As a process of this program; see [`Apply::programs`](crate::Apply).
    Server { program: String },
}

/// The template of an instance.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    Service(Arc<ServiceTemplate>),
    Gateway(Arc<GatewayTemplate>),
    Part(Arc<PartTemplate>),
}

/// Cheap if nothing changed, and correct if something was changed back.
pub(crate) fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_knows_only_the_backends_that_it_uses() {
        let there = || Some("127.0.0.1:1".to_owned());
        let kafka = Kafka {
            brokers: "127.0.0.1:9092".to_owned(),
            broadcast_topic: "bcast".to_owned(),
            logging_topic: "logs".to_owned(),
        };
        let all = Backends {
            kafka: Some(kafka),
            memcached: there(),
            elasticsearch: there(),
            redis: there(),
            etcd: there(),
            cassandra: there(),
            ws_port: Some(1),
            profiles_port: Some(2),
        };
        let rest = Backends {
            redis: None,
            etcd: None,
            cassandra: None,
            ws_port: None,
            profiles_port: None,
            ..all.clone()
        };
        for kind in ServiceKind::ALL {
            let expected = match kind {
                ServiceKind::Tcp => Backends { etcd: there(), ..rest.clone() },
                ServiceKind::Ws | ServiceKind::Balancer => Backends { redis: there(), ..rest.clone() },
                ServiceKind::Directory | ServiceKind::Stream => {
                    Backends { redis: there(), profiles_port: Some(2), ..rest.clone() }
                }
                ServiceKind::Profiles => Backends { cassandra: there(), ..rest.clone() },
                ServiceKind::WsClient => Backends { ws_port: Some(1), ..rest.clone() },
                ServiceKind::Udp | ServiceKind::Logger | ServiceKind::Page => rest.clone(),
            };
            assert_eq!(all.of_service(kind), expected, "{kind}");
        }
    }

    #[test]
    fn a_service_has_the_transport_of_its_kind() {
        for service in Values::builtin().services() {
            let transport = if service.kind == ServiceKind::Udp { Protocol::Udp } else { Protocol::Tcp };
            assert_eq!(ServiceTemplate::new(service, &Backends::default()).transport(), transport);
        }
    }
}
