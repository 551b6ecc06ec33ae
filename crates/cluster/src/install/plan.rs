//! What `up` would do. Making a plan changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use platform::TargetError;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    AT_ONCE, OnProgress, Progress, Site, Wanted, argocd,
    capacity::{self, Requests},
    catalog::Catalog,
    chart::Chart,
    compare::{Found, by_notes, compare},
    diff::FieldChange,
    helm::Helm,
    key::Key,
    manifest::{self, Object},
    metrics_apis,
    namespaces::{self, State},
    release::{self, Revision},
    rights,
    secrets::{self, NewSecret},
    volumes,
};

/// A namespace that terminates for longer than this counts as stuck.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// What a bring-up does, in order, and what prevents it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Plan {
    pub release: String,
    pub namespace: String,
    /// The kubeconfig's context.
    pub context: String,
    /// The API server's version.
    pub kubernetes: String,
    /// Helm's version.
    pub helm: String,
    pub action: Action,
    pub changes: Vec<Change>,
    /// The total requests of the chart's pods, including those already running.
    pub requests: Requests,
    /// What prevents it; empty if nothing does.
    pub problems: Vec<String>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// There is no release yet.
    Install,
    /// Something changed.
    Upgrade,
    /// The last installation or upgrade failed or was interrupted and continues.
    Repair,
    /// Only objects that playctl creates itself are missing.
    Prepare,
    /// Everything is up to date.
    Nothing,
}

impl Action {
    /// Whether Helm changes objects.
    fn calls_helm(self) -> bool {
        matches!(self, Self::Install | Self::Upgrade | Self::Repair)
    }
}

/// One object that is created, changed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    pub what: What,
    pub object: ObjectName,
    /// By whom: `playctl` or `helm`.
    pub by: String,
    /// For a changed object: its changed fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Create,
    Change,
    Remove,
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ObjectName {
    pub api_version: String,
    pub kind: String,
    /// Absent: it belongs to the whole cluster.
    pub namespace: Option<String>,
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// A plan with what it takes to carry it out.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) helm: Helm,
    pub(super) catalog: Catalog,
    pub(super) chart: Chart,
    /// What the chart renders.
    pub(super) objects: Vec<Object>,
    /// The last revision that Helm knows.
    pub(super) head: Option<Revision>,
    pub(super) secrets: Vec<NewSecret>,
    pub(super) makes_namespace: bool,
    /// Nodes that take pods, as far as this account may see them.
    pub(super) nodes: u32,
}

pub(super) async fn plan(
    site: &Site,
    wanted: &Wanted,
    tell: &mut OnProgress<'_>,
) -> Result<Planned, TargetError> {
    let detail = format!("reading {} and rendering the chart", site.cluster.place);
    tell(Progress::Doing { stage: "plan", detail });
    let chart = Chart::new(wanted.chart.as_deref(), &wanted.values)?;
    let rendering = async {
        let helm = Helm::find(site).await?;
        let text = render(site, wanted, &helm, &chart).await?;
        Ok::<_, TargetError>((helm, text))
    };
    let ((helm, text), catalog, history) =
        tokio::try_join!(rendering, Catalog::read(&site.cluster), release::history(site))?;
    let objects = manifest::parse("what helm renders", &text, site.namespace(), &catalog)?;
    let head = history.last().cloned();
    let before = before(site, &history, &catalog).await?;

    let mut problems = Vec::new();
    let mut notes = Vec::new();
    if wanted.take_ownership && !helm.takes_ownership() {
        problems.push(format!("--take-ownership needs helm 3.17 or newer; this is {}", helm.version));
    }
    let mut own_state = State::Unknown;
    for name in names(site, &objects) {
        let mut state = namespaces::state(site, &name).await?;
        if matches!(state, State::Ending { .. }) {
            state = match namespaces::gone(site, &name, ENDS_WITHIN, tell).await? {
                None => namespaces::state(site, &name).await?,
                Some(why) => {
                    problems.push(namespaces::stuck(site, &name, &why));
                    State::Ending { why }
                }
            };
        }
        if name == site.namespace() {
            own_state = state;
        }
    }
    let makes_namespace = own_state == State::Missing;

    // Objects of a terminating namespace cannot be compared.
    let compared = if problems.is_empty() {
        compared(site, wanted, &catalog, &objects, &before).await?
    } else {
        Vec::new()
    };
    let mut by_helm = Vec::new();
    for (object, found) in objects.iter().zip(compared) {
        match found {
            Found::Missing => by_helm.push(change(What::Create, &object.key, Vec::new())),
            Found::There(fields) if fields.is_empty() => {}
            Found::There(fields) => by_helm.push(change(What::Change, &object.key, fields)),
            Found::Problem(words) => problems.push(words),
            Found::Unknown(words) => {
                notes.push(format!("{}: could not be compared: {words}", object.key));
                let changed = by_notes(object, noted(&before, object));
                by_helm.extend(changed.map(|fields| change(What::Change, &object.key, fields)));
            }
        }
    }
    by_helm.extend(removed(site, &catalog, &before, &objects).await);

    let missing = secrets::missing(site, wanted, &objects).await?;
    problems.extend(missing.problems);
    let mut changes = Vec::new();
    if makes_namespace {
        changes.push(own(What::Create, "Namespace", None, site.namespace()));
    }
    let new = missing.new.iter();
    changes.extend(new.map(|new| own(What::Create, "Secret", Some(site.namespace()), &new.name)));

    let is_prepared = changes.is_empty();
    let action = match head.as_ref().map(|head| head.status.as_str()) {
        None | Some("uninstalled") => Action::Install,
        Some("deployed") if !by_helm.is_empty() => Action::Upgrade,
        Some("deployed") if !is_prepared => Action::Prepare,
        Some("deployed") => Action::Nothing,
        Some(_) => Action::Repair,
    };
    changes.append(&mut by_helm);
    let application = argocd::manager(site, &catalog, &objects).await;
    if let Some((namespace, application)) = application {
        // Everything else follows from that.
        problems = vec![argocd::refusal(site, &namespace, &application)];
    }
    if action != Action::Nothing && !rights::has_all(site).await? {
        problems.splice(0..0, rights::missing(site, &catalog, &objects, makes_namespace).await?);
    }
    let (requests, nodes) = room(site, wanted, &objects, action, &mut problems, &mut notes).await;
    volumes(site, wanted, &objects, action, &mut problems, &mut notes).await;
    if action.calls_helm() {
        notes.extend(metrics_apis::missing(&catalog, &objects));
    }
    let plan = Plan {
        release: site.release.clone(),
        namespace: site.namespace().to_owned(),
        context: site.cluster.context.clone(),
        kubernetes: site.version.clone(),
        helm: helm.version.clone(),
        action,
        changes,
        requests,
        problems,
        notes,
    };
    Ok(Planned { plan, helm, catalog, chart, objects, head, secrets: missing.new, makes_namespace, nodes })
}

/// The chart's manifest, as Helm would install it.
async fn render(site: &Site, wanted: &Wanted, helm: &Helm, chart: &Chart) -> Result<String, TargetError> {
    let (path, values) = (chart.path.display().to_string(), chart.values.display().to_string());
    let mut arguments = vec![
        "template",
        site.release.as_str(),
        &path,
        "--values",
        &values,
        "--no-hooks",
        "--kube-version",
        &site.version,
    ];
    // To keep existing passwords, Helm has to look them up.
    let generates = wanted.values.merged().get("secrets").is_some_and(|secrets| secrets["generate"] == true);
    if generates {
        arguments.push("--dry-run=server");
    }
    helm.read(&arguments, site).await
}

/// The objects that Helm installed, from the last deployed revision and the last of all. Where both have one, Helm goes by the
/// deployed revision to find out what left the chart.
async fn before(site: &Site, history: &[Revision], catalog: &Catalog) -> Result<Vec<Object>, TargetError> {
    let Some(head) = history.last() else { return Ok(Vec::new()) };
    let deployed = history.iter().rev().find(|one| one.status == "deployed" && one.number != head.number);
    let mut objects: Vec<Object> = Vec::new();
    for revision in [deployed, Some(head)].into_iter().flatten() {
        let text = release::manifest(site, revision).await?;
        let origin = format!("revision {} of {}", revision.number, site.release);
        for object in manifest::parse(&origin, &text, site.namespace(), catalog)? {
            if !objects.iter().any(|known| known.key.is_same(&object.key)) {
                objects.push(object);
            }
        }
    }
    Ok(objects)
}

/// The namespaces in which something is installed.
pub(super) fn names(site: &Site, objects: &[Object]) -> BTreeSet<String> {
    let of_objects = objects.iter().filter_map(|object| match object.key.kind.as_str() {
        "Namespace" => Some(object.key.name.clone()),
        _ => object.key.namespace.clone(),
    });
    of_objects.chain([site.namespace().to_owned()]).collect()
}

async fn compared(
    site: &Site,
    wanted: &Wanted,
    catalog: &Catalog,
    objects: &[Object],
    before: &[Object],
) -> Result<Vec<Found>, TargetError> {
    let mut found = Vec::with_capacity(objects.len());
    let mut answers = stream::iter(objects)
        .map(|object| compare(site, wanted, catalog, object, noted(before, object)))
        .buffered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        found.push(answer?);
    }
    Ok(found)
}

/// An object as Helm noted it.
fn noted<'a>(before: &'a [Object], object: &Object) -> Option<&'a Value> {
    before.iter().find(|known| known.key.is_same(&object.key)).map(|known| &known.value)
}

/// What was installed, is there still, and is not wanted any more.
async fn removed(site: &Site, catalog: &Catalog, before: &[Object], objects: &[Object]) -> Vec<Change> {
    let unwanted = before.iter().filter(|old| !objects.iter().any(|new| new.key.is_same(&old.key)));
    let mut changes = Vec::new();
    for old in unwanted {
        let Some(api) = catalog.api(&site.cluster, &old.key) else { continue };
        if site.cluster.try_ask(api.get_metadata(&old.key.name)).await.is_ok() {
            changes.push(change(What::Remove, &old.key, Vec::new()));
        }
    }
    changes
}

/// What pods request, and whether there is room for it.
async fn room(
    site: &Site,
    wanted: &Wanted,
    objects: &[Object],
    action: Action,
    problems: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> (Requests, u32) {
    let workloads = manifest::workloads(objects);
    let Some(rooms) = capacity::rooms(site, &names(site, objects)).await else {
        notes.push("not allowed to list nodes: cannot tell whether there is room for all pods".to_owned());
        return (capacity::requests(&workloads, &[]), 0);
    };
    // What runs already has its room.
    if action.calls_helm() {
        let lacking = capacity::lacking(&workloads, &rooms);
        if wanted.ignore_capacity {
            notes.extend(lacking);
        } else if !lacking.is_empty() {
            problems.push(format!(
                "{}\nLower the requests (--set), add nodes, or, if the cluster adds them by itself: playctl up \
                 --ignore-capacity",
                lacking.join("; ")
            ));
        }
    }
    (capacity::requests(&workloads, &rooms), u32::try_from(rooms.len()).unwrap_or(u32::MAX))
}

/// Whether there is a volume for each claim.
async fn volumes(
    site: &Site,
    wanted: &Wanted,
    objects: &[Object],
    action: Action,
    problems: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    if !action.calls_helm() {
        return;
    }
    match volumes::lacking(site, objects, wanted.values.merged()).await {
        Some(lacking) => problems.extend(lacking),
        None => notes.push(
            "not allowed to list StorageClasses, PersistentVolumes or their claims: cannot tell whether there is a volume \
             for each claim"
                .to_owned(),
        ),
    }
}

fn change(what: What, key: &Key, fields: Vec<FieldChange>) -> Change {
    let object = ObjectName {
        api_version: key.api_version(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    };
    Change { what, object, by: "helm".to_owned(), fields }
}

fn own(what: What, kind: &str, namespace: Option<&str>, name: &str) -> Change {
    let object = ObjectName {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    Change { what, object, by: "playctl".to_owned(), fields: Vec::new() }
}

impl Plan {
    /// How many objects of each kind of change there are, in the order create, change, remove.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for change in &self.changes {
            let what = match change.what {
                What::Create => "create",
                What::Change => "change",
                What::Remove => "remove",
            };
            *counts.entry(what).or_default() += 1;
        }
        counts
    }

    /// Why it cannot be done; `None`: it can.
    pub fn refusal(&self) -> Option<TargetError> {
        if self.problems.is_empty() {
            return None;
        }
        let message = match &self.problems[..] {
            [one] => one.clone(),
            several => {
                let lines: Vec<String> = several.iter().map(|problem| format!("- {problem}")).collect();
                format!("nothing was changed, because:\n{}", lines.join("\n"))
            }
        };
        Some(TargetError::BringUp { message })
    }
}
