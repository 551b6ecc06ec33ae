//! Registers the repository with Argo CD: project, app of apps, key, and health checks for our workloads.
//!
//! Checks everything that can go wrong before it writes anything.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::PatchParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use platform::TargetError;
use serde_json::{Map, Value, json};

use super::{
    api::{api, failed, invalid},
    application::{self, Parameter},
    bootstrap::{self, Given, Open},
    check::{self, Checked},
    install::{self, CONFIGURATION},
    look::{made, refresh},
    names::{MANAGER, ROOT},
    owner,
    put::{put, try_put},
    repository,
    results::{Outcome, Put, Registered},
    rights, secrets,
    step::{Step, Tell},
    wanted::Register,
};
use crate::connect::Cluster;

pub(super) async fn register(
    cluster: &Cluster,
    release_namespace: &str,
    wanted: &Register,
    tell: &Tell,
) -> Result<Registered, TargetError> {
    let deadline = clock::now() + wanted.timeout;
    let release = cluster.in_namespace(release_namespace);
    let present = install::is_present(cluster).await?;
    if !present && wanted.install.is_none() {
        return failed(format!(
            "Argo CD is not installed at {} (namespace {}); install it with: playctl argocd register --install",
            cluster.place, cluster.namespace
        ));
    }
    require(cluster, &release, wanted, present).await?;
    let given = parameters(wanted, cluster, release_namespace)?;
    let checked = check::check(cluster, wanted, tell).await?;
    let records = of_helm(&release, wanted, tell).await?;
    let open = Open { repo: &checked.repo, revision: &checked.revision, namespace: &cluster.namespace };
    let root = bootstrap::root(&open, &present_parameters(cluster, present).await?, &given)?;
    let needed = if wanted.secrets { secrets::needed(&root, checked.files.as_ref())? } else { Vec::new() };

    let mut objects = Vec::new();
    if let Some(manifest) = &wanted.install {
        objects.extend(install::install(cluster, manifest, deadline, tell).await?);
    }
    if !records.is_empty() {
        owner::forget(&release, &records, tell).await?;
    }
    if wanted.secrets {
        objects.extend(secrets::make_missing(&release, &needed, tell).await?);
    }
    objects.push(configure(cluster, tell).await?);
    if let Some(key) = &checked.key {
        let secret = repository::secret(&cluster.namespace, &checked.repo, key);
        objects.push(put(cluster, &core(cluster, "Secret"), &secret, MANAGER, tell).await?);
    }
    let project = bootstrap::project(&open)?;
    objects.push(put(cluster, &api(cluster, "AppProject"), &project, MANAGER, tell).await?);
    objects.push(put(cluster, &api(cluster, "Application"), &root, MANAGER, tell).await?);
    let is_unchanged = objects.iter().all(|put| put.outcome == Outcome::Unchanged);
    let mut applications = Vec::new();
    if wanted.wait {
        if !is_unchanged {
            refresh(cluster, ROOT).await?;
        }
        applications = made(cluster, deadline, wanted.timeout, tell).await?;
    }
    let Checked { repo, revision, commit, .. } = checked;
    Ok(Registered { repo, revision, commit, objects, applications })
}

async fn require(
    cluster: &Cluster,
    release: &Cluster,
    wanted: &Register,
    present: bool,
) -> Result<(), TargetError> {
    let mut lists = vec![rights::REGISTER];
    if wanted.ssh_key_file.is_some() {
        lists.push(rights::KEEP_KEY);
    }
    if wanted.install.is_some() && !present {
        lists.push(rights::INSTALL);
    }
    rights::require(cluster, &lists).await?;
    let mut lists = Vec::new();
    if wanted.secrets {
        lists.push(rights::MAKE_SECRETS);
    }
    if wanted.take_over {
        lists.push(rights::TAKE_OVER);
    }
    rights::require(release, &lists).await
}

/// The given parameters of the root application.
fn parameters(
    wanted: &Register,
    cluster: &Cluster,
    release_namespace: &str,
) -> Result<BTreeMap<String, Given>, TargetError> {
    let mut given = BTreeMap::new();
    let tag = wanted.image_tag.iter().map(|tag| ("image.tag".to_owned(), tag.clone()));
    let texts = wanted.set_string.iter().cloned().chain(tag).map(|pair| (pair, true));
    for ((key, value), is_text) in wanted.set.iter().cloned().map(|pair| (pair, false)).chain(texts) {
        let is_plain = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
        if key.is_empty() || !key.chars().all(is_plain) {
            return invalid(format!("{key:?} is not the name of a value; expected one such as tcp.replicas"));
        }
        given.insert(bootstrap::of_chart(&key), Given { value, is_text });
    }
    let mut give = |name: &str, value: String| given.insert(name.to_owned(), Given { value, is_text: false });
    if let Some(presets) = &wanted.presets {
        for preset in presets {
            let is_name = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
            if preset.is_empty() || !preset.chars().all(is_name) {
                return invalid(format!(
                    "--presets {preset:?} is not a file in helm-chart/; expected one such as values-minikube.yaml"
                ));
            }
        }
        give("presets", presets.join(","));
    }
    for (name, value) in [
        ("sync.automated", wanted.auto_sync),
        ("sync.prune", wanted.prune),
        ("sync.selfHeal", wanted.self_heal),
    ] {
        if let Some(value) = value {
            give(name, value.to_string());
        }
    }
    for (name, value, usual) in [
        ("namespace", release_namespace, super::names::RELEASE_NAMESPACE),
        ("argocdNamespace", cluster.namespace.as_str(), super::names::NAMESPACE),
    ] {
        if value != usual {
            give(name, value.to_owned());
        }
    }
    Ok(given)
}

/// Helm's records of the release, if they are to be removed. Otherwise a release is an error: objects have one owner.
async fn of_helm(release: &Cluster, wanted: &Register, tell: &Tell) -> Result<Vec<String>, TargetError> {
    let records = match owner::helm_records(release).await {
        Ok(records) => records,
        Err(error) if wanted.take_over => return Err(error),
        Err(_) => {
            let namespace = &release.namespace;
            tell.note(format!(
                "whether Helm has a release in namespace {namespace} is not known: Secrets may not be listed"
            ))
            .await;
            return Ok(Vec::new());
        }
    };
    if records.is_empty() || wanted.take_over {
        return Ok(records);
    }
    failed(format!(
        "release {} of namespace {} belongs to Helm, and objects have one owner; hand it over with: playctl argocd \
         register --take-over",
        super::names::RELEASE,
        release.namespace
    ))
}

/// The parameters of the app of apps that is already registered.
async fn present_parameters(cluster: &Cluster, present: bool) -> Result<Vec<Parameter>, TargetError> {
    let root = if present { application::find(cluster, ROOT).await? } else { None };
    match root {
        Some(root) if root.metadata.deletion_timestamp.is_some() => {
            failed(format!("application {ROOT} is being deleted; run this again once it is gone"))
        }
        Some(root) => Ok(root.spec.source.helm.parameters),
        None => Ok(Vec::new()),
    }
}

fn core(cluster: &Cluster, kind: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind)
}

/// Merges our keys into Argo CD's configuration. A key that someone else set differently stays.
async fn configure(cluster: &Cluster, tell: &Tell) -> Result<Put, TargetError> {
    let configs: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let present = cluster.ask(CONFIGURATION, configs.get_opt(CONFIGURATION)).await?;
    let present = present.and_then(|config| config.data).unwrap_or_default();
    let ours = bootstrap::health()?;
    let wanted = |data: &Map<String, Value>| {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": CONFIGURATION,
                "namespace": cluster.namespace,
                // Argo CD reads the object only with this label.
                "labels": {"app.kubernetes.io/part-of": "argocd"},
            },
            "data": data,
        })
    };
    let (api, how) = (core(cluster, "ConfigMap"), PatchParams::apply(MANAGER));
    let put = match try_put(cluster, &api, &wanted(&ours), &how).await {
        Err(call) if call.status() == Some(409) => {
            let is_foreign = |key: &str, value: &Value| {
                present.get(key).is_some_and(|present| value.as_str() != Some(present))
            };
            let (foreign, rest): (Map<_, _>, Map<_, _>) =
                ours.into_iter().partition(|(key, value)| is_foreign(key, value));
            for key in foreign.keys() {
                tell.note(format!(
                    "{CONFIGURATION} has a {key} of its own, which stays; argocd/health.yaml says what our workloads need"
                ))
                .await;
            }
            try_put(cluster, &api, &wanted(&rest), &how).await
        }
        other => other,
    };
    let put = put.map_err(|call| call.error(&format!("applying ConfigMap {CONFIGURATION}"), cluster))?;
    tell.step(Step::Put(put.clone())).await;
    Ok(put)
}
