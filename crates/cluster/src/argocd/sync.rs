//! Syncs applications. A sync is an operation that is written into the Application; Argo CD carries it out and reports
//! its progress.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kube::api::{Patch, PatchParams};
use platform::TargetError;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    api::{api, failed, invalid},
    application::{self, Application, OperationState},
    look::{LOOK_EVERY, made, refresh},
    names::{MANAGER, ROOT},
    results::{ResourceName, Synced},
    rights, status,
    step::{Step, Tell},
};
use crate::connect::Cluster;

/// Distinguishes our operation from others.
const MARK: &str = "playctl";
/// How often a write is retried after a conflict.
const TRIES: u32 = 5;
/// Consecutive failed polls after which we stop waiting: half a minute.
const FAILED_LOOKS_MAX: u32 = 60;

/// How long to follow a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Only start it.
    Not,
    /// Until it has finished.
    ToTheEnd,
    /// Until the application is also Healthy.
    UntilHealthy,
}

/// What to sync, and how.
#[derive(Debug, Clone)]
pub struct Sync {
    /// By name; empty: all that the app of apps has created.
    pub applications: Vec<String>,
    /// Delete objects that are no longer in the repository.
    pub prune: bool,
    pub follow: Follow,
    pub timeout: Duration,
    /// End the sync when the caller cancels.
    pub end_on_interrupt: bool,
}

/// `running` holds the name of the application that is being synced.
pub(super) async fn sync(
    cluster: &Cluster,
    wanted: &Sync,
    tell: &Tell,
    running: &RefCell<Option<String>>,
) -> Result<Vec<Synced>, TargetError> {
    status::require(cluster, rights::SYNC).await?;
    let deadline = clock::now() + wanted.timeout;
    let names = chosen(cluster, wanted, deadline, tell).await?;
    let mut done = Vec::new();
    for name in names {
        let follower = Follower { cluster, name: &name, tell, deadline, timeout: wanted.timeout };
        let id = follower.start(wanted.prune).await?;
        running.replace(Some(name.clone()));
        let synced = match wanted.follow {
            Follow::Not => follower.started().await?,
            Follow::ToTheEnd => follower.to_the_end(&id).await?,
            Follow::UntilHealthy => {
                let synced = follower.to_the_end(&id).await?;
                running.replace(None);
                if synced.phase == "Succeeded" { follower.until_healthy(synced).await? } else { synced }
            }
        };
        running.replace(None);
        let is_failed = !matches!(synced.phase.as_str(), "Succeeded" | "Running");
        done.push(synced);
        if is_failed {
            break;
        }
    }
    Ok(done)
}

/// The names of the applications. If none are given, the app of apps is refreshed first, as it may change them.
async fn chosen(
    cluster: &Cluster,
    wanted: &Sync,
    deadline: Instant,
    tell: &Tell,
) -> Result<Vec<String>, TargetError> {
    let ours = application::ours(cluster).await?;
    if !wanted.applications.is_empty() {
        let known: Vec<&str> =
            std::iter::once(ROOT).chain(ours.children.iter().map(Application::name)).collect();
        if let Some(unknown) = wanted.applications.iter().find(|name| !known.contains(&name.as_str())) {
            return invalid(format!("we have no application {unknown}; there are: {}", known.join(", ")));
        }
        return Ok(wanted.applications.clone());
    }
    refresh(cluster, ROOT).await?;
    made(cluster, deadline, wanted.timeout, tell).await?;
    let ours = application::ours(cluster).await?;
    Ok(ours.children.iter().map(|child| child.name().to_owned()).collect())
}

/// Terminates the running sync.
pub(super) async fn end(cluster: &Cluster, name: &str) -> Result<(), TargetError> {
    let Some(application) = application::find(cluster, name).await? else { return Ok(()) };
    if !application.is_busy() {
        return Ok(());
    }
    // Applications have no status subresource, so this is an ordinary write. An operation that Argo CD has not started
    // yet is simply removed.
    let patch = match &application.status.operation_state {
        Some(state) if state.runs() => json!({"status": {"operationState": {"phase": "Terminating"}}}),
        _ => json!({"operation": null}),
    };
    write(cluster, name, &patch).await
}

async fn write(cluster: &Cluster, name: &str, patch: &Value) -> Result<(), TargetError> {
    let applications = api(cluster, "Application");
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = async { applications.patch(name, &params, &Patch::Merge(patch)).await };
    cluster.ask(format!("changing application {name}"), patched).await?;
    Ok(())
}

struct Follower<'a> {
    cluster: &'a Cluster,
    name: &'a str,
    tell: &'a Tell,
    deadline: Instant,
    timeout: Duration,
}

impl Follower<'_> {
    async fn look(&self) -> Result<Application, TargetError> {
        match application::find(self.cluster, self.name).await? {
            Some(application) if application.metadata.deletion_timestamp.is_some() => {
                failed(format!("application {} is being deleted", self.name))
            }
            Some(application) => Ok(application),
            None => failed(format!("application {} was deleted meanwhile", self.name)),
        }
    }

    fn late(&self) -> bool {
        clock::now() >= self.deadline
    }

    /// Writes the operation once no other one is running, and returns its mark.
    async fn start(&self, prune: bool) -> Result<String, TargetError> {
        let id = Uuid::new_v4().to_string();
        let mut tries = 0;
        loop {
            let application = self.look().await?;
            if application.is_busy() {
                let state = application.status.operation_state.as_ref();
                let message = state.map(|state| state.message.as_str()).unwrap_or_default();
                if self.late() {
                    return failed(format!(
                        "another sync of {} has not ended within {} s: {message}",
                        self.name,
                        self.timeout.as_secs()
                    ));
                }
                self.tell.doing(format!("another sync of {} runs: {message}", self.name)).await;
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            let applications = api(self.cluster, "Application");
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            let operation = operation(&application, prune, &id);
            let patched = async { applications.patch(self.name, &params, &Patch::Merge(&operation)).await };
            match self.cluster.try_ask(patched).await {
                Ok(_) => return Ok(id),
                // Someone else wrote in between; it may have been another sync.
                Err(call) if call.status() == Some(409) && tries < TRIES => tries += 1,
                Err(call) => {
                    return Err(call.error(&format!("syncing application {}", self.name), self.cluster));
                }
            }
        }
    }

    async fn started(&self) -> Result<Synced, TargetError> {
        let application = self.look().await?;
        Ok(Synced {
            application: self.name.to_owned(),
            phase: "Running".to_owned(),
            message: "started".to_owned(),
            revision: None,
            resources: 0,
            failed: Vec::new(),
            prune_skipped: Vec::new(),
            health: status::health_of(&application),
            unhealthy: Vec::new(),
        })
    }

    /// Follows the operation until it has finished.
    async fn to_the_end(&self, id: &str) -> Result<Synced, TargetError> {
        let mut told = BTreeMap::new();
        let mut failed_looks = 0;
        loop {
            let application = match self.look().await {
                Ok(application) => application,
                // The API server may be unavailable for a moment while the sync continues.
                Err(error) if failed_looks < FAILED_LOOKS_MAX && !self.late() => {
                    failed_looks += 1;
                    self.tell.doing(error.to_string()).await;
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            failed_looks = 0;
            let ours = application
                .status
                .operation_state
                .as_ref()
                .filter(|state| is_marked(&state.operation.info, id));
            if let Some(state) = ours {
                self.report(&application, state, &mut told).await;
                if !state.runs() {
                    return self.ended(&application, state).await;
                }
            } else if !application.operation.as_ref().is_some_and(|operation| is_marked(&operation.info, id))
            {
                return failed(format!(
                    "another sync of {} replaced this one before it was seen to end; see: playctl argocd status",
                    self.name
                ));
            }
            let message = match ours {
                Some(state) => state.message.clone(),
                None => "waiting for Argo CD's application controller to start".to_owned(),
            };
            if self.late() {
                return failed(format!(
                    "the sync of {} has not ended within {} s, and continues: {message}; see: playctl argocd status",
                    self.name,
                    self.timeout.as_secs()
                ));
            }
            self.tell.doing(format!("{}: {message}", self.name)).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Reports new results.
    async fn report(
        &self,
        application: &Application,
        state: &OperationState,
        told: &mut BTreeMap<(ResourceName, String), (String, String)>,
    ) {
        for one in &state.sync_result.resources {
            // Once an object is applied, its message changes only with its health.
            let message = if one.status == "Synced" { String::new() } else { one.message.clone() };
            let result = (one.result().to_owned(), message);
            let key = (one.id(), one.hook_type.clone());
            if result.0.is_empty() || told.get(&key) == Some(&result) {
                continue;
            }
            told.insert(key, result.clone());
            let (result, message) = result;
            let resource = one.id();
            let wave = application.wave_of(&resource);
            let application = self.name.to_owned();
            self.tell.step(Step::Resource { application, resource, wave, result, message }).await;
        }
    }

    async fn ended(&self, application: &Application, state: &OperationState) -> Result<Synced, TargetError> {
        let results = &state.sync_result.resources;
        let skipped = results.iter().filter(|one| one.status == "PruneSkipped");
        Ok(Synced {
            application: self.name.to_owned(),
            phase: state.phase.clone(),
            message: state.message.clone(),
            revision: state.sync_result.revision.clone(),
            resources: u32::try_from(results.len()).unwrap_or(u32::MAX),
            failed: status::failures(state),
            prune_skipped: skipped.map(application::ResourceResult::id).collect(),
            health: status::health_of(application),
            unhealthy: status::unhealthy(self.cluster, application).await?,
        })
    }

    async fn until_healthy(&self, synced: Synced) -> Result<Synced, TargetError> {
        loop {
            let application = self.look().await?;
            let health = status::health_of(&application);
            let is_over = health.status == "Healthy" || self.late();
            let unhealthy = status::unhealthy(self.cluster, &application).await?;
            if is_over {
                return Ok(Synced { health, unhealthy, ..synced });
            }
            let mut waiting: Vec<String> = unhealthy
                .iter()
                .map(|verdict| format!("{}: {}", verdict.resource, verdict.message))
                .collect();
            waiting.truncate(3);
            self.tell.doing(format!("{} is {}: {}", self.name, health.status, waiting.join(", "))).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn is_marked(info: &[application::Info], id: &str) -> bool {
    info.iter().any(|one| one.name == MARK && one.value == id)
}

/// As written by `argocd app sync`: an operation has options of its own, which must be copied from the application.
/// Without them the namespace would not be created, for example.
fn operation(application: &Application, prune: bool, id: &str) -> Value {
    let policy = &application.spec.sync_policy;
    let mut operation = json!({
        "initiatedBy": {"username": MANAGER},
        "info": [{"name": MARK, "value": id}],
        "sync": {"syncStrategy": {"hook": {}}},
    });
    if prune {
        operation["sync"]["prune"] = Value::Bool(true);
    }
    if !policy.sync_options.is_empty() {
        operation["sync"]["syncOptions"] = json!(policy.sync_options);
    }
    if let Some(retry) = &policy.retry {
        operation["retry"] = retry.clone();
    }
    // Only if the object has not changed since it was read.
    json!({"metadata": {"resourceVersion": application.metadata.resource_version}, "operation": operation})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_carries_the_options_of_its_application() {
        let application = application::understood(
            &json!({
                "metadata": {"name": "playground", "resourceVersion": "7"},
                "spec": {"syncPolicy": {"syncOptions": ["CreateNamespace=true"], "retry": {"limit": 2}}},
            }),
            "it",
        )
        .unwrap();
        let written = operation(&application, true, "id");
        assert_eq!(written["metadata"], json!({"resourceVersion": "7"}));
        assert_eq!(
            written["operation"],
            json!({
                "initiatedBy": {"username": "playctl"},
                "info": [{"name": "playctl", "value": "id"}],
                "sync": {"prune": true, "syncOptions": ["CreateNamespace=true"], "syncStrategy": {"hook": {}}},
                "retry": {"limit": 2},
            })
        );
        let bare = operation(&Application::default(), false, "id");
        assert_eq!(bare["operation"]["sync"], json!({"syncStrategy": {"hook": {}}}));
    }

    #[test]
    fn a_mark_is_ours_alone() {
        let info =
            |name: &str, value: &str| application::Info { name: name.to_owned(), value: value.to_owned() };
        assert!(is_marked(&[info("Reason", "x"), info(MARK, "a")], "a"));
        assert!(!is_marked(&[info(MARK, "b"), info("other", "a")], "a"));
        assert!(!is_marked(&[], "a"));
    }
}
