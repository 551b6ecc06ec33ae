//! Removes the applications, with or without their objects.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use platform::TargetError;
use serde_json::{Value, json};

use super::{
    api::{api, failed},
    application,
    look::LOOK_EVERY,
    names::{MANAGER, RELEASE, ROOT},
    repository::SECRET,
    results::{Removed, ResourceName},
    rights, status,
    step::Tell,
};
use crate::connect::Cluster;

/// Removes the root application and everything that it created, and finally the projects and the key. With `keep`, the
/// objects stay.
pub(super) async fn remove(
    cluster: &Cluster,
    keep: bool,
    timeout: Duration,
    tell: &Tell,
) -> Result<Removed, TargetError> {
    status::require(cluster, rights::REMOVE).await?;
    let deadline = clock::now() + timeout;
    let ours = application::ours(cluster).await?;
    let children: Vec<String> = ours.children.iter().map(|child| child.name().to_owned()).collect();
    let applications = api(cluster, "Application");
    let mut removed = Vec::new();
    if keep {
        // The root comes first, without a sync in between, which would recreate the others.
        let alone = json!({"metadata": {"finalizers": null}, "spec": {"syncPolicy": {"automated": null}}});
        change(cluster, &applications, ROOT, &alone).await?;
        idle(cluster, ROOT, deadline, timeout, tell).await?;
    }
    delete(cluster, &applications, "Application", ROOT, &mut removed).await?;
    if keep {
        gone(cluster, ROOT, deadline, timeout, tell).await?;
        for name in &children {
            change(cluster, &applications, name, &json!({"metadata": {"finalizers": null}})).await?;
            delete(cluster, &applications, "Application", name, &mut removed).await?;
        }
    } else {
        removed.extend(children.iter().map(|name| named(cluster, "Application", name)));
    }
    for name in std::iter::once(ROOT).chain(children.iter().map(String::as_str)) {
        gone(cluster, name, deadline, timeout, tell).await?;
    }
    let projects = api(cluster, "AppProject");
    for name in [RELEASE, ROOT] {
        delete(cluster, &projects, "AppProject", name, &mut removed).await?;
    }
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let what = format!("deleting Secret {SECRET}");
    match cluster.try_ask(secrets.delete(SECRET, &DeleteParams::default())).await {
        Ok(_) => {
            let mut secret = named(cluster, "Secret", SECRET);
            secret.group = String::new();
            removed.push(secret);
        }
        Err(call) if call.status() == Some(404) => {}
        Err(call) => return Err(call.error(&what, cluster)),
    }
    Ok(Removed { removed, kept_objects: keep })
}

fn named(cluster: &Cluster, kind: &str, name: &str) -> ResourceName {
    ResourceName {
        group: super::names::GROUP.to_owned(),
        kind: kind.to_owned(),
        namespace: cluster.namespace.clone(),
        name: name.to_owned(),
    }
}

/// Changes an application, if it exists. Without its finalizer only the application itself is deleted.
async fn change(
    cluster: &Cluster,
    applications: &Api<DynamicObject>,
    name: &str,
    patch: &Value,
) -> Result<(), TargetError> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match cluster.try_ask(applications.patch(name, &params, &Patch::Merge(patch))).await {
        Ok(_) => Ok(()),
        Err(call) if call.status() == Some(404) => Ok(()),
        Err(call) => Err(call.error(&format!("changing application {name}"), cluster)),
    }
}

/// Waits until no sync of an application is running.
async fn idle(
    cluster: &Cluster,
    name: &str,
    deadline: Instant,
    timeout: Duration,
    tell: &Tell,
) -> Result<(), TargetError> {
    while application::find(cluster, name).await?.is_some_and(|application| application.is_busy()) {
        if clock::now() >= deadline {
            let seconds = timeout.as_secs();
            return failed(format!(
                "a sync of {name} has not ended within {seconds} s; run this again later"
            ));
        }
        tell.doing(format!("a sync of {name} runs")).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn delete(
    cluster: &Cluster,
    of_kind: &Api<DynamicObject>,
    kind: &str,
    name: &str,
    removed: &mut Vec<ResourceName>,
) -> Result<(), TargetError> {
    match cluster.try_ask(of_kind.delete(name, &DeleteParams::default())).await {
        Ok(_) => removed.push(named(cluster, kind, name)),
        Err(call) if call.status() == Some(404) => {}
        Err(call) => return Err(call.error(&format!("deleting {kind} {name}"), cluster)),
    }
    Ok(())
}

async fn gone(
    cluster: &Cluster,
    name: &str,
    deadline: Instant,
    timeout: Duration,
    tell: &Tell,
) -> Result<(), TargetError> {
    while let Some(application) = application::find(cluster, name).await? {
        let left = application.status.resources.len();
        let why = application.errors().join("; ");
        if clock::now() >= deadline {
            return failed(format!(
                "application {name} is still being deleted after {} s: {left} objects were left when Argo CD last \
                 looked. {why}",
                timeout.as_secs()
            ));
        }
        tell.doing(format!("Argo CD deletes what application {name} made; {left} objects are left {why}"))
            .await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
