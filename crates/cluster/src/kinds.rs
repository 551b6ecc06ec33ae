//! The API's kinds: what an autoscaler may scale, what a metric may describe, and what a manifest contains.

use std::collections::HashMap;

use autoscale::spec::ObjectReference;
use kube::{
    core::{ApiResource, GroupVersionKind},
    discovery::{self, Scope},
};
use platform::TargetError;

use crate::{connect::Cluster, error::Call};

/// The group of [`USUAL`].
const APPS: &str = "apps";

/// The kinds that are always watched, because autoscalers nearly always scale these.
pub(crate) fn usual() -> [ApiResource; 2] {
    USUAL.map(|kind| ApiResource::from_gvk(&GroupVersionKind::gvk(APPS, "v1", kind)))
}

pub(crate) fn is_usual(kind: &ApiResource) -> bool {
    usual().iter().any(|usual| (&usual.group, &usual.kind) == (&kind.group, &kind.kind))
}

/// The kinds that are always watched, by [`id`].
const USUAL: [&str; 2] = ["Deployment", "StatefulSet"];

/// A kind, told apart from those of other groups that have its name: `Deployment`, `Rollout.argoproj.io`. Kubernetes' own
/// stand alone; its groups have no dot, and all others have one.
pub(crate) fn id(group: &str, kind: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    let is_own = if USUAL.contains(&kind) { group == APPS } else { !group.contains('.') };
    if is_own { kind.to_owned() } else { format!("{kind}.{group}") }
}

/// The [`id`] of the kind that a reference names.
pub(crate) fn id_of(object: &ObjectReference) -> String {
    let kind = of(object);
    id(&kind.group, &kind.kind)
}

/// Whether the kind that a reference names is one of these.
pub(crate) fn is_among(kinds: &[ApiResource], object: &ObjectReference) -> bool {
    let wanted = of(object);
    kinds.iter().any(|kind| (&kind.group, &kind.kind) == (&wanted.group, &wanted.kind))
}

/// The kind that a reference names.
fn of(object: &ObjectReference) -> GroupVersionKind {
    named(object.api_version.as_deref().unwrap_or("v1"), &object.kind)
}

/// A kind in a group and version, as `apiVersion` names these.
pub(crate) fn named(api_version: &str, kind: &str) -> GroupVersionKind {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    GroupVersionKind::gvk(group, version, kind)
}

/// The kind of a reference, in its version; the API server is asked about unknown kinds.
pub(crate) async fn find(cluster: &Cluster, object: &ObjectReference) -> Result<ApiResource, TargetError> {
    let what = format!("the kind {} of {}", object.kind, object.api_version.as_deref().unwrap_or("v1"));
    try_find(cluster, object).await.map_err(|call| call.error(&what, cluster))
}

/// The same, for callers who look at the error.
pub(crate) async fn try_find(cluster: &Cluster, object: &ObjectReference) -> Result<ApiResource, Call> {
    let kind = of(object);
    if let Some(usual) =
        usual().into_iter().find(|usual| usual.kind == kind.kind && usual.group == kind.group)
    {
        return Ok(usual);
    }
    Ok(served(cluster, &kind).await?.0)
}

/// Asks the API server for a kind, and whether its objects are in namespaces.
async fn served(cluster: &Cluster, kind: &GroupVersionKind) -> Result<(ApiResource, bool), Call> {
    let (resource, about) = cluster.try_ask(discovery::pinned_kind(&cluster.client, kind)).await?;
    Ok((resource, about.scope == Scope::Namespaced))
}

/// The cluster does not have the kind, or its group in that version.
pub(crate) fn is_unknown(call: &Call) -> bool {
    call.status() == Some(404) || matches!(call, Call::Failed(kube::Error::Discovery(_)))
}

/// The kinds that were asked for, each asked once.
pub(crate) struct Kinds<'a> {
    cluster: &'a Cluster,
    known: HashMap<GroupVersionKind, Option<(ApiResource, bool)>>,
}

impl<'a> Kinds<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, known: HashMap::new() }
    }

    pub(crate) fn cluster(&self) -> &'a Cluster {
        self.cluster
    }

    /// The kind, and whether its objects are in namespaces; `None`: the cluster does not have it.
    pub(crate) async fn find(
        &mut self,
        kind: &GroupVersionKind,
    ) -> Result<Option<(ApiResource, bool)>, TargetError> {
        if let Some(known) = self.known.get(kind) {
            return Ok(known.clone());
        }
        let found = match served(self.cluster, kind).await {
            Ok(found) => Some(found),
            Err(call) if is_unknown(&call) => None,
            Err(call) => return Err(call.error(&format!("the kind {}", kind.kind), self.cluster)),
        };
        self.known.insert(kind.clone(), found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_one_name_in_several_groups_are_told_apart() {
        for (api_version, kind, id) in [
            (Some("apps/v1"), "Deployment", "Deployment"),
            (Some("apps.example.com/v1"), "Deployment", "Deployment.apps.example.com"),
            (Some("extensions/v1beta1"), "Deployment", "Deployment.extensions"),
            (Some("v1"), "StatefulSet", "StatefulSet.core"),
            (None, "StatefulSet", "StatefulSet.core"),
            (Some("v1"), "ReplicationController", "ReplicationController"),
            (Some("autoscaling/v2"), "HorizontalPodAutoscaler", "HorizontalPodAutoscaler"),
            (Some("argoproj.io/v1alpha1"), "Rollout", "Rollout.argoproj.io"),
        ] {
            let api_version = api_version.map(str::to_owned);
            let object = ObjectReference { kind: kind.to_owned(), api_version, ..ObjectReference::default() };
            assert_eq!(id_of(&object), id);
            assert_eq!(is_among(&usual(), &object), id == "Deployment", "{id}");
        }
    }

    #[test]
    fn the_core_group_has_no_name() {
        assert_eq!(named("v1", "Pod"), GroupVersionKind::gvk("", "v1", "Pod"));
        assert_eq!(named("apps/v1", "Deployment"), GroupVersionKind::gvk("apps", "v1", "Deployment"));
    }
}
