//! Argo CD itself, from its official manifest: one address, one file, or another one that the user trusts.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::ConfigMap,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::ListParams, core::DynamicObject};
use platform::TargetError;
use serde_json::{Value, json};

use super::{
    api::{failed, invalid},
    health,
    kinds::{Kinds, name_of},
    look::LOOK_EVERY,
    program::{self, CURL, Call},
    put::put,
    results::{Put, Verdict},
    step::Tell,
};
use crate::connect::Cluster;

/// The release that `argocd/` is tested with.
pub const VERSION: &str = "3.2.11";
/// Its official manifest.
pub const MANIFEST: &str =
    "https://raw.githubusercontent.com/argoproj/argo-cd/v3.2.11/manifests/install.yaml";

/// Argo CD's own configuration.
pub(super) const CONFIGURATION: &str = "argocd-cm";
/// The manifest has 1.5 MB.
const MANIFEST_MAX: u64 = 16 << 20;
const FETCH: Duration = Duration::from_mins(2);
const APPLICATIONS: &str = "applications.argoproj.io";
/// The namespace that the manifest's cluster roles are bound in.
const MANIFEST_NAMESPACE: &str = "argocd";
/// Who applies the manifest: another one than registers, because both write into argocd-cm.
const INSTALLER: &str = "playctl-install";
/// By this label Argo CD's manifest marks what belongs to it.
const PART: &str = "app.kubernetes.io/part-of=argocd";

/// Whether there is an Argo CD: its kinds and, in this namespace, its configuration.
pub(super) async fn is_present(cluster: &Cluster) -> Result<bool, TargetError> {
    let groups = cluster.ask("the groups of its API", cluster.client.list_api_groups()).await?;
    if !groups.groups.iter().any(|group| group.name == super::names::GROUP) {
        return Ok(false);
    }
    let configs: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    match cluster.try_ask(configs.get_opt(CONFIGURATION)).await {
        Ok(config) => Ok(config.is_some()),
        // The permissions are asked next, and the missing one is named there.
        Err(call) if call.status() == Some(403) => Ok(true),
        Err(call) => Err(call.error(CONFIGURATION, cluster)),
    }
}

/// Applies the manifest and waits until the controllers are ready. An Argo CD that is there stays as it is.
pub(super) async fn install(
    cluster: &Cluster,
    manifest: &str,
    deadline: Instant,
    tell: &Tell,
) -> Result<Vec<Put>, TargetError> {
    // One that this function did not finish is continued.
    if is_present(cluster).await? && (!is_ours(cluster).await? || unready(cluster).await?.is_empty()) {
        tell.note("Argo CD is already installed and stays as it is").await;
        return Ok(Vec::new());
    }
    tell.doing(format!("reading {manifest}")).await;
    let mut objects = read(manifest).await?;
    settle(&mut objects, &cluster.namespace);
    let mut put_all = Vec::new();
    let mut kinds = Kinds::new(cluster);
    for object in &mut objects {
        let name = name_of(object);
        tell.doing(format!("applying {name}")).await;
        let Some(api) = kinds.place(object, &cluster.namespace).await? else {
            return failed(format!("{manifest} has {name}, and the cluster does not know this kind"));
        };
        put_all.push(put(cluster, &api, object, INSTALLER, tell).await?);
        if name.kind == "CustomResourceDefinition" {
            established(cluster, &name.name, deadline).await?;
        }
    }
    ready(cluster, deadline, tell).await?;
    Ok(put_all)
}

/// Whether it was this function that installed it, so that it may continue.
async fn is_ours(cluster: &Cluster) -> Result<bool, TargetError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let what = format!("the definition of {APPLICATIONS}");
    let definition = cluster.ask(what, definitions.get_metadata_opt(APPLICATIONS)).await?;
    let managed = definition.and_then(|one| one.metadata.managed_fields).unwrap_or_default();
    Ok(managed.iter().any(|entry| entry.manager.as_deref() == Some(INSTALLER)))
}

/// The manifest's objects, in the order of the file.
async fn read(manifest: &str) -> Result<Vec<Value>, TargetError> {
    let text =
        if manifest.contains("://") { fetch(manifest).await? } else { read_file(Path::new(manifest))? };
    let documents = yaml::read_all(manifest, &text)
        .map_err(|error| TargetError::Invalid { message: error.to_string() })?;
    let objects: Vec<Value> =
        documents.into_iter().map(|document| document.value).filter(|value| !value.is_null()).collect();
    let is_definition = |object: &Value| name_of(object).name == APPLICATIONS;
    if !objects.iter().any(is_definition) {
        return invalid(format!(
            "{manifest} is not an install manifest of Argo CD: it does not define {APPLICATIONS}"
        ));
    }
    if let Some(other) =
        objects.iter().find(|object| name_of(object).kind.is_empty() || name_of(object).name.is_empty())
    {
        return invalid(format!("{manifest} has an object without kind or name: {other}"));
    }
    Ok(objects)
}

fn read_file(file: &Path) -> Result<String, TargetError> {
    let unreadable =
        |error| TargetError::Invalid { message: format!("{} cannot be read: {error}", file.display()) };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > MANIFEST_MAX {
        return invalid(format!("{} has {} MB; expected at most 16", file.display(), size >> 20));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

/// By curl, which knows this machine's proxies and authorities.
async fn fetch(address: &str) -> Result<String, TargetError> {
    if !address.starts_with("https://") {
        return invalid(format!(
            "{address}: a manifest that grants cluster administration is fetched by https:// only"
        ));
    }
    let arguments = [
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--proto",
        "=https",
        "--connect-timeout",
        "10",
        "--max-filesize",
        "16777216",
        "--",
    ];
    let call = Call::new(FETCH, &arguments).arg(address);
    program::run(CURL, Path::new("/"), call).await.map_err(|failed| TargetError::Other {
        message: format!(
            "{address} cannot be fetched: {}; download it where you can, and name the file with --manifest FILE",
            failed.words(CURL)
        ),
    })
}

/// The namespace first, then kinds, then the rest, and last the configuration, by which [`is_present`] knows that all of
/// it was applied. Everything goes into the namespace that is wanted.
fn settle(objects: &mut Vec<Value>, namespace: &str) {
    for object in objects.iter_mut() {
        for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
            if subject["namespace"] == MANIFEST_NAMESPACE {
                subject["namespace"] = Value::from(namespace);
            }
        }
    }
    let has_namespace = |object: &Value| {
        let name = name_of(object);
        name.kind == "Namespace" && name.name == namespace
    };
    if !objects.iter().any(has_namespace) {
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    }
    // Stable: the manifest's own order counts otherwise.
    objects.sort_by_key(|object| {
        let name = name_of(object);
        match (name.kind.as_str(), name.name.as_str()) {
            ("Namespace", _) => 0,
            ("CustomResourceDefinition", _) => 1,
            ("ConfigMap", CONFIGURATION) => 3,
            _ => 2,
        }
    });
}

/// Waits until the API server serves a kind.
async fn established(cluster: &Cluster, name: &str, deadline: Instant) -> Result<(), TargetError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    loop {
        let definition = cluster.ask(format!("definition {name}"), definitions.get(name)).await?;
        let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|one| one.type_ == "Established" && one.status == "True") {
            return Ok(());
        }
        if clock::now() >= deadline {
            let refused = conditions.iter().find(|one| one.status == "False");
            let why = refused.and_then(|one| one.message.clone()).unwrap_or_default();
            return failed(format!("the API server does not serve {name}: {why}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until Argo CD's controllers are ready, and says what keeps those that are not.
async fn ready(cluster: &Cluster, deadline: Instant, tell: &Tell) -> Result<(), TargetError> {
    loop {
        let waiting = unready(cluster).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let words: Vec<String> =
            waiting.iter().map(|verdict| format!("{}: {}", verdict.resource, verdict.message)).collect();
        if clock::now() >= deadline {
            return failed(format!(
                "Argo CD is installed, but not ready:\n  {}\nRun the same command again to keep waiting",
                words.join("\n  ")
            ));
        }
        tell.doing(format!("waiting for Argo CD's controllers: {}", words.join(", "))).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn unready(cluster: &Cluster) -> Result<Vec<Verdict>, TargetError> {
    let params = ListParams::default().labels(PART);
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let sets: Api<StatefulSet> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut waiting = Vec::new();
    let deployments = cluster.ask("Argo CD's Deployments", deployments.list(&params)).await?;
    for deployment in &deployments.items {
        waiting.extend(judged(cluster, "Deployment", deployment).await);
    }
    let sets = cluster.ask("Argo CD's StatefulSets", sets.list(&params)).await?;
    for set in &sets.items {
        waiting.extend(judged(cluster, "StatefulSet", set).await);
    }
    Ok(waiting)
}

async fn judged(cluster: &Cluster, kind: &str, object: &impl serde::Serialize) -> Option<Verdict> {
    let mut object: DynamicObject = serde_json::from_value(serde_json::to_value(object).ok()?).ok()?;
    object.types = None;
    let resource = super::results::ResourceName {
        group: "apps".to_owned(),
        kind: kind.to_owned(),
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
    };
    health::verdict(cluster, &resource, &serde_json::to_value(&object).ok()?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(answer: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(answer)
    }

    #[test]
    fn the_version_is_the_one_that_is_tested() {
        assert!(MANIFEST.contains(&format!("/v{VERSION}/")));
        let testbed = include_str!("../../../../infrastructure/testbed/servers/argocd.sh");
        assert!(testbed.lines().any(|line| line == format!("VERSION={VERSION}")));
    }

    #[test]
    fn kinds_come_first_and_everything_is_in_one_namespace() {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "b"},
            "subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "argocd"},
                         {"kind": "ServiceAccount", "name": "o", "namespace": "other"}],
        });
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "d"}});
        let configuration =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}});
        let mut objects = vec![configuration, binding, definition];
        settle(&mut objects, "gitops");
        let kinds: Vec<String> = objects.iter().map(|object| name_of(object).kind).collect();
        assert_eq!(kinds, ["Namespace", "CustomResourceDefinition", "ClusterRoleBinding", "ConfigMap"]);
        assert_eq!(objects[2]["subjects"][0]["namespace"], "gitops");
        assert_eq!(objects[2]["subjects"][1]["namespace"], "other");
        settle(&mut objects, "gitops");
        assert_eq!(objects.len(), 4, "one namespace is enough");
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("install.yaml");
        let error = |text: &str| {
            std::fs::write(&file, text).unwrap();
            wait(read(file.to_str().unwrap())).unwrap_err().to_string()
        };
        for (text, why) in [
            ("kind: Pod\nmetadata: {name: x}\n", "does not define applications.argoproj.io"),
            ("", "does not define applications.argoproj.io"),
            ("a: [", "install.yaml:"),
            ("kind: X\nmetadata: {name: applications.argoproj.io}\n---\n{}\n", "without kind or name"),
        ] {
            let error = error(text);
            assert!(error.contains(why) && error.contains("install.yaml"), "{error}");
        }
        for (manifest, why) in [
            ("/nowhere/install.yaml", "/nowhere/install.yaml cannot be read"),
            ("http://127.0.0.1:1/install.yaml", "https:// only"),
            ("https://127.0.0.1:1/install.yaml", "--manifest FILE"),
        ] {
            let error = wait(read(manifest)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
