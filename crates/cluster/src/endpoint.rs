//! Where clients connect to a service, from outside the cluster and from inside.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::{
    api::core::v1::{Node, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, api::ListParams};
use platform::{HostPort, TargetError, address::Host, target::Endpoint};
use tokio::net::TcpStream;

use crate::{
    connect::Cluster,
    facts::{PodFacts, Selector},
    world::World,
};

/// How long to wait for a listener at an address.
const PATIENCE: Duration = Duration::from_secs(2);
/// The maximum number of nodes whose addresses are tried.
const NODES_MAX: usize = 4;

/// A port of a Service that leads to the requested pods.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) service: Service,
    pub(crate) port: ServicePort,
}

/// From outside: the first address that accepts a connection.
pub(crate) async fn of(cluster: &Cluster, world: &World, service: &str) -> Result<Endpoint, TargetError> {
    let fronts = fronts(cluster, world, service).await?;
    let takes_nodes = fronts.iter().any(|front| front.port.node_port.is_some());
    let nodes = if takes_nodes { node_addresses(cluster).await } else { Vec::new() };
    let is_exposed =
        |front: &&Front| kind(&front.service) != "ClusterIP" || !external_ips(&front.service).is_empty();
    let Some(exposed) = fronts.iter().find(is_exposed) else {
        return Err(TargetError::Unsupported {
            what: format!("connecting to {service} from outside"),
            why: "no Service of type LoadBalancer or NodePort, and none with external IPs, leads to its pods"
                .to_owned(),
        });
    };
    let addresses: Vec<HostPort> = fronts.iter().flat_map(|front| outside(front, &nodes)).collect();
    let name = exposed.service.metadata.name.as_deref().unwrap_or_default();
    if addresses.is_empty() {
        let why = format!("the load balancer of Service {name} has no address yet");
        return Ok(Endpoint::NoneYet { why });
    }
    // A UDP port does not show whether anything listens there.
    let is_udp = exposed.port.protocol.as_deref() == Some("UDP");
    let tried = stream::iter(addresses.clone()).map(|address| async move {
        let answers = is_udp || answers(&address).await;
        answers.then_some(address)
    });
    let mut tried = tried.buffered(addresses.len());
    while let Some(tried) = tried.next().await {
        if let Some(address) = tried {
            return Ok(Endpoint::At(address));
        }
    }
    let tried: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let why = format!("nothing answers from here at {}, where Service {name} should be", tried.join(", "));
    Ok(Endpoint::NoneYet { why })
}

/// From inside: the Service's name.
pub(crate) async fn inside(cluster: &Cluster, world: &World, service: &str) -> Result<HostPort, TargetError> {
    let fronts = fronts(cluster, world, service).await?;
    let Some(Front { service: found, port }) = fronts.into_iter().next() else {
        return Err(TargetError::Unsupported {
            what: format!("connecting to {service}"),
            why: "no Service leads to its pods; name an address".to_owned(),
        });
    };
    let name = found.metadata.name.unwrap_or_default();
    let host = Host::Name(format!("{name}.{}.svc", cluster.namespace));
    Ok(HostPort { host, port: number(port.port).unwrap_or_default() })
}

/// The Services that lead to a service's pods: first our chart's gateway, then Services that select the pods, exposed
/// ones first.
pub(crate) async fn fronts(
    cluster: &Cluster,
    world: &World,
    service: &str,
) -> Result<Vec<Front>, TargetError> {
    if world.service(service).is_none() {
        let known = world.services().map(|(name, _)| name.clone()).collect();
        return Err(TargetError::UnknownService { service: service.to_owned(), known });
    }
    let services = cluster.ask("the Services", services(cluster).list(&ListParams::default())).await?.items;
    Ok(fronts_among(&services, world, service))
}

fn services(cluster: &Cluster) -> Api<Service> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

fn fronts_among(services: &[Service], world: &World, service: &str) -> Vec<Front> {
    let pods: Vec<&PodFacts> = world.pods_of(service).collect();
    let selects = |labels: Selector| pods.iter().any(|pod| labels.matches(&pod.labels));
    let mut fronts: Vec<Front> =
        services.iter().filter_map(|found| front(found, service, &selects)).collect();
    fronts.sort_by_key(|front| {
        let rank = ["LoadBalancer", "NodePort"].iter().position(|kind_| *kind_ == kind(&front.service));
        (!is_gateway(&front.service), rank.unwrap_or(2), front.service.metadata.name.clone())
    });
    fronts
}

/// Where each service should be reached from outside; whether anything answers there is not tried. Empty for an account
/// that may not list Services.
pub(crate) async fn published(cluster: &Cluster, world: &World) -> BTreeMap<String, HostPort> {
    let listed = cluster.try_ask(services(cluster).list(&ListParams::default())).await;
    let services = listed.map(|list| list.items).unwrap_or_default();
    let has_node_ports = services.iter().any(|service| kind(service) == "NodePort");
    let nodes = if has_node_ports { node_addresses(cluster).await } else { Vec::new() };
    let first = |name: &String| {
        fronts_among(&services, world, name).iter().find_map(|front| {
            // A load balancer without an address has node ports as well, but clients are not meant to use them.
            let nodes = if kind(&front.service) == "NodePort" { &nodes[..] } else { &[] };
            outside(front, nodes).into_iter().next()
        })
    };
    world.services().filter_map(|(name, _)| Some((name.clone(), first(name)?))).collect()
}

/// The gateway's ports have the names of the services behind them.
fn front(found: &Service, service: &str, selects: &impl Fn(Selector) -> bool) -> Option<Front> {
    let spec = found.spec.as_ref()?;
    let ports = spec.ports.as_deref().unwrap_or_default();
    let port = if is_gateway(found) {
        ports.iter().find(|port| port.name.as_deref() == Some(service))?
    } else {
        let labels = spec.selector.clone().filter(|labels| !labels.is_empty())?;
        if !selects(Selector::of_labels(labels)) {
            return None;
        }
        ports.iter().find(|port| port.name.as_deref() == Some(service)).or_else(|| ports.first())?
    };
    Some(Front { port: port.clone(), service: found.clone() })
}

fn is_gateway(service: &Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    let is =
        |key: &str, value: &str| labels.is_some_and(|labels| labels.get(key).is_some_and(|is| is == value));
    is("app.kubernetes.io/part-of", "playground") && is("app.kubernetes.io/name", "gateway")
}

fn kind(service: &Service) -> &str {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP")
}

fn external_ips(service: &Service) -> &[String] {
    service.spec.as_ref().and_then(|spec| spec.external_ips.as_deref()).unwrap_or_default()
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok()
}

/// Its addresses outside the cluster: the load balancer's, the external IPs, the nodes'.
fn outside(front: &Front, nodes: &[Host]) -> Vec<HostPort> {
    let Front { service, port } = front;
    let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let balancers = ingress.into_iter().flatten().filter_map(|ingress| {
        let ip = ingress.ip.as_ref().and_then(|ip| ip.parse().ok()).map(Host::Ip);
        ip.or_else(|| ingress.hostname.clone().map(Host::Name))
    });
    let own = external_ips(service).iter().filter_map(|ip| ip.parse().ok()).map(Host::Ip);
    let at = number(port.port);
    let addresses = balancers.chain(own).filter_map(|host| Some(HostPort { host, port: at? }));
    let on_nodes = port
        .node_port
        .and_then(number)
        .into_iter()
        .flat_map(|port| nodes.iter().map(move |host| HostPort { host: host.clone(), port }));
    addresses.chain(on_nodes).collect()
}

/// Empty for an account that may not list nodes.
async fn node_addresses(cluster: &Cluster) -> Vec<Host> {
    let api: Api<Node> = Api::all(cluster.client.clone());
    let nodes = cluster.try_ask(api.list(&ListParams::default().limit(50))).await;
    let nodes = nodes.map(|list| list.items).unwrap_or_default();
    let address = |node: &Node| {
        let addresses = node.status.as_ref()?.addresses.as_ref()?;
        let of = |kind: &str| addresses.iter().find(|address| address.type_ == kind);
        let found = of("ExternalIP").or_else(|| of("InternalIP"))?;
        found.address.parse().ok().map(Host::Ip)
    };
    nodes.iter().filter_map(address).take(NODES_MAX).collect()
}

async fn answers(address: &HostPort) -> bool {
    let connect = TcpStream::connect(address.to_string());
    tokio::time::timeout(PATIENCE, connect).await.is_ok_and(|connected| connected.is_ok())
}

/// The port of a pod to which a Service's port leads.
pub(crate) fn pod_port(port: &ServicePort, pod: &k8s_openapi::api::core::v1::Pod) -> Option<u16> {
    match port.target_port.as_ref() {
        None => number(port.port),
        Some(IntOrString::Int(port)) => number(*port),
        Some(IntOrString::String(name)) => {
            let containers = &pod.spec.as_ref()?.containers;
            let ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
            let found = ports.into_iter().find(|one| one.name.as_ref() == Some(name))?;
            number(found.container_port)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(labels: &Value, spec: &Value, status: &Value) -> Service {
        let object = json!({"metadata": {"name": "front", "labels": labels}, "spec": spec, "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn addresses(spec: &Value, balancer: &Value) -> Vec<String> {
        let service = service(&json!({}), spec, &json!({"loadBalancer": balancer}));
        let port = service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].clone();
        let nodes = [Host::Ip("192.0.2.1".parse().unwrap())];
        outside(&Front { service, port }, &nodes).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_load_balancer_comes_before_external_ips_and_those_before_nodes() {
        let ports = json!([{"port": 10000, "nodePort": 30001}]);
        let all = addresses(
            &json!({"type": "LoadBalancer", "externalIPs": ["10.0.0.9"], "ports": ports}),
            &json!({"ingress": [{"ip": "10.0.0.7"}, {"hostname": "lb.example"}]}),
        );
        assert_eq!(all, ["10.0.0.7:10000", "lb.example:10000", "10.0.0.9:10000", "192.0.2.1:30001"]);
        let none = addresses(&json!({"type": "LoadBalancer", "ports": [{"port": 10000}]}), &json!({}));
        assert_eq!(none, [] as [&str; 0]);
    }

    #[test]
    fn the_gateway_of_our_chart_is_known_by_its_labels_and_its_port_by_the_services_name() {
        let ports = json!([{"name": "udp", "port": 10001}, {"name": "tcp", "port": 10000}]);
        let gateway = json!({"app.kubernetes.io/name": "gateway", "app.kubernetes.io/part-of": "playground"});
        let port_of = |labels: &Value, selected: bool, name: &str| {
            let spec = json!({"selector": {"a": "b"}, "ports": ports});
            front(&service(labels, &spec, &json!({})), name, &|_| selected).map(|front| front.port.port)
        };
        assert_eq!(port_of(&gateway, false, "tcp"), Some(10_000));
        assert_eq!(port_of(&gateway, true, "logger"), None);
        assert_eq!(port_of(&json!({}), true, "tcp"), Some(10_000));
        assert_eq!(port_of(&json!({}), true, "chat"), Some(10_001), "the first one");
        assert_eq!(port_of(&json!({}), false, "tcp"), None);
    }

    #[test]
    fn a_port_by_name_is_found_in_the_pod() {
        let pod = json!({"spec": {"containers": [
            {"name": "a", "ports": [{"name": "admin", "containerPort": 9100}]},
            {"name": "b", "ports": [{"name": "tcp", "containerPort": 40000}]}]}});
        let pod = serde_json::from_value(pod).unwrap();
        let of = |port: Value| pod_port(&serde_json::from_value(port).unwrap(), &pod);
        assert_eq!(of(json!({"port": 1, "targetPort": "tcp"})), Some(40_000));
        assert_eq!(of(json!({"port": 1, "targetPort": 7})), Some(7));
        assert_eq!(of(json!({"port": 1})), Some(1));
        assert_eq!(of(json!({"port": 1, "targetPort": "none"})), None);
    }
}
