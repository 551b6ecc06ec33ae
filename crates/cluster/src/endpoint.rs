//! Where clients of a service connect.

use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::ListParams};
use platform::{HostPort, TargetError, address::Host, target::Endpoint};

use crate::{connect::Cluster, facts::Selector, world::World};

/// Of the load balancer in front of a service's pods, if it has one.
pub(crate) async fn of(cluster: &Cluster, world: &World, service: &str) -> Result<Endpoint, TargetError> {
    if world.service(service).is_none() {
        let known = world.services().map(|(name, _)| name.clone()).collect();
        return Err(TargetError::UnknownService { service: service.to_owned(), known });
    }
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let services = cluster.ask("the Services", api.list(&ListParams::default())).await?;
    let is_in_front = |candidate: &&Service| {
        let spec = candidate.spec.as_ref();
        let labels = spec.and_then(|spec| spec.selector.clone()).filter(|labels| !labels.is_empty());
        let is_exposed = spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
        let selects = labels.map(Selector::of_labels);
        is_exposed
            && selects.is_some_and(|selector| world.pods_of(service).any(|pod| selector.matches(&pod.labels)))
    };
    let Some(found) = services.items.iter().find(is_in_front) else {
        return Err(TargetError::Unsupported {
            what: format!("connecting to {service} from outside"),
            why:
                "no Service of type LoadBalancer leads to its pods; kubectl port-forward reaches one of them"
                    .to_owned(),
        });
    };
    Ok(reached(found))
}

fn reached(service: &Service) -> Endpoint {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let port = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()?.first());
    let port = port.and_then(|port| u16::try_from(port.port).ok());
    let ingress = service.status.as_ref().and_then(|status| {
        let first = status.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
        let ip = first.ip.as_ref().and_then(|ip| ip.parse().ok()).map(Host::Ip);
        ip.or_else(|| first.hostname.clone().map(Host::Name))
    });
    let external = || {
        let ips = service.spec.as_ref()?.external_ips.as_ref()?;
        Some(Host::Ip(ips.first()?.parse().ok()?))
    };
    match ingress.or_else(external).zip(port) {
        Some((host, port)) => Endpoint::At(HostPort { host, port }),
        None => Endpoint::NoneYet { why: format!("the load balancer of Service {name} has no address yet") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_balancer_is_reached_at_its_address_or_name_once_it_has_one() {
        let reached = |status: serde_json::Value| {
            let service = serde_json::json!({
                "metadata": {"name": "front"},
                "spec": {"type": "LoadBalancer", "ports": [{"port": 10000}]},
                "status": {"loadBalancer": status},
            });
            match reached(&serde_json::from_value(service).unwrap()) {
                Endpoint::At(at) => at.to_string(),
                Endpoint::NoneYet { why } => why,
            }
        };
        assert_eq!(reached(serde_json::json!({"ingress": [{"ip": "10.0.0.7"}]})), "10.0.0.7:10000");
        assert_eq!(reached(serde_json::json!({"ingress": [{"hostname": "lb.example"}]})), "lb.example:10000");
        assert!(reached(serde_json::json!({})).contains("front has no address yet"));
    }
}
