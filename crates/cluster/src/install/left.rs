//! What remains of a release in the cluster, of any kind and in any namespace.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    Api,
    api::ListParams,
    core::{DynamicObject, ObjectMeta, PartialObjectMeta},
};
use platform::TargetError;

use super::{
    AT_ONCE, LABEL, Site,
    catalog::{Catalog, Kind},
    key::Key,
};
use crate::error::Call;

/// Kinds that are records of others, or their mirror.
const DERIVED: [&str; 5] = ["Event", "PodMetrics", "NodeMetrics", "ComponentStatus", "IPAddress"];
/// On everything that the chart renders, and what controllers make of it.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) key: Key,
    pub(super) is_ending: bool,
    pub(super) finalizers: Vec<String>,
    /// playctl made it, by its label.
    pub(super) is_ours: bool,
    /// It is kept on purpose, and waiting changes nothing.
    pub(super) is_kept: bool,
}

impl Left {
    /// For people.
    pub(super) fn words(&self) -> String {
        let finalizers = self.finalizers.join(", ");
        match (self.is_ending, self.finalizers.is_empty()) {
            _ if self.is_kept => {
                format!(
                    "{} (its reclaim policy is Retain; to lose its data: kubectl delete persistentvolume {})",
                    self.key, self.key.name
                )
            }
            (true, false) => format!("{} (is terminating; finalizers block it: {finalizers})", self.key),
            (true, true) => format!("{} (is ending)", self.key),
            (false, _) => self.key.to_string(),
        }
    }
}

/// Where to look.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) namespaces: BTreeSet<String>,
}

/// What was found, and of which kinds nobody knows.
#[derive(Debug, Default)]
pub(super) struct Found<T> {
    pub(super) objects: Vec<T>,
    /// Kinds that could not be listed, by the reason.
    pub(super) unseen: BTreeMap<String, BTreeSet<String>>,
}

impl<T> Found<T> {
    fn unseen(&mut self, kind: &Kind, call: &Call) {
        let resource = &kind.resource;
        let dot = if resource.group.is_empty() { "" } else { "." };
        let name = format!("{}{dot}{}", resource.plural, resource.group);
        // One line for all that is forbidden: the API server's own words repeat the kind.
        let why = if call.status() == Some(403) {
            "this account may not list them".to_owned()
        } else {
            call.words()
        };
        self.unseen.entry(why).or_default().insert(name);
    }

    /// Of which kinds nobody knows, and why.
    pub(super) fn unseen_in_words(&self) -> Vec<String> {
        let words = self.unseen.iter().map(|(why, kinds)| {
            format!("{}: {why}", kinds.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        });
        words.collect()
    }
}

/// A kind that the API server does not have, or not to be listed, has no objects.
fn has_none(call: &Call) -> bool {
    matches!(call.status(), Some(404 | 405))
}

/// All that carries the release's label, or ours. Helm's own notes are not among it.
pub(super) async fn look(site: &Site, catalog: &Catalog, scope: &Scope) -> Result<Found<Left>, TargetError> {
    let kinds: Vec<&Kind> = catalog
        .kinds()
        .filter(|kind| kind.listable && kind.deletable && !DERIVED.contains(&kind.resource.kind.as_str()))
        .collect();
    let mut lists = stream::iter(kinds)
        .map(|kind| async move { (kind, of_kind(site, kind, scope).await) })
        .buffered(AT_ONCE);
    let mut left = Found { objects: Vec::new(), unseen: BTreeMap::new() };
    while let Some((kind, found)) = lists.next().await {
        let (found, refused) = found?;
        left.objects.extend(found.into_iter().filter_map(|object| one(site, kind, scope, object)));
        if let Some(call) = refused {
            left.unseen(kind, &call);
        }
    }
    left.objects.extend(volumes(site, scope).await);
    Ok(left)
}

/// The objects, and why not all that there are.
type Listed = (Vec<PartialObjectMeta<DynamicObject>>, Option<Call>);

async fn of_kind(site: &Site, kind: &Kind, scope: &Scope) -> Result<Listed, TargetError> {
    let client = || site.cluster.client.clone();
    let mut selectors = vec![format!("{INSTANCE}={}", site.release)];
    if matches!(kind.resource.kind.as_str(), "Secret" | "Namespace") {
        selectors.push(format!("{LABEL}={}", site.release));
    }
    let (mut found, mut refused) = (Vec::new(), None);
    for selector in selectors {
        let params = ListParams::default().labels(&selector);
        let everywhere: Api<DynamicObject> = Api::all_with(client(), &kind.resource);
        match site.cluster.try_ask(everywhere.list_metadata(&params)).await {
            Ok(list) => found.extend(list.items),
            // Perhaps this account may look where the release is.
            Err(call) if call.status() == Some(403) && kind.namespaced => {
                for namespace in &scope.namespaces {
                    let here: Api<DynamicObject> = Api::namespaced_with(client(), namespace, &kind.resource);
                    match site.cluster.try_ask(here.list_metadata(&params)).await {
                        Ok(list) => found.extend(list.items),
                        Err(call) if has_none(&call) => {}
                        Err(call) => refused = Some(call),
                    }
                }
            }
            Err(call) if has_none(&call) => {}
            Err(call) if call.status().is_some() => refused = Some(call),
            Err(call) => return Err(call.error(&kind.resource.plural, &site.cluster)),
        }
    }
    Ok((found, refused))
}

/// Whether it is of this release: another one may have the same name in another namespace.
fn one(site: &Site, kind: &Kind, scope: &Scope, object: PartialObjectMeta<DynamicObject>) -> Option<Left> {
    let ObjectMeta { name, namespace, labels, annotations, deletion_timestamp, finalizers, .. } =
        object.metadata;
    let of_release =
        annotations.as_ref().and_then(|all| all.get("meta.helm.sh/release-namespace")).map(String::as_str);
    let is_ours = labels.as_ref().and_then(|all| all.get(LABEL)).is_some_and(|label| *label == site.release);
    let is_here = match (of_release, &namespace) {
        (Some(of_release), _) => of_release == site.namespace(),
        (None, Some(namespace)) => scope.namespaces.contains(namespace),
        (None, None) => {
            is_ours && kind.resource.kind == "Namespace" && name.as_deref() == Some(site.namespace())
        }
    };
    is_here.then(|| Left {
        key: Key {
            group: kind.resource.group.clone(),
            version: kind.resource.version.clone(),
            kind: kind.resource.kind.clone(),
            namespace,
            name: name.unwrap_or_default(),
        },
        is_ending: deletion_timestamp.is_some(),
        finalizers: finalizers.unwrap_or_default(),
        is_ours,
        is_kept: false,
    })
}

/// Volumes of the release's claims: those that are kept when their claim goes.
async fn volumes(site: &Site, scope: &Scope) -> Vec<Left> {
    let api: Api<PersistentVolume> = Api::all(site.cluster.client.clone());
    let Ok(list) = site.cluster.try_ask(api.list(&ListParams::default())).await else { return Vec::new() };
    let prefix = format!("data-{}-", site.release);
    let is_ours = |volume: &PersistentVolume| {
        let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        claim.is_some_and(|claim| {
            claim.name.as_ref().is_some_and(|name| name.starts_with(&prefix))
                && claim.namespace.as_ref().is_some_and(|namespace| scope.namespaces.contains(namespace))
        })
    };
    let left = list.items.into_iter().filter(is_ours).map(|volume| Left {
        is_kept: volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref())
            == Some("Retain"),
        key: Key {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "PersistentVolume".to_owned(),
            namespace: None,
            name: volume.metadata.name.unwrap_or_default(),
        },
        is_ending: volume.metadata.deletion_timestamp.is_some(),
        finalizers: volume.metadata.finalizers.unwrap_or_default(),
        is_ours: false,
    });
    left.collect()
}

/// What else is in the namespace: not of this release, and not what Kubernetes puts into every one.
pub(super) async fn foreign(site: &Site, catalog: &Catalog) -> Result<Found<Key>, TargetError> {
    let kinds: Vec<&Kind> = catalog
        .kinds()
        .filter(|kind| {
            let name = kind.resource.kind.as_str();
            kind.namespaced && kind.listable && kind.deletable && !DERIVED.contains(&name)
        })
        .collect();
    let mut lists = stream::iter(kinds)
        .map(|kind| async move {
            let api: Api<DynamicObject> =
                Api::namespaced_with(site.cluster.client.clone(), site.namespace(), &kind.resource);
            (kind, site.cluster.try_ask(api.list_metadata(&ListParams::default())).await)
        })
        .buffered(AT_ONCE);
    let mut foreign = Found { objects: Vec::new(), unseen: BTreeMap::new() };
    while let Some((kind, list)) = lists.next().await {
        let list = match list {
            Ok(list) => list,
            Err(call) if has_none(&call) => continue,
            Err(call) => {
                foreign.unseen(kind, &call);
                continue;
            }
        };
        let foreigners = list.items.into_iter().filter(|object| !belongs(site, kind, &object.metadata));
        foreign.objects.extend(foreigners.map(|object| Key {
            group: kind.resource.group.clone(),
            version: kind.resource.version.clone(),
            kind: kind.resource.kind.clone(),
            namespace: object.metadata.namespace,
            name: object.metadata.name.unwrap_or_default(),
        }));
    }
    Ok(foreign)
}

fn belongs(site: &Site, kind: &Kind, metadata: &ObjectMeta) -> bool {
    let label = |key: &str| metadata.labels.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let release = Some(site.release.as_str());
    let name = metadata.name.as_deref().unwrap_or_default();
    label(INSTANCE) == release
        || label(LABEL) == release
        || label("owner") == Some("helm") && label("name") == release
        || label("app.kubernetes.io/name") == Some("test") && label("app.kubernetes.io/part-of") == Some("playground")
        || matches!((kind.resource.kind.as_str(), name), ("ServiceAccount", "default") | ("ConfigMap", "kube-root-ca.crt"))
        // What somebody else's object brings along goes with it.
        || metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
}
