//! The state of the applications.

use futures_util::{StreamExt as _, stream};
use platform::TargetError;

use super::{
    api::failed,
    application::{self, Application, OperationState, Resource},
    health, install,
    kinds::Kinds,
    results::{ApplicationStatus, Failing, Health, LastOperation, Status, SyncStatus, Verdict},
    rights,
};
use crate::connect::Cluster;

/// The maximum number of concurrent reads.
const AT_ONCE: usize = 8;

pub(super) async fn status(cluster: &Cluster) -> Result<Status, TargetError> {
    require(cluster, rights::READ).await?;
    let ours = application::ours(cluster).await?;
    let mut applications = Vec::new();
    for application in std::iter::once(&ours.root).chain(&ours.children) {
        applications.push(of(cluster, application).await?);
    }
    Ok(Status { argocd_namespace: cluster.namespace.clone(), applications })
}

/// Checks that Argo CD is installed and that this account has the command's permissions.
pub(super) async fn require(
    cluster: &Cluster,
    rights: &'static [crate::access::Right],
) -> Result<(), TargetError> {
    if !install::is_present(cluster).await? {
        return failed(format!(
            "Argo CD is not installed at {} (namespace {}); install it and register with: playctl argocd register \
             --install",
            cluster.place, cluster.namespace
        ));
    }
    rights::require(cluster, &[rights]).await
}

async fn of(cluster: &Cluster, application: &Application) -> Result<ApplicationStatus, TargetError> {
    let Application { spec, status, .. } = application;
    let automated = spec.sync_policy.automated.as_ref().filter(|one| one.enabled != Some(false));
    let differs = |one: &&Resource| one.status == "OutOfSync";
    let out_of_sync = status.resources.iter().filter(differs).map(Resource::id).collect();
    let to_prune = status.resources.iter().filter(|one| one.requires_pruning).map(Resource::id).collect();
    let operation = status.operation_state.as_ref().map(last);
    Ok(ApplicationStatus {
        name: application.name().to_owned(),
        project: spec.project.clone(),
        repo: spec.source.repo_url.clone(),
        path: spec.source.path.clone(),
        revision: spec.source.target_revision.clone(),
        namespace: spec.destination.namespace.clone(),
        auto_sync: automated.is_some(),
        prune: automated.is_some_and(|one| one.prune),
        self_heal: automated.is_some_and(|one| one.self_heal),
        sync: SyncStatus {
            status: or_unknown(&status.sync.status),
            revision: status.sync.revision.clone().filter(|revision| !revision.is_empty()),
            out_of_sync,
            to_prune,
        },
        health: health_of(application),
        unhealthy: unhealthy(cluster, application).await?,
        conditions: status.conditions.iter().map(|one| format!("{}: {}", one.kind, one.message)).collect(),
        operation,
    })
}

fn or_unknown(status: &str) -> String {
    if status.is_empty() { "Unknown".to_owned() } else { status.to_owned() }
}

pub(super) fn health_of(application: &Application) -> Health {
    let health = &application.status.health;
    Health { status: or_unknown(&health.status), message: health.message.clone() }
}

fn last(state: &OperationState) -> LastOperation {
    let by = &state.operation.initiated_by;
    LastOperation {
        phase: state.phase.clone(),
        message: state.message.clone(),
        by: (!by.automated && !by.username.is_empty()).then(|| by.username.clone()),
        started: state.started_at.clone(),
        finished: state.finished_at.clone(),
        revision: state.sync_result.revision.clone(),
        failed: failures(state),
    }
}

/// What the operation failed to apply, and why.
pub(super) fn failures(state: &OperationState) -> Vec<Failing> {
    let failed = state.sync_result.resources.iter().filter(|one| one.is_failed());
    failed.map(|one| Failing { resource: one.id(), message: one.message.clone() }).collect()
}

/// Why an application is not healthy, as far as this account may read.
pub(super) async fn unhealthy(
    cluster: &Cluster,
    application: &Application,
) -> Result<Vec<Verdict>, TargetError> {
    if matches!(application.status.health.status.as_str(), "Healthy" | "Missing") {
        return Ok(Vec::new());
    }
    let mut verdicts = Vec::new();
    let mut kinds = Kinds::new(cluster);
    let mut looks = Vec::new();
    for resource in &application.status.resources {
        let id = resource.id();
        match &resource.health {
            Some(health) if health.status == "Healthy" => {}
            Some(health) => verdicts.push(Verdict {
                resource: id,
                health: health.status.clone(),
                message: health.message.clone(),
            }),
            None if health::is_judged(&id) && !resource.hook => {
                if let Some(api) = kinds.api(&id, &resource.version).await? {
                    looks.push((id, api));
                }
            }
            None => {}
        }
    }
    let looked = stream::iter(looks).map(|(id, api)| async move {
        // Without permission the reason stays unknown; the application's own health still says that something is wrong.
        let object = cluster.try_ask(api.get_opt(&id.name)).await.ok().flatten()?;
        health::verdict(cluster, &id, &serde_json::to_value(&object).ok()?).await
    });
    let looked: Vec<Option<Verdict>> = looked.buffered(AT_ONCE).collect().await;
    verdicts.extend(looked.into_iter().flatten());
    Ok(verdicts)
}
