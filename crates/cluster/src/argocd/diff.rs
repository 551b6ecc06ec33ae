//! What a sync would change: the API server dry-runs every object of the repository as Argo CD's field manager, and the
//! result is compared with the live object. So defaults, other owners' fields and changes by admission webhooks count
//! as they will in the sync.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use futures_util::{StreamExt as _, stream};
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use platform::TargetError;
use serde_json::Value;

use super::{
    api::{failed, invalid},
    application::{self, Application, Ignored},
    git::{Credentials, Fetched, Remote},
    kinds::{Kinds, name_of},
    names::ROOT,
    render,
    repository::{self, Key},
    results::{Difference, Differences, ResourceName},
    rights, status,
    step::Tell,
};
use crate::{connect::Cluster, install::diff::changed};

/// Argo CD's field manager for server-side apply.
const ARGO_CD: &str = "argocd-controller";
/// The maximum number of concurrent dry runs.
const AT_ONCE: usize = 8;
/// What to compare with the cluster.
#[derive(Debug, Clone, Default)]
pub struct Diff {
    /// By name; empty: all of ours.
    pub applications: Vec<String>,
    /// A branch, tag or commit instead of the one that the applications follow.
    pub revision: Option<String>,
    /// A checkout on this machine instead of the repository.
    pub local: Option<PathBuf>,
    /// For a private repository; otherwise git's own credentials are used.
    pub ssh_key_file: Option<PathBuf>,
}

pub(super) async fn diff(
    cluster: &Cluster,
    wanted: &Diff,
    tell: &Tell,
) -> Result<Vec<Differences>, TargetError> {
    status::require(cluster, rights::READ).await?;
    let ours = application::ours(cluster).await?;
    let all: Vec<Application> = std::iter::once(ours.root).chain(ours.children).collect();
    let known: Vec<&str> = all.iter().map(Application::name).collect();
    if let Some(unknown) = wanted.applications.iter().find(|name| !known.contains(&name.as_str())) {
        return invalid(format!("we have no application {unknown}; there are: {}", known.join(", ")));
    }
    let is_chosen = |one: &&Application| {
        wanted.applications.is_empty() || wanted.applications.iter().any(|name| name == one.name())
    };
    let mut comparer = Comparer::new(cluster, wanted, tell).await?;
    let mut found = Vec::new();
    for application in all.iter().filter(is_chosen) {
        found.push(comparer.compare(application).await?);
    }
    if !comparer.denied.is_empty() {
        return failed(format!(
            "this account may not dry-run changes at {}: it lacks get or patch on {}. A dry run needs the same permissions \
             as the change itself; docs/argocd.md has a role for it",
            cluster.place,
            comparer.denied.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(found)
}

/// One comparison; a fetched revision is reused for all applications that follow it.
struct Comparer<'a> {
    cluster: &'a Cluster,
    wanted: &'a Diff,
    tell: &'a Tell,
    key: Option<Key>,
    kubernetes: String,
    kinds: Kinds<'a>,
    fetched: BTreeMap<(String, String), Fetched>,
    /// Dry runs that this account may not do.
    denied: BTreeSet<String>,
}

/// An object to compare, and its place.
struct Tried {
    name: ResourceName,
    outcome: Outcome,
}

enum Outcome {
    Missing,
    Compared { live: Value, desired: Value },
    Refused(String),
    Denied,
    Unknown(TargetError),
}

impl<'a> Comparer<'a> {
    async fn new(cluster: &'a Cluster, wanted: &'a Diff, tell: &'a Tell) -> Result<Self, TargetError> {
        let key = wanted.ssh_key_file.as_deref().map(Key::read).transpose()?;
        if let Some(revision) = &wanted.revision {
            repository::check_revision(revision)?;
        }
        Ok(Self {
            cluster,
            wanted,
            tell,
            key,
            kubernetes: cluster.version().await?,
            kinds: Kinds::new(cluster),
            fetched: BTreeMap::new(),
            denied: BTreeSet::new(),
        })
    }

    /// The checkout that an application is rendered from, and its name.
    async fn checkout(&mut self, application: &Application) -> Result<(PathBuf, String), TargetError> {
        if let Some(local) = &self.wanted.local {
            return Ok((local.clone(), local.display().to_string()));
        }
        let source = &application.spec.source;
        let revision = self.wanted.revision.as_ref().unwrap_or(&source.target_revision);
        let revision = if revision.is_empty() { "HEAD" } else { revision };
        let at = (source.repo_url.clone(), revision.to_owned());
        if !self.fetched.contains_key(&at) {
            repository::check_address(&source.repo_url)?;
            repository::check_revision(revision)?;
            self.tell.doing(format!("fetching {revision} of {}", source.repo_url)).await;
            let credentials =
                self.key.as_ref().map_or(Credentials::Own, |key| Credentials::Key(key.file.clone()));
            let remote = Remote { url: source.repo_url.clone(), credentials };
            self.fetched.insert(at.clone(), remote.fetch(revision).await?);
        }
        let Some(fetched) = self.fetched.get(&at) else { return failed("what was fetched is gone") };
        Ok((fetched.path().to_owned(), format!("{revision} ({})", super::check::short(&fetched.commit))))
    }

    async fn compare(&mut self, application: &Application) -> Result<Differences, TargetError> {
        let (folder, with) = self.checkout(application).await?;
        let name = application.name();
        self.tell.doing(format!("dry-running application {name} of {with}")).await;
        let objects = render::objects(application, Path::new(&folder), &self.kubernetes).await?;
        let namespace = &application.spec.destination.namespace;
        let mut differences = Vec::new();
        let mut placed = Vec::new();
        let mut names = BTreeSet::new();
        for mut object in objects {
            let api = self.kinds.place(&mut object, namespace).await?;
            let resource = name_of(&object);
            names.insert(resource.clone());
            match api {
                Some(api) => placed.push((resource, api, object)),
                None => differences.push(Difference::Refused {
                    resource,
                    message: "the cluster does not know this kind".to_owned(),
                }),
            }
        }
        let count = placed.len() + differences.len();
        let cluster = self.cluster;
        let tried = stream::iter(placed).map(|(name, api, object)| async move {
            let outcome = try_out(cluster, &api, &name.name, &object).await;
            Tried { name, outcome }
        });
        let tried: Vec<Tried> = tried.buffered(AT_ONCE).collect().await;
        for one in tried {
            differences.extend(self.difference(application, one)?);
        }
        differences.extend(self.left(application, &names).await?);
        Ok(Differences {
            application: name.to_owned(),
            with,
            objects: u32::try_from(count).unwrap_or(u32::MAX),
            differences,
            notes: notes(application),
        })
    }

    fn difference(
        &mut self,
        application: &Application,
        tried: Tried,
    ) -> Result<Option<Difference>, TargetError> {
        let resource = tried.name;
        Ok(match tried.outcome {
            Outcome::Missing => Some(Difference::Create { resource }),
            Outcome::Refused(message) => Some(Difference::Refused { resource, message }),
            Outcome::Denied => {
                let place = if resource.namespace.is_empty() { "the cluster" } else { &resource.namespace };
                self.denied.insert(format!("{} in {place}", resource.kind));
                None
            }
            Outcome::Unknown(error) => return Err(error),
            Outcome::Compared { mut live, mut desired } => {
                for value in [&mut live, &mut desired] {
                    normalize(value, &resource, &application.spec.ignore_differences);
                }
                let changes = changed(&resource.kind, &live, &desired);
                (!changes.is_empty()).then_some(Difference::Change { resource, changes })
            }
        })
    }

    /// Objects that Argo CD manages but the repository no longer contains.
    async fn left(
        &mut self,
        application: &Application,
        wanted: &BTreeSet<ResourceName>,
    ) -> Result<Vec<Difference>, TargetError> {
        let mut left = Vec::new();
        for one in &application.status.resources {
            let resource = one.id();
            if one.hook || wanted.contains(&resource) {
                continue;
            }
            let Some(api) = self.kinds.api(&resource, &one.version).await? else { continue };
            let what = format!("{resource}");
            if self.cluster.ask(what, api.get_metadata_opt(&resource.name)).await?.is_some() {
                left.push(Difference::Prune { resource });
            }
        }
        Ok(left)
    }
}

async fn try_out(cluster: &Cluster, api: &Api<DynamicObject>, name: &str, wanted: &Value) -> Outcome {
    let error = |call: crate::error::Call| match call.status() {
        Some(403) if !call.words().contains("is forbidden: exceeded quota") => Outcome::Denied,
        Some(400..=499) => Outcome::Refused(call.words()),
        _ => Outcome::Unknown(call.error(&format!("trying out {name}"), cluster)),
    };
    let live = match cluster.try_ask(api.get_opt(name)).await {
        Ok(Some(live)) => live,
        Ok(None) => return Outcome::Missing,
        Err(call) => return error(call),
    };
    let params = PatchParams {
        dry_run: true,
        force: true,
        field_manager: Some(ARGO_CD.to_owned()),
        ..PatchParams::default()
    };
    let desired = match cluster.try_ask(api.patch(name, &params, &Patch::Apply(wanted))).await {
        Ok(desired) => desired,
        Err(call) => return error(call),
    };
    match (serde_json::to_value(&live), serde_json::to_value(&desired)) {
        (Ok(live), Ok(desired)) => Outcome::Compared { live, desired },
        _ => Outcome::Refused("its content cannot be parsed".to_owned()),
    }
}

/// Removes what a sync ignores: the annotations of Argo CD and kubectl themselves, and fields that the application
/// ignores.
fn normalize(value: &mut Value, resource: &ResourceName, ignored: &[Ignored]) {
    for pointer in [
        "/metadata/annotations/argocd.argoproj.io~1tracking-id",
        "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
    ] {
        remove(value, pointer);
    }
    let is_any = |wanted: &str, is: &str| wanted.is_empty() || wanted == "*" || wanted == is;
    for one in ignored {
        let fits = (one.group == "*" || one.group == resource.group)
            && (one.kind == "*" || one.kind == resource.kind)
            && is_any(&one.name, &resource.name)
            && is_any(&one.namespace, &resource.namespace);
        if fits {
            one.json_pointers.iter().for_each(|pointer| remove(value, pointer));
        }
    }
    if value
        .pointer("/metadata/annotations")
        .is_some_and(|table| table.as_object().is_some_and(serde_json::Map::is_empty))
    {
        remove(value, "/metadata/annotations");
    }
}

/// Removes the value at a JSON pointer; does nothing if there is none.
fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return };
    let last = last.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(table)) => drop(table.remove(&last)),
        Some(Value::Array(list)) => {
            if let Some(index) = last.parse().ok().filter(|index| *index < list.len()) {
                list.remove(index);
            }
        }
        _ => {}
    }
}

/// Why Argo CD's own comparison may differ.
fn notes(application: &Application) -> Vec<String> {
    let mut notes = Vec::new();
    let policy = &application.spec.sync_policy;
    if application.name() != ROOT
        && !policy.sync_options.iter().any(|option| option == "ServerSideApply=true")
    {
        notes.push(
            "without the option ServerSideApply=true, a sync may also remove fields that it once set"
                .to_owned(),
        );
    }
    let ignored = &application.spec.ignore_differences;
    if ignored
        .iter()
        .any(|one| !one.jq_path_expressions.is_empty() || !one.managed_fields_managers.is_empty())
    {
        notes.push(
            "only the jsonPointers of ignoreDifferences are supported here: fields that \
             jqPathExpressions and managedFieldsManagers ignore are shown"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> ResourceName {
        ResourceName {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "playground".to_owned(),
            name: "tcp".to_owned(),
        }
    }

    #[test]
    fn what_no_sync_is_about_is_no_difference() {
        let mut live = json!({
            "metadata": {"name": "tcp", "annotations":
                {"argocd.argoproj.io/tracking-id": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"replicas": 4},
        });
        let ignored: Vec<Ignored> = serde_json::from_value(json!([
            {"group": "apps", "kind": "Deployment", "name": "tcp", "jsonPointers": ["/spec/replicas"]},
        ]))
        .unwrap();
        let mut other = live.clone();
        normalize(&mut live, &deployment(), &ignored);
        assert_eq!(live, json!({"metadata": {"name": "tcp"}, "spec": {}}));
        let udp = ResourceName { name: "udp".to_owned(), ..deployment() };
        normalize(&mut other, &udp, &ignored);
        assert_eq!(other["spec"], json!({"replicas": 4}), "that is about tcp alone");
    }

    #[test]
    fn pointers_take_away_what_they_name() {
        let mut value = json!({"spec": {"replicas": 4, "a/b": {"~": 1}}, "list": [1, 2]});
        for pointer in ["/spec/replicas", "/spec/a~1b/~0", "/list/0", "/list/7", "/not/there", "", "nonsense"]
        {
            remove(&mut value, pointer);
        }
        assert_eq!(value, json!({"spec": {"a/b": {}}, "list": [2]}));
    }

    #[test]
    fn possible_differences_from_argo_cds_result_are_noted() {
        let application = |value: Value| application::understood(&value, "it").unwrap();
        let ours = application(json!({"spec": {"syncPolicy": {"syncOptions": ["ServerSideApply=true"]}}}));
        assert!(notes(&ours).is_empty());
        let other =
            application(json!({"spec": {"ignoreDifferences": [{"kind": "*", "jqPathExpressions": [".x"]}]}}));
        assert_eq!(notes(&other).len(), 2);
    }
}
