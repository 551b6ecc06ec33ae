//! Requests a refresh of an application and follows it.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use platform::TargetError;
use serde_json::json;

use super::{
    api::{api, failed},
    application::{self, Application},
    names::{MANAGER, ROOT},
    step::Tell,
};
use crate::connect::Cluster;

/// The annotation that requests a refresh; Argo CD removes it once it has refreshed.
const REFRESH: &str = "argocd.argoproj.io/refresh";
/// How often an application is polled.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Requests an immediate refresh of an application.
pub(super) async fn refresh(cluster: &Cluster, name: &str) -> Result<(), TargetError> {
    let patch = json!({"metadata": {"annotations": {REFRESH: "normal"}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let applications = api(cluster, "Application");
    let patched = async { applications.patch(name, &params, &Patch::Merge(&patch)).await };
    cluster.ask(format!("asking for a look at application {name}"), patched).await?;
    Ok(())
}

/// Waits until Argo CD has compared the app of apps with the repository, and created the applications.
pub(super) async fn made(
    cluster: &Cluster,
    deadline: Instant,
    timeout: Duration,
    tell: &Tell,
) -> Result<Vec<String>, TargetError> {
    let mut looked = false;
    loop {
        let root = application::find(cluster, ROOT).await?;
        let Some(root) = root else { return failed(format!("application {ROOT} was deleted meanwhile")) };
        let state = Look::at(&root);
        looked |= state != Look::NotYet;
        match state {
            Look::Wrong(errors) => return failed(explain(&root, &errors)),
            Look::Done => {
                let names = root.child_names();
                if let Some(error) = wrong_child(cluster, &names).await? {
                    return failed(error);
                }
                if all_compared(cluster, &names).await? {
                    return Ok(names);
                }
                tell.doing(format!("Argo CD compares {} with the cluster", names.join(", "))).await;
            }
            Look::NotYet => tell.doing("Argo CD has not looked at the repository yet").await,
            Look::Working(what) => tell.doing(what).await,
        }
        if clock::now() >= deadline {
            let seconds = timeout.as_secs();
            return failed(if looked {
                format!(
                    "Argo CD has not created the applications within {seconds} s; see: playctl argocd status"
                )
            } else {
                format!(
                    "registered, but Argo CD has not looked at application {ROOT} within {seconds} s; is its \
                     application controller running in namespace {}?",
                    cluster.namespace
                )
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How far Argo CD has got with the app of apps.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    NotYet,
    Working(String),
    Wrong(Vec<String>),
    Done,
}

impl Look {
    fn at(root: &Application) -> Self {
        let annotations = root.metadata.annotations.as_ref();
        let is_asked = annotations.is_some_and(|annotations| annotations.contains_key(REFRESH));
        let sync = &root.status.sync;
        // Its status refers to the source that it compared.
        if is_asked || sync.status.is_empty() || sync.compared_to.source != root.spec.source {
            let errors = root.errors();
            return if is_asked || errors.is_empty() { Self::NotYet } else { Self::Wrong(errors) };
        }
        let errors = root.errors();
        if !errors.is_empty() {
            return Self::Wrong(errors);
        }
        let operation = root.status.operation_state.as_ref();
        if let Some(operation) = operation.filter(|_| sync.status != "Synced") {
            if operation.runs() {
                return Self::Working(format!("Argo CD is creating the applications: {}", operation.message));
            }
            if matches!(operation.phase.as_str(), "Failed" | "Error")
                && operation.sync_result.revision == sync.revision
            {
                return Self::Wrong(vec![operation.message.clone()]);
            }
        }
        if sync.status == "Synced" && !root.child_names().is_empty() {
            Self::Done
        } else {
            Self::Working(format!("Argo CD is creating the applications ({})", sync.status))
        }
    }
}

fn explain(application: &Application, errors: &[String]) -> String {
    let source = &application.spec.source;
    format!(
        "Argo CD cannot use {} of {} at {}: {}",
        source.path,
        source.repo_url,
        source.target_revision,
        errors.join("; ")
    )
}

/// Why an application cannot be compared.
async fn wrong_child(cluster: &Cluster, names: &[String]) -> Result<Option<String>, TargetError> {
    for name in names {
        let child = application::find(cluster, name).await?.unwrap_or_default();
        let errors = child.errors();
        if !errors.is_empty() && child.status.sync.compared_to.source == child.spec.source {
            return Ok(Some(explain(&child, &errors)));
        }
    }
    Ok(None)
}

async fn all_compared(cluster: &Cluster, names: &[String]) -> Result<bool, TargetError> {
    for name in names {
        let child = application::find(cluster, name).await?.unwrap_or_default();
        let sync = &child.status.sync;
        if matches!(sync.status.as_str(), "" | "Unknown") || sync.compared_to.source != child.spec.source {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn root(status: &Value, annotations: &Value) -> Application {
        let source = json!({"repoURL": "r", "path": "argocd", "targetRevision": "main"});
        let value = json!({
            "metadata": {"name": ROOT, "annotations": annotations},
            "spec": {"source": source},
            "status": status,
        });
        application::understood(&value, "it").unwrap()
    }

    #[test]
    fn argo_cd_is_done_once_it_compared_this_source_and_made_an_application() {
        let same = json!({"source": {"repoURL": "r", "path": "argocd", "targetRevision": "main"}});
        let other = json!({"source": {"repoURL": "r", "path": "argocd", "targetRevision": "old"}});
        let child = json!([{"group": "argoproj.io", "kind": "Application", "name": "playground"}]);
        let error = json!([{"type": "ComparisonError", "message": "no such path"}]);
        let none = json!({});
        let failed =
            json!({"phase": "Failed", "message": "not permitted", "syncResult": {"revision": "abc"}});
        for (expected, status) in [
            ("NotYet", json!({})),
            ("NotYet", json!({"sync": {"status": "Synced", "comparedTo": other}, "resources": child})),
            ("Wrong", json!({"conditions": error})),
            ("Wrong", json!({"sync": {"status": "Unknown", "comparedTo": same}, "conditions": error})),
            ("Working", json!({"sync": {"status": "OutOfSync", "comparedTo": same}})),
            ("Working", json!({"sync": {"status": "Synced", "comparedTo": same}})),
            (
                "Wrong",
                json!({"sync": {"status": "OutOfSync", "comparedTo": same, "revision": "abc"}, "operationState": failed}),
            ),
            // It failed with an earlier commit.
            (
                "Working",
                json!({"sync": {"status": "OutOfSync", "comparedTo": same, "revision": "def"}, "operationState": failed}),
            ),
            ("Done", json!({"sync": {"status": "Synced", "comparedTo": same}, "resources": child})),
        ] {
            let look = format!("{:?}", Look::at(&root(&status, &none)));
            assert!(look.starts_with(expected), "{status}: {look}");
        }
        let asked = json!({REFRESH: "normal"});
        let status = json!({"sync": {"status": "Synced", "comparedTo": same}, "resources": child, "conditions": error});
        assert_eq!(Look::at(&root(&status, &asked)), Look::NotYet, "what it said before does not count");
    }
}
