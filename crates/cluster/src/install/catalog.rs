//! The kinds that the API server serves.

use std::collections::{BTreeMap, BTreeSet};

use http::{Request, header::ACCEPT};
use kube::{
    Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use platform::TargetError;
use serde::{Deserialize, Deserializer};

use super::key::Key;
use crate::connect::Cluster;

/// All kinds of all groups in one answer: aggregated discovery, which Kubernetes has had since 1.30.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const LIST: &str = "APIGroupDiscoveryList";

/// kube's own types refuse the lists that Go writes as `null`, as for the pods of every custom metrics API: these have a
/// subresource, `pods/connections`, and no verb of their own.
#[derive(Debug, Deserialize)]
struct Groups {
    kind: String,
    /// Perhaps none, but never left out.
    #[serde(deserialize_with = "null_as_default")]
    items: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Named,
    #[serde(default, deserialize_with = "null_as_default")]
    versions: Vec<Version>,
}

/// The core group has no name.
#[derive(Debug, Default, Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
    #[serde(default, deserialize_with = "null_as_default")]
    resources: Vec<Served>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    response_kind: Option<ResponseKind>,
    scope: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    verbs: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ResponseKind {
    kind: Option<String>,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// An answer that is no aggregated discovery, as of a proxy or an older API server, would look like one without any kinds.
fn parse(path: &str, text: &str) -> Result<Groups, TargetError> {
    let failed = |why: String| {
        TargetError::other(format!(
            "the API server does not list its kinds at {path} as Kubernetes does since 1.30: {why}"
        ))
    };
    let groups: Groups = serde_json::from_str(text).map_err(|error| failed(error.to_string()))?;
    if groups.kind != LIST {
        return Err(failed(format!("it answers with a {:?}", groups.kind)));
    }
    Ok(groups)
}

/// One kind.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
    pub(super) listable: bool,
    pub(super) deletable: bool,
}

/// All kinds, by group and name; each in the version that the API server prefers.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog {
    kinds: BTreeMap<(String, String), Kind>,
    /// All groups, even those without a kind: a metrics API may have no metrics yet.
    groups: BTreeSet<String>,
}

impl Catalog {
    pub(super) async fn read(cluster: &Cluster) -> Result<Self, TargetError> {
        let mut catalog = Self::default();
        for path in ["/api", "/apis"] {
            let request = Request::get(path).header(ACCEPT, DISCOVERY).body(Vec::new());
            let request = request.map_err(TargetError::other)?;
            let found = cluster.ask("the kinds that it has", cluster.client.request_text(request)).await?;
            catalog.add(parse(path, &found)?);
        }
        // A look for leftovers must not take silence for a proof.
        if catalog.get("", "Namespace").is_none() {
            return Err(TargetError::other(format!("{} does not say that it has namespaces", cluster.place)));
        }
        Ok(catalog)
    }

    fn add(&mut self, found: Groups) {
        for Group { metadata, versions } in found.items {
            let group = metadata.name.unwrap_or_default();
            self.groups.insert(group.clone());
            // The one that the API server prefers comes first.
            let Some(Version { version, resources }) = versions.into_iter().next() else { continue };
            for one in resources {
                let Some(kind) = one.response_kind.and_then(|of| of.kind).filter(|kind| !kind.is_empty())
                else {
                    continue;
                };
                let gvk = GroupVersionKind::gvk(&group, &version, &kind);
                let can = |verb: &str| one.verbs.iter().any(|one| one == verb);
                let (listable, deletable) = (can("list"), can("delete"));
                let resource = ApiResource::from_gvk_with_plural(&gvk, &one.resource);
                let namespaced = one.scope.as_deref() == Some("Namespaced");
                let kind = Kind { resource, namespaced, listable, deletable };
                self.kinds.insert((group.clone(), kind.resource.kind.clone()), kind);
            }
        }
    }

    pub(super) fn get(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.kinds.get(&(group.to_owned(), kind.to_owned()))
    }

    pub(super) fn serves(&self, group: &str) -> bool {
        self.groups.contains(group)
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// Where an object of the manifest is; `None`: the API server does not know its kind.
    pub(super) fn api(&self, cluster: &Cluster, key: &Key) -> Option<Api<DynamicObject>> {
        let kind = self.get(&key.group, &key.kind)?;
        // In the version of the manifest, whose fields are meant.
        let resource = ApiResource {
            version: key.version.clone(),
            api_version: key.api_version(),
            ..kind.resource.clone()
        };
        Some(match &key.namespace {
            Some(namespace) if kind.namespaced => {
                Api::namespaced_with(cluster.client.clone(), namespace, &resource)
            }
            _ => Api::all_with(cluster.client.clone(), &resource),
        })
    }
}

#[cfg(test)]
impl Catalog {
    pub(super) fn serving(groups: &[&str]) -> Self {
        Self { groups: groups.iter().copied().map(str::to_owned).collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_of_metrics_has_subresources_without_a_verb_of_their_own() {
        // As Kubernetes 1.34 writes it, shortened.
        let groups = r#"{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [
            {"metadata": {"name": "custom.metrics.k8s.io", "creationTimestamp": null}, "versions": [
                {"version": "v1beta2", "freshness": "Current", "resources": [
                    {"resource": "pods", "scope": "Namespaced", "singularResource": "", "verbs": null, "subresources": [
                        {"subresource": "load", "responseKind": {"group": "", "version": "", "kind": "MetricValueList"}, "verbs": ["get"]}]}]}]},
            {"metadata": {"name": "gone.example.com"}, "versions": [{"version": "v1", "freshness": "Stale", "resources": null}]},
            {"metadata": {"name": "apps"}, "versions": [
                {"version": "v1", "resources": [
                    {"resource": "deployments", "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
                        "scope": "Namespaced", "verbs": ["create", "delete", "get", "list"]}]},
                {"version": "v1beta1", "resources": [
                    {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced", "verbs": ["list"]}]}]}]}"#;
        let core = r#"{"kind": "APIGroupDiscoveryList", "items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            {"resource": "nodes", "responseKind": {"group": "", "version": "v1", "kind": "Node"}, "scope": "Cluster", "verbs": ["list"]}]}]}]}"#;
        let mut catalog = Catalog::default();
        for text in [core, groups] {
            catalog.add(parse("/api", text).unwrap());
        }
        assert_eq!(catalog.kinds().count(), 2);
        let deployment = catalog.get("apps", "Deployment").unwrap();
        assert_eq!(
            (deployment.resource.plural.as_str(), deployment.resource.version.as_str()),
            ("deployments", "v1")
        );
        assert!(deployment.namespaced && deployment.listable && deployment.deletable);
        let node = catalog.get("", "Node").unwrap();
        assert!(!node.namespaced && node.listable && !node.deletable);
        assert_eq!(node.resource.api_version, "v1");
    }

    #[test]
    fn an_answer_that_is_no_aggregated_discovery_is_no_list_without_kinds() {
        for (text, why) in [
            (r#"{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}"#, "items"),
            (r#"{"kind": "APIVersions", "versions": ["v1"], "items": []}"#, "APIVersions"),
            (r#"{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"}"#, "items"),
            (r#"{"items": []}"#, "kind"),
            ("<html>", "expected value"),
        ] {
            let error = parse("/apis", text).unwrap_err().to_string();
            assert!(error.contains("/apis") && error.contains(why), "{text}: {error}");
        }
        assert!(
            parse("/apis", r#"{"kind": "APIGroupDiscoveryList", "items": null}"#).unwrap().items.is_empty()
        );
    }
}
