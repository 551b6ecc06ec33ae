//! The API's kinds: what an autoscaler may scale, and what a metric may describe.

use autoscale::spec::ObjectReference;
use kube::core::{ApiResource, GroupVersionKind};
use platform::TargetError;

use crate::connect::Cluster;

/// The kinds that are always watched, because autoscalers nearly always scale these.
pub(crate) fn usual() -> [ApiResource; 2] {
    ["Deployment", "StatefulSet"]
        .map(|kind| ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", kind)))
}

pub(crate) fn is_usual(kind: &ApiResource) -> bool {
    usual().iter().any(|usual| (&usual.group, &usual.kind) == (&kind.group, &kind.kind))
}

/// The kind of a reference, in its version; the API server is asked about unknown kinds.
pub(crate) async fn find(cluster: &Cluster, object: &ObjectReference) -> Result<ApiResource, TargetError> {
    let (group, version) = match object.api_version.as_deref().unwrap_or("v1").split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", object.api_version.as_deref().unwrap_or("v1")),
    };
    let kind = GroupVersionKind::gvk(group, version, &object.kind);
    if let Some(usual) = usual().into_iter().find(|usual| usual.kind == kind.kind && usual.group == group) {
        return Ok(usual);
    }
    let found = kube::discovery::pinned_kind(&cluster.client, &kind);
    let what = format!("the kind {} of {}", object.kind, object.api_version.as_deref().unwrap_or("v1"));
    Ok(cluster.ask(what, found).await?.0)
}
