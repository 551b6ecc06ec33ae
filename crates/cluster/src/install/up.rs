//! Carries out a plan.

use std::{ffi::OsString, time::Duration};

use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;
use platform::TargetError;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    AT_ONCE, OnProgress, Progress, Site, Wanted,
    helm::HelmError,
    lease::{self, Held},
    manifest::{self, Workload},
    plan::{self, Action, Plan, Planned},
    prepare,
    ready::{self, Watch},
    release::{self, Revision},
};
use crate::gateways;

/// How long noting that helm ended early may take.
const NOTES: Duration = Duration::from_secs(10);
const SAYS_WHAT_IS_THERE: Duration = Duration::from_secs(10);
/// Revisions that Helm keeps.
const HISTORY: &str = "10";
/// How long helm may take to create what the chart has; it does not wait for pods.
const HELM: Duration = Duration::from_mins(10);
/// A pending revision younger than this may belong to a running helm: it is Helm's own time-out.
const AT_WORK: SignedDuration = SignedDuration::from_mins(5);

/// What an `up` did.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Installed {
    /// What was planned, and done.
    pub plan: Plan,
    /// Pods that are ready: all that are wanted.
    pub pods: u64,
    /// Where clients connect from outside, such as `tcp 192.0.2.1:10000/TCP`; empty: nowhere yet.
    pub endpoints: Vec<String>,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// Until everything was ready.
    #[serde(rename = "took_ms", with = "platform::duration::ms")]
    #[schemars(with = "u64")]
    pub took: Duration,
}

pub(super) async fn up(
    site: &Site,
    wanted: &Wanted,
    tell: &mut OnProgress<'_>,
) -> Result<Installed, TargetError> {
    let mut watch = Watch::new();
    let mut planned = Box::pin(site.stop.or(plan::plan(site, wanted, tell))).await?;
    if let Some(refusal) = planned.plan.refusal() {
        return Err(refusal);
    }
    for note in &planned.plan.notes {
        tell(Progress::Said(note.clone()));
    }
    let workloads = manifest::workloads(&planned.objects);
    if planned.plan.action != Action::Install {
        let primed = async {
            watch.prime(site, &workloads).await;
            Ok(())
        };
        site.stop.or(primed).await?;
    }
    let does_something = planned.plan.action != Action::Nothing;
    if does_something {
        watch.started(site, planned.nodes, tell);
        let changed = change(site, wanted, &mut planned, tell).await;
        if changed == Err(TargetError::Interrupted) {
            tell(Progress::Said(interrupted(site, &planned).await));
        }
        changed?;
    }
    let workloads = manifest::workloads(&planned.objects);
    let (pods, note) = match site.stop.or(serving(site, wanted, &workloads, &mut watch, tell)).await {
        Err(TargetError::Interrupted) => {
            tell(Progress::Said(interrupted(site, &planned).await));
            return Err(TargetError::Interrupted);
        }
        serving => serving?,
    };
    if does_something {
        watch.ready(site, tell);
    }
    let outside = ready::outside(site, &planned.objects, &planned.catalog).await;
    // Unless something changed, the gateways have had the time to find out.
    let notes = note.filter(|_| does_something).into_iter().chain(outside.notes).collect();
    let Planned { plan, .. } = planned;
    Ok(Installed { plan, pods, endpoints: outside.endpoints, notes, took: watch.took() })
}

/// Waits until all pods are ready and the gateways know them. Returns the number of pods, and a note for the user.
async fn serving(
    site: &Site,
    wanted: &Wanted,
    workloads: &[Workload],
    watch: &mut Watch,
    tell: &mut OnProgress<'_>,
) -> Result<(u64, Option<String>), TargetError> {
    let began = clock::now();
    let pods = watch.wait(site, workloads, wanted.timeout, tell).await?;
    let kubectl = format!("{} -n {}", site.kubectl(), site.namespace());
    let left = wanted.timeout.saturating_sub(began.elapsed());
    let mut on_wait = |detail| tell(Progress::Doing { stage: "ready", detail });
    Ok((pods, gateways::wait(&site.cluster, &kubectl, left, &mut on_wait).await?))
}

/// All writes happen here, under the Lease.
async fn change(
    site: &Site,
    wanted: &Wanted,
    planned: &mut Planned,
    tell: &mut OnProgress<'_>,
) -> Result<(), TargetError> {
    if planned.makes_namespace && site.stop.or(prepare::namespace(&site.cluster, &site.release)).await? {
        tell(Progress::Said(format!("namespace {} made", site.namespace())));
    }
    let held = site.stop.or(lease::take(site, "up", tell)).await?;
    let changed = alone(site, wanted, planned, &held, tell).await;
    held.give_back(site).await;
    changed
}

async fn alone(
    site: &Site,
    wanted: &Wanted,
    planned: &mut Planned,
    held: &Held,
    tell: &mut OnProgress<'_>,
) -> Result<(), TargetError> {
    let head = site.stop.or(release::history(site)).await?.pop();
    if head != planned.head {
        // The release changed after we read it.
        *planned = Box::pin(site.stop.or(plan::plan(site, wanted, tell))).await?;
        if let Some(refusal) = planned.plan.refusal() {
            return Err(refusal);
        }
    }
    if let Some(head) = planned.head.as_ref().filter(|head| head.is_pending()) {
        if !held.was_abandoned && !is_old(head) {
            return Err(at_work(site, head));
        }
        site.stop.or(release::mark_failed(site, head)).await?;
        tell(Progress::Said(format!(
            "revision {} was interrupted ({}): continuing it",
            head.number, head.status
        )));
    }
    for line in site.stop.or(prepare::secrets(site, &planned.secrets)).await? {
        tell(Progress::Said(line));
    }
    match planned.plan.action {
        Action::Nothing | Action::Prepare => return Ok(()),
        Action::Install | Action::Upgrade | Action::Repair => {}
    }
    if planned.head.as_ref().is_some_and(|head| head.status == "uninstalling") {
        tell(Progress::Said("an uninstallation was interrupted: finishing it first".to_owned()));
        let arguments = ["uninstall", &site.release, "--ignore-not-found"].map(OsString::from);
        helm(site, planned, &arguments, "finishing the uninstallation", tell).await?;
    }
    let (path, values) = (planned.chart.path.clone(), planned.chart.values.clone());
    let mut arguments: Vec<OsString> = ["upgrade", "--install", &site.release].map(OsString::from).into();
    arguments.push(path.into());
    arguments.extend(["--values".into(), values.into()]);
    arguments.extend(["--reset-values", "--history-max", HISTORY].map(OsString::from));
    if wanted.take_ownership {
        arguments.push("--take-ownership".into());
    }
    let objects = planned.plan.changes.len();
    let detail = match planned.plan.action {
        Action::Install => format!("helm installs {objects} objects"),
        _ => format!("helm changes {objects} objects"),
    };
    helm(site, planned, &arguments, &detail, tell).await
}

/// Runs helm to its end. Whatever happened, no revision is pending afterwards.
async fn helm(
    site: &Site,
    planned: &Planned,
    arguments: &[OsString],
    detail: &str,
    tell: &mut OnProgress<'_>,
) -> Result<(), TargetError> {
    let began = clock::now();
    let mut running = std::pin::pin!(planned.helm.run(arguments, &site.stop, HELM));
    let ended = loop {
        let detail = if site.stop.is_stopped() {
            "interrupted: helm notes that in the release (to end at once: Ctrl-C again)".to_owned()
        } else {
            format!("{detail} ({} s)", began.elapsed().as_secs())
        };
        tell(Progress::Doing { stage: "helm", detail });
        if let Ok(ended) = tokio::time::timeout(Duration::from_secs(1), &mut running).await {
            break ended;
        }
    };
    let Err(error) = ended else { return Ok(()) };
    // Helm has ended and we hold the Lease, so nobody else will finish this revision.
    let noted = async {
        if let Ok(history) = release::history(site).await
            && let Some(head) = history.last().filter(|head| head.is_pending())
        {
            let _ = release::mark_failed(site, head).await;
        }
    };
    // If that cannot be noted, the next `up` finds it pending, and the Lease abandoned.
    let _ = tokio::time::timeout(NOTES, noted).await;
    let is_refused = matches!(error, HelmError::Said(_));
    let error = error.explained(site);
    Err(match error {
        TargetError::BringUp { message } if is_refused => TargetError::BringUp {
            message: format!(
                "{message}\nthe changes so far stay: playctl up continues from there, playctl down removes them"
            ),
        },
        other => other,
    })
}

fn is_old(head: &Revision) -> bool {
    head.modified.is_none_or(|at| clock::wall().duration_since(at) > AT_WORK)
}

fn at_work(site: &Site, head: &Revision) -> TargetError {
    let since = head.modified.map_or_else(String::new, |at| {
        format!(" since {} s ago", clock::wall().duration_since(at).as_secs())
    });
    let message = format!(
        "helm is changing release {} right now, or was killed while doing so: revision {} is {}{since}. Wait until it is done; \
         if nobody is at work, playctl up continues {} s after that, and at once after: {} -n {} rollback {}",
        site.release,
        head.number,
        head.status,
        AT_WORK.as_secs(),
        site.helm(),
        site.namespace(),
        site.release
    );
    TargetError::BringUp { message }
}

/// What is there after an interruption, and what to do with it. Who interrupts does not wait for an API server that is silent.
async fn interrupted(site: &Site, planned: &Planned) -> String {
    let there = tokio::time::timeout(SAYS_WHAT_IS_THERE, what_is_there(site, planned)).await;
    there.unwrap_or_else(|_| unknown("the API server does not answer"))
}

fn unknown(why: &str) -> String {
    format!(
        "interrupted; what is there by now is not known: {why}; continue with the same playctl up, or take it away with: \
         playctl down"
    )
}

async fn what_is_there(site: &Site, planned: &Planned) -> String {
    let history = match release::history(site).await {
        Ok(history) => history,
        Err(error) => return unknown(&error.to_string()),
    };
    let Some(head) = history.last() else {
        return "interrupted before anything was installed; continue with: playctl up, or remove what was prepared \
                with: playctl down"
            .to_owned();
    };
    let there = stream::iter(&planned.objects)
        .map(|object| {
            let api = planned.catalog.api(&site.cluster, &object.key);
            async move {
                let Some(api) = api else { return false };
                site.cluster.try_ask(api.get_metadata(&object.key.name)).await.is_ok()
            }
        })
        .buffered(AT_ONCE)
        .filter(|is_there| std::future::ready(*is_there))
        .count()
        .await;
    format!(
        "interrupted: revision {} of release {} is {}, and {there} of its {} objects are there; continue with the same \
         playctl up, or remove it with: playctl down",
        head.number,
        site.release,
        head.status,
        planned.objects.len()
    )
}
