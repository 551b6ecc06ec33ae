//! The fields of an Application that matter here. The others stay unchanged: nothing is written back from these types.

use kube::{api::ListParams, core::ObjectMeta};
use platform::TargetError;
use serde::Deserialize;
use serde_json::Value;

use super::{
    api::{api, failed},
    names::ROOT,
    results::ResourceName,
};
use crate::connect::Cluster;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Application {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: Spec,
    pub(crate) status: Status,
    /// A sync that Argo CD has not started or not finished.
    pub(crate) operation: Option<Operation>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) project: String,
    pub(crate) source: Source,
    pub(crate) sources: Vec<Value>,
    pub(crate) destination: Destination,
    pub(crate) sync_policy: SyncPolicy,
    pub(crate) ignore_differences: Vec<Ignored>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Source {
    #[serde(rename = "repoURL")]
    pub(crate) repo_url: String,
    pub(crate) target_revision: String,
    pub(crate) path: String,
    pub(crate) chart: String,
    pub(crate) helm: Helm,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Helm {
    pub(crate) release_name: String,
    pub(crate) value_files: Vec<String>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) values: String,
    pub(crate) values_object: Option<Value>,
    pub(crate) ignore_missing_value_files: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) force_string: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Destination {
    pub(crate) namespace: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SyncPolicy {
    pub(crate) automated: Option<Automated>,
    pub(crate) sync_options: Vec<String>,
    pub(crate) retry: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Automated {
    pub(crate) prune: bool,
    pub(crate) self_heal: bool,
    /// Absent: yes.
    pub(crate) enabled: Option<bool>,
}

/// Differences that Argo CD ignores.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Ignored {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) json_pointers: Vec<String>,
    #[serde(rename = "jqPathExpressions")]
    pub(crate) jq_path_expressions: Vec<String>,
    pub(crate) managed_fields_managers: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) sync: SyncState,
    pub(crate) health: Health,
    pub(crate) resources: Vec<Resource>,
    pub(crate) operation_state: Option<OperationState>,
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SyncState {
    pub(crate) status: String,
    pub(crate) revision: Option<String>,
    pub(crate) compared_to: ComparedTo,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ComparedTo {
    pub(crate) source: Source,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    pub(crate) status: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) status: String,
    /// Absent since Argo CD 3, unless it is configured to store it here.
    pub(crate) health: Option<Health>,
    pub(crate) hook: bool,
    pub(crate) requires_pruning: bool,
    pub(crate) sync_wave: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Operation {
    pub(crate) info: Vec<Info>,
    pub(crate) initiated_by: InitiatedBy,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InitiatedBy {
    pub(crate) username: String,
    pub(crate) automated: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct OperationState {
    pub(crate) operation: Operation,
    pub(crate) phase: String,
    pub(crate) message: String,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) sync_result: SyncResult,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SyncResult {
    pub(crate) revision: Option<String>,
    pub(crate) resources: Vec<ResourceResult>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ResourceResult {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) message: String,
    pub(crate) hook_phase: String,
    pub(crate) hook_type: String,
}

impl Application {
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Conditions that keep Argo CD from comparing or syncing the application; mere warnings do not.
    pub(crate) fn errors(&self) -> Vec<String> {
        let errors = self.status.conditions.iter().filter(|condition| condition.kind.ends_with("Error"));
        errors.map(|condition| format!("{}: {}", condition.kind, condition.message)).collect()
    }

    /// Whether a sync is running or about to run.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.status.operation_state.as_ref();
        self.operation.is_some() || state.is_some_and(OperationState::runs)
    }

    /// The resource's wave, if Argo CD has listed it.
    pub(crate) fn wave_of(&self, resource: &ResourceName) -> Option<i64> {
        let listed = self.status.resources.iter().find(|one| one.id() == *resource)?;
        Some(listed.sync_wave.unwrap_or(0))
    }
}

impl OperationState {
    pub(crate) fn runs(&self) -> bool {
        matches!(self.phase.as_str(), "Running" | "Terminating")
    }
}

impl Resource {
    pub(crate) fn id(&self) -> ResourceName {
        ResourceName {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl ResourceResult {
    pub(crate) fn id(&self) -> ResourceName {
        ResourceName {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// For a hook, the phase says more than the status.
    pub(crate) fn result(&self) -> &str {
        if self.hook_type.is_empty() || self.hook_phase.is_empty() { &self.status } else { &self.hook_phase }
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.status == "SyncFailed" || matches!(self.hook_phase.as_str(), "Failed" | "Error")
    }
}

/// Parses an object from the API server.
pub(crate) fn understood(object: &impl serde::Serialize, what: &str) -> Result<Application, TargetError> {
    serde_json::to_value(object).and_then(serde_json::from_value).map_err(|error| TargetError::Other {
        message: format!("cannot parse {what}: {error}; was it made by a newer Argo CD?"),
    })
}

/// The application of that name, if there is one.
pub(crate) async fn find(cluster: &Cluster, name: &str) -> Result<Option<Application>, TargetError> {
    let what = format!("application {name}");
    let found = cluster.ask(what.clone(), api(cluster, "Application").get_opt(name)).await?;
    found.map(|object| understood(&object, &what)).transpose()
}

/// The app of apps and the applications that it created, in the order of their waves.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) root: Application,
    pub(crate) children: Vec<Application>,
}

/// Our applications among all of Argo CD's. An error if nothing is registered.
pub(crate) async fn ours(cluster: &Cluster) -> Result<Ours, TargetError> {
    let what = format!("the applications of namespace {}", cluster.namespace);
    let listed = cluster.ask(what, api(cluster, "Application").list(&ListParams::default())).await?;
    let all: Result<Vec<Application>, TargetError> = listed
        .items
        .iter()
        .map(|object| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            understood(object, &format!("application {name}"))
        })
        .collect();
    let mut all = all?;
    let Some(at) = all.iter().position(|one| one.name() == ROOT) else {
        return failed(format!(
            "no platform is registered with Argo CD in namespace {}; register it with: playctl argocd register",
            cluster.namespace
        ));
    };
    let root = all.swap_remove(at);
    let mut children: Vec<Application> = all.into_iter().filter(|one| root.owns(one.name())).collect();
    children.sort_by(|one, other| {
        let key = |child: &Application| (root.wave_of_child(child.name()), child.name().to_owned());
        key(one).cmp(&key(other))
    });
    Ok(Ours { root, children })
}

impl Application {
    fn child(&self, name: &str) -> Option<&Resource> {
        self.status
            .resources
            .iter()
            .find(|one| one.group == super::names::GROUP && one.kind == "Application" && one.name == name)
    }

    fn owns(&self, name: &str) -> bool {
        self.child(name).is_some()
    }

    fn wave_of_child(&self, name: &str) -> i64 {
        self.child(name).and_then(|child| child.sync_wave).unwrap_or(0)
    }

    /// The names of the applications that it creates.
    pub(crate) fn child_names(&self) -> Vec<String> {
        let is_application = |one: &&Resource| {
            one.group == super::names::GROUP && one.kind == "Application" && !one.requires_pruning
        };
        self.status.resources.iter().filter(is_application).map(|one| one.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn application(value: &Value) -> Application {
        understood(value, "it").unwrap()
    }

    #[test]
    fn what_argo_cd_leaves_out_is_empty_and_what_is_new_does_not_matter() {
        let bare = application(&json!({"metadata": {"name": "bare"}, "spec": {"unheardOf": [1]}}));
        assert_eq!((bare.name(), bare.is_busy(), bare.errors().len()), ("bare", false, 0));
        let error = understood(&json!({"spec": {"project": 7}}), "application x").unwrap_err().to_string();
        assert!(error.starts_with("cannot parse application x"), "{error}");
    }

    #[test]
    fn an_operation_counts_from_its_request_to_its_end() {
        for (busy, value) in [
            (true, json!({"operation": {"sync": {}}})),
            (true, json!({"status": {"operationState": {"phase": "Running"}}})),
            (true, json!({"status": {"operationState": {"phase": "Terminating"}}})),
            (false, json!({"status": {"operationState": {"phase": "Failed"}}})),
        ] {
            assert_eq!(application(&value).is_busy(), busy, "{value}");
        }
    }

    #[test]
    fn warnings_are_no_errors() {
        let conditions = json!([
            {"type": "OrphanedResourceWarning", "message": "1 orphan"},
            {"type": "ComparisonError", "message": "repository not found"},
        ]);
        let errors = application(&json!({"status": {"conditions": conditions}})).errors();
        assert_eq!(errors, ["ComparisonError: repository not found"]);
    }
}
