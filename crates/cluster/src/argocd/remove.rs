//! The applications go, with their objects or without.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use platform::TargetError;
use serde_json::json;

use super::{
    MANAGER, RELEASE, ROOT, api, application, failed,
    look::LOOK_EVERY,
    repository::SECRET,
    results::{Removed, ResourceName},
    rights, status,
    step::Tell,
};
use crate::connect::Cluster;

/// The root application and all that it made, last the projects and the key. With `keep`, the objects stay.
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
    // The root first: it would put the others back.
    if keep {
        for name in std::iter::once(ROOT).chain(children.iter().map(String::as_str)) {
            forget(cluster, &applications, name).await?;
        }
    }
    delete(cluster, &applications, "Application", ROOT, &mut removed).await?;
    if keep {
        for name in &children {
            // The root may have put its finalizer back before it went.
            forget(cluster, &applications, name).await?;
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
        group: super::GROUP.to_owned(),
        kind: kind.to_owned(),
        namespace: cluster.namespace.clone(),
        name: name.to_owned(),
    }
}

/// Without its finalizer an application goes alone.
async fn forget(cluster: &Cluster, applications: &Api<DynamicObject>, name: &str) -> Result<(), TargetError> {
    let patch = json!({"metadata": {"finalizers": null}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match cluster.try_ask(applications.patch(name, &params, &Patch::Merge(&patch))).await {
        Ok(_) => Ok(()),
        Err(call) if call.status() == Some(404) => Ok(()),
        Err(call) => Err(call.error(&format!("changing application {name}"), cluster)),
    }
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
