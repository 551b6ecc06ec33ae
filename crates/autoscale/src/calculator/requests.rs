//! A pod's request of a resource (`calculateRequests`): 100 % of a utilization.

use super::{MetricError, Source};
use crate::observation::{Container, ContainerKind, Pod};

/// The request of the pod at `position`, in milli-units.
pub(super) fn of_pod(
    source: &Source,
    pod_level_resources: bool,
    position: usize,
    pod: &Pod,
) -> Result<i64, MetricError> {
    let resource = source.resource().unwrap_or_default();
    // A named container's request takes precedence over the pod's.
    if pod_level_resources && source.container().is_none() && has_pod_level_requests(pod) {
        return pod_level(pod, resource)
            .ok_or(MetricError::MissingRequest { pod: position, container: None });
    }
    let mut sum = 0_i64;
    for kind in [ContainerKind::Regular, ContainerKind::Sidecar] {
        for (index, container) in pod.containers.iter().enumerate() {
            let wanted = source.container().is_none_or(|name| name.is_empty() || *name == *container.name);
            if container.kind == kind && wanted {
                let missing = MetricError::MissingRequest { pod: position, container: Some(index) };
                sum = sum.wrapping_add(container.requests.get(resource).ok_or(missing)?);
            }
        }
    }
    Ok(sum)
}

/// `IsSupportedPodLevelResource`.
fn is_supported(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

fn has_pod_level_requests(pod: &Pod) -> bool {
    pod.requests.names().any(is_supported)
}

/// `PodRequests`: the pod's own request, or else the maximum that its containers need at the same time.
fn pod_level(pod: &Pod, resource: &str) -> Option<i64> {
    match pod.requests.get(resource) {
        Some(milli) if is_supported(resource) => Some(milli),
        _ => aggregate(&pod.containers, resource),
    }
}

/// `AggregateContainerRequests`: all containers that run together, but at least the need of any init container plus the
/// sidecars started before it. `None`: no container requests the resource.
fn aggregate(containers: &[Container], resource: &str) -> Option<i64> {
    let request = |container: &Container| container.requests.get(resource);
    let add = |sum: Option<i64>, request: Option<i64>| match (sum, request) {
        (Some(sum), Some(request)) => Some(sum.wrapping_add(request)),
        (one, other) => one.or(other),
    };
    let mut together = containers
        .iter()
        .filter(|container| container.kind == ContainerKind::Regular)
        .fold(None, |sum, container| add(sum, request(container)));
    let mut sidecars = None;
    let mut at_start = None;
    for container in containers.iter().filter(|container| container.kind != ContainerKind::Regular) {
        let needed = if container.kind == ContainerKind::Sidecar {
            together = add(together, request(container));
            sidecars = add(sidecars, request(container));
            sidecars
        } else {
            add(sidecars, request(container))
        };
        at_start = at_start.max(needed);
    }
    together.max(at_start)
}
