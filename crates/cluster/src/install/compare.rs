//! One object of the chart, compared with the live one.

use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use platform::TargetError;
use serde_json::Value;

use super::{
    MANAGER, Site, Wanted, argocd,
    catalog::Catalog,
    diff::{self, FieldChange},
    key::Key,
    manifest::Object,
};
use crate::error::Call;

/// What is found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    Missing,
    /// With what would change; often nothing.
    There(Vec<FieldChange>),
    /// It cannot become what the chart wants, for this reason.
    Problem(String),
    /// It is there, and the API server does not say what would change, for this reason.
    Unknown(String),
}

/// What changed by Helm's own notes, where the API server does not say; `None`: nothing.
pub(super) fn by_notes(object: &Object, before: Option<&Value>) -> Option<Vec<FieldChange>> {
    let Some(before) = before else { return Some(Vec::new()) };
    let changes = diff::changed(&object.key.kind, before, &object.value);
    (!changes.is_empty()).then_some(changes)
}

/// `before`: the object as Helm last installed it.
pub(super) async fn compare(
    site: &Site,
    wanted: &Wanted,
    catalog: &Catalog,
    object: &Object,
    before: Option<&Value>,
) -> Result<Found, TargetError> {
    let key = &object.key;
    let Some(api) = catalog.api(&site.cluster, key) else {
        return Ok(Found::Problem(format!(
            "{key}: the cluster does not know {} {}; install its operator first, or switch off what uses it",
            key.api_version(),
            key.kind
        )));
    };
    let live = match site.cluster.try_ask(api.get(&key.name)).await {
        Ok(live) => live,
        Err(call) if call.status() == Some(404) => return Ok(Found::Missing),
        // A missing permission is told by itself.
        Err(call) if call.status() == Some(403) => return Ok(Found::Unknown(call.words())),
        Err(call) => return Err(call.error(&key.to_string(), &site.cluster)),
    };
    if live.metadata.deletion_timestamp.is_some() && key.kind != "Namespace" {
        return Ok(Found::Problem(ending(site, key, &live)));
    }
    if let Some(owner) = other_owner(site, &live)
        && !wanted.take_ownership
    {
        let other = match key.kind.as_str() {
            "Namespace" => ", or leave it as it is: --set monitoring.createNamespace=false",
            _ => "",
        };
        return Ok(Found::Problem(format!(
            "{key} exists already, and {owner}. Delete it, or hand it over to this release: playctl up \
             --take-ownership{other}"
        )));
    }
    let params = PatchParams {
        dry_run: true,
        force: true,
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let would_be = async { api.patch(&key.name, &params, &Patch::Apply(&object.value)).await };
    let would_be = match site.cluster.try_ask(would_be).await {
        Ok(would_be) => would_be,
        Err(call) if call.status() == Some(422) => return Ok(Found::Problem(refused(site, key, &call))),
        Err(call) => return Ok(Found::Unknown(call.words())),
    };
    let (live, would_be) = (value(&live), value(&would_be));
    let mut changes = diff::changed(&key.kind, &live, &would_be);
    if let Some(before) = before {
        // Helm takes away what left the manifest, which the apply above does not.
        if let Some(patch) = diff::patch_of_removal(before, &object.value, &live, &would_be) {
            let params = PatchParams { force: false, ..params };
            let removal = async { api.patch(&key.name, &params, &Patch::Merge(&patch)).await };
            match site.cluster.try_ask(removal).await {
                Err(call) if call.status() == Some(422) => {
                    return Ok(Found::Problem(refused(site, key, &call)));
                }
                // Anything else shows when it is done.
                _ => {}
            }
        }
        changes.extend(diff::removed(&key.kind, before, &object.value, &live));
    }
    Ok(Found::There(changes))
}

fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Who owns it, if it is not this release, by Helm's own rule.
fn other_owner(site: &Site, live: &DynamicObject) -> Option<String> {
    let metadata = &live.metadata;
    let annotation = |key: &str| Some(metadata.annotations.as_ref()?.get(key)?.as_str());
    let label = |key: &str| Some(metadata.labels.as_ref()?.get(key)?.as_str());
    let (release, namespace) =
        (annotation("meta.helm.sh/release-name"), annotation("meta.helm.sh/release-namespace"));
    let by_helm = label("app.kubernetes.io/managed-by") == Some("Helm");
    if by_helm && release == Some(&site.release) && namespace == Some(site.namespace()) {
        return None;
    }
    Some(match (argocd::tracker(metadata), release.zip(namespace)) {
        (Some(application), _) => format!("Argo CD's application {application} manages it"),
        (None, Some((release, namespace))) => {
            format!("it belongs to the Helm release {release} in namespace {namespace}")
        }
        (None, None) => {
            let managers = metadata.managed_fields.iter().flatten();
            let writer = managers.filter(|one| one.subresource.is_none()).find_map(|one| one.manager.clone());
            let writer = writer.map_or_else(String::new, |writer| format!(" ({writer} wrote it)"));
            format!("it belongs to no Helm release{writer}")
        }
    })
}

/// Fields that Kubernetes does not let change.
fn refused(site: &Site, key: &Key, call: &Call) -> String {
    let words = call.words();
    let kind = key.kind.to_ascii_lowercase();
    let namespace = key.namespace.as_ref().map_or_else(String::new, |namespace| format!(" -n {namespace}"));
    // The pods of these stay, and the new object takes them over.
    let orphan = if matches!(kind.as_str(), "statefulset" | "deployment" | "daemonset")
        && !words.contains("selector")
    {
        " --cascade=orphan"
    } else {
        ""
    };
    format!(
        "{key} cannot be changed to what the chart wants: {words}\nSomebody changed it by hand, or the chart changed a field that \
         Kubernetes does not let change. Delete it, then run playctl up again: {}{namespace} delete {kind} {}{orphan}",
        site.kubectl(),
        key.name
    )
}

fn ending(site: &Site, key: &Key, live: &DynamicObject) -> String {
    let finalizers = live.metadata.finalizers.clone().unwrap_or_default();
    if finalizers.is_empty() {
        return format!("{key} is still being deleted; wait until it is gone, then run playctl up again");
    }
    format!(
        "{key} is terminating, but these finalizers block it: {}. Their controller must remove them, or you must, if it \
         is gone for good: {} edit {} {}",
        finalizers.join(", "),
        site.kubectl(),
        key.kind.to_ascii_lowercase(),
        key.name
    )
}
