//! The API's kinds: what an autoscaler may scale, and what a metric may describe.

use autoscale::spec::ObjectReference;
use kube::core::{ApiResource, GroupVersionKind};
use platform::TargetError;

use crate::connect::Cluster;

/// What is always looked at: these are nearly always what autoscalers scale.
pub(crate) fn usual() -> [ApiResource; 2] {
    ["Deployment", "StatefulSet"]
        .map(|kind| ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", kind)))
}

pub(crate) fn is_usual(kind: &ApiResource) -> bool {
    usual().iter().any(|usual| (&usual.group, &usual.kind) == (&kind.group, &kind.kind))
}

/// The kind that a reference names, in the version that it names; for kinds of extensions the API server is asked.
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
