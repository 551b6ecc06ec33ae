//! The commands' results; `docs/results.schema.json` has their schema.

use schemars::JsonSchema;
use serde::Serialize;

use crate::install::FieldChange;

/// An object of the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct ResourceName {
    /// Empty for the core group.
    pub group: String,
    pub kind: String,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for ResourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// The outcome of applying an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Created,
    Changed,
    Unchanged,
}

/// An object, and whether it had to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Put {
    #[serde(flatten)]
    pub object: ResourceName,
    pub outcome: Outcome,
}

/// `playctl argocd register`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Registered {
    pub repo: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// What the revision stands for now; absent if it was not checked.
    pub commit: Option<String>,
    /// Every Argo CD object that was checked.
    pub objects: Vec<Put>,
    /// The applications that Argo CD created from it; empty if nobody waited for them.
    pub applications: Vec<String>,
}

impl Registered {
    /// Nothing had to be written.
    pub fn is_unchanged(&self) -> bool {
        self.objects.iter().all(|put| put.outcome == Outcome::Unchanged)
    }
}

/// Why an object was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failing {
    #[serde(flatten)]
    pub resource: ResourceName,
    pub message: String,
}

/// `playctl argocd sync`, one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Synced {
    pub application: String,
    /// `Running` if nobody waited, else `Succeeded`, `Failed` or `Error`.
    pub phase: String,
    pub message: String,
    pub revision: Option<String>,
    /// Objects that were processed.
    pub resources: u32,
    /// What was not applied, and why.
    pub failed: Vec<Failing>,
    /// Objects no longer in the repository that are still there: only a sync with pruning deletes them.
    pub prune_skipped: Vec<ResourceName>,
    /// As it was when the wait ended.
    pub health: Health,
    /// Why it is not healthy.
    pub unhealthy: Vec<Verdict>,
}

/// An application's health according to Argo CD.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Health {
    /// `Healthy`, `Progressing`, `Degraded`, `Missing`, `Suspended` or `Unknown`.
    pub status: String,
    pub message: String,
}

/// An object that is not healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdict {
    #[serde(flatten)]
    pub resource: ResourceName,
    pub health: String,
    pub message: String,
}

/// Whether the cluster matches the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SyncStatus {
    /// `Synced`, `OutOfSync` or `Unknown`.
    pub status: String,
    /// The commit that the cluster was compared with.
    pub revision: Option<String>,
    /// Objects that differ from the repository.
    pub out_of_sync: Vec<ResourceName>,
    /// Of these, the ones no longer in the repository.
    pub to_prune: Vec<ResourceName>,
}

/// The last sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LastOperation {
    pub phase: String,
    pub message: String,
    /// Who started it; absent if Argo CD did.
    pub by: Option<String>,
    pub started: Option<String>,
    pub finished: Option<String>,
    pub revision: Option<String>,
    pub failed: Vec<Failing>,
}

/// One application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ApplicationStatus {
    pub name: String,
    pub project: String,
    pub repo: String,
    pub path: String,
    /// Branch, tag or commit that it follows.
    pub revision: String,
    /// Where its objects go.
    pub namespace: String,
    /// Argo CD syncs it by itself.
    pub auto_sync: bool,
    pub prune: bool,
    pub self_heal: bool,
    pub sync: SyncStatus,
    pub health: Health,
    pub unhealthy: Vec<Verdict>,
    /// What prevents Argo CD from comparing or syncing.
    pub conditions: Vec<String>,
    pub operation: Option<LastOperation>,
}

/// `playctl argocd status`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Status {
    /// Where Argo CD runs.
    pub argocd_namespace: String,
    /// The app of apps first.
    pub applications: Vec<ApplicationStatus>,
}

impl Status {
    /// Everything is Synced and Healthy.
    pub fn is_well(&self) -> bool {
        self.applications.iter().all(|one| {
            one.sync.status == "Synced" && one.health.status == "Healthy" && one.conditions.is_empty()
        })
    }
}

/// What a sync does to an object.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Difference {
    Create {
        #[serde(flatten)]
        resource: ResourceName,
    },
    Change {
        #[serde(flatten)]
        resource: ResourceName,
        changes: Vec<FieldChange>,
    },
    /// It is no longer in the repository: a sync with pruning deletes it.
    Prune {
        #[serde(flatten)]
        resource: ResourceName,
    },
    /// The API server would refuse it.
    Refused {
        #[serde(flatten)]
        resource: ResourceName,
        message: String,
    },
}

/// `playctl argocd diff`, one application.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Differences {
    pub application: String,
    /// What the cluster was compared with: a commit or a folder.
    pub with: String,
    pub objects: u32,
    pub differences: Vec<Difference>,
    /// Where this comparison may differ from Argo CD's.
    pub notes: Vec<String>,
}

/// `playctl argocd remove`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Removed {
    pub removed: Vec<ResourceName>,
    /// The applications' objects stayed.
    pub kept_objects: bool,
}
