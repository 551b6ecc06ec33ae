//! The results as text.

use cluster::argocd::{
    ApplicationStatus, Difference, Differences, Follow, Outcome, Put, Registered, Removed, Status, Step,
    Synced, Verdict,
};
use cluster::install::FieldChange;
use serde_json::Value;
use similar::TextDiff;

use crate::table::wrapped;

/// Maximum number of lines to show for the change of one value.
const LINES_MAX: usize = 40;
/// Maximum number of named items of a list.
const NAMED_MAX: usize = 10;
/// Values are truncated to this many characters.
const VALUE_MAX: usize = 120;

/// The event, if it is worth a line.
pub(super) fn step_in_words(step: &Step) -> Option<String> {
    match step {
        Step::Waiting | Step::Doing { .. } | Step::Put(Put { outcome: Outcome::Unchanged, .. }) => None,
        Step::Put(Put { object, outcome: Outcome::Created }) => Some(format!("created {object}")),
        Step::Put(Put { object, outcome: Outcome::Changed }) => Some(format!("changed {object}")),
        Step::Note { text } => Some(text.clone()),
        Step::Resource { resource, wave, result, message, .. } => {
            let wave = wave.map_or_else(String::new, |wave| format!("wave {wave:>2}  "));
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Some(format!("{wave}{result:<11} {resource}{message}"))
        }
    }
}

pub(crate) fn registered(registered: &Registered) -> Vec<String> {
    let Registered { repo, revision, commit, applications, .. } = registered;
    let at = commit.as_ref().map_or_else(String::new, |commit| format!(" ({})", short(commit)));
    let verb =
        if registered.is_unchanged() { "is already registered; nothing changed" } else { "is registered" };
    let mut lines = vec![format!("{repo} at {revision}{at} {verb}")];
    if !applications.is_empty() {
        lines.push(format!("applications: {}", applications.join(", ")));
    }
    lines.push("next: playctl argocd sync · playctl argocd status".to_owned());
    lines.push("end it: playctl argocd remove".to_owned());
    lines
}

pub(crate) fn synced(synced: &Synced) -> Vec<String> {
    let Synced { application, phase, message, revision, resources, prune_skipped, health, unhealthy, .. } =
        synced;
    if phase == "Running" {
        return vec![format!("{application}: sync started; see: playctl argocd status")];
    }
    let at = revision.as_ref().map_or_else(String::new, |revision| format!(" at {}", short(revision)));
    let mut lines =
        vec![format!("{application}{at}: {phase}, {resources} objects, {}: {message}", health.status)];
    if !prune_skipped.is_empty() {
        let count = prune_skipped.len();
        lines.push(format!(
            "  {count} are no longer in the repository but still in the cluster; delete them: playctl argocd sync --prune"
        ));
        lines.extend(listed(prune_skipped.iter().map(|one| format!("    {one}"))));
    }
    lines.extend(unhealthy_lines(unhealthy));
    lines
}

/// Why a sync is not the requested one.
pub(crate) fn failure(synced: &Synced, follow: Follow) -> Option<String> {
    let Synced { application, phase, message, failed, health, unhealthy, .. } = synced;
    if !matches!(phase.as_str(), "Succeeded" | "Running") {
        let why: Vec<String> =
            failed.iter().map(|one| format!("{}: {}", one.resource, one.message)).collect();
        let why = if why.is_empty() { String::new() } else { format!("\n  {}", why.join("\n  ")) };
        return Some(format!("the sync of {application} ended with {phase}: {message}{why}"));
    }
    if follow == Follow::UntilHealthy && health.status != "Healthy" {
        let why: Vec<String> =
            unhealthy.iter().map(|one| format!("{}: {}", one.resource, one.message)).collect();
        let why = if why.is_empty() { health.message.clone() } else { why.join("\n  ") };
        return Some(format!("{application} is synced, but {}:\n  {why}", health.status));
    }
    None
}

pub(super) fn status(status: &Status, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for application in &status.applications {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(of_application(application).iter().flat_map(|line| wrapped(line, width)));
    }
    lines
}

fn of_application(application: &ApplicationStatus) -> Vec<String> {
    let ApplicationStatus { name, repo, path, revision, sync, health, .. } = application;
    let at = sync.revision.as_ref().map_or_else(String::new, |revision| format!(" ({})", short(revision)));
    let mut lines = vec![
        format!("{name}: {}, {}", sync.status, with(&health.status, &health.message)),
        format!("  {path} of {repo} at {revision}{at}, into namespace {}", application.namespace),
        format!("  {}", way_of_syncing(application)),
    ];
    lines.extend(application.conditions.iter().map(|one| format!("  PROBLEM: {one}")));
    let differing = sync.out_of_sync.iter().map(|one| {
        let left = if sync.to_prune.contains(one) { ", no longer in the repository" } else { "" };
        format!("  out of sync: {one}{left}")
    });
    lines.extend(listed(differing));
    lines.extend(unhealthy_lines(&application.unhealthy));
    if let Some(operation) = &application.operation {
        let by = operation.by.as_deref().unwrap_or("Argo CD");
        let when = operation.finished.as_ref().or(operation.started.as_ref());
        let when = when.map_or_else(String::new, |when| format!(" {when}"));
        lines.push(format!("  last sync{when} by {by}: {}", with(&operation.phase, &operation.message)));
        lines.extend(listed(
            operation.failed.iter().map(|one| format!("    {}: {}", one.resource, one.message)),
        ));
    }
    lines
}

fn way_of_syncing(application: &ApplicationStatus) -> &'static str {
    match (application.auto_sync, application.prune, application.self_heal) {
        (false, ..) => "synced manually: playctl argocd sync",
        (true, false, false) => "synced automatically",
        (true, true, false) => "synced and pruned automatically",
        (true, false, true) => "synced automatically, also after manual changes",
        (true, true, true) => "synced and pruned automatically, also after manual changes",
    }
}

fn with(status: &str, message: &str) -> String {
    if message.is_empty() { status.to_owned() } else { format!("{status}: {message}") }
}

fn unhealthy_lines(unhealthy: &[Verdict]) -> Vec<String> {
    listed(unhealthy.iter().map(|one| format!("  {}: {}: {}", one.resource, one.health, one.message)))
}

/// The first ones, and how many more there are.
fn listed(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = all.collect();
    let more = lines.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        lines.truncate(NAMED_MAX);
        lines.push(format!("  …and {more} more (--output json has all)"));
    }
    lines
}

pub(super) fn differences(all: &[Differences]) -> Vec<String> {
    let mut lines = Vec::new();
    for one in all {
        let Differences { application, with, objects, differences, notes } = one;
        match differences.len() {
            0 => lines.push(format!("{application}: {objects} objects match {with}")),
            count => lines.push(format!("{application}: {count} of {objects} objects differ from {with}")),
        }
        lines.extend(notes.iter().map(|note| format!("  note: {note}")));
        for difference in differences {
            match difference {
                Difference::Create { resource } => lines.push(format!("+ {resource}")),
                Difference::Prune { resource } => {
                    lines.push(format!(
                        "- {resource}: no longer in the repository; a sync with --prune deletes it"
                    ));
                }
                Difference::Refused { resource, message } => {
                    lines.push(format!("! {resource}: the API server refuses it: {message}"));
                }
                Difference::Change { resource, changes } => {
                    lines.push(format!("~ {resource}"));
                    lines.extend(changes.iter().flat_map(change));
                }
            }
        }
    }
    lines
}

fn change(change: &FieldChange) -> Vec<String> {
    let FieldChange { path, old: live, new: desired } = change;
    if let (Some(Value::String(live)), Some(Value::String(desired))) = (live, desired)
        && (live.contains('\n') || desired.contains('\n'))
    {
        return text_change(path, live, desired);
    }
    vec![format!("    {path}: {} → {}", shown(live.as_ref()), shown(desired.as_ref()))]
}

/// Line by line, as `diff -u` shows it.
fn text_change(path: &str, live: &str, desired: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(live, desired);
    let mut shown = diff.unified_diff();
    let text = shown.context_radius(1).missing_newline_hint(false).to_string();
    let mut lines: Vec<String> = text.lines().map(|line| format!("      {line}")).collect();
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("      …and {more} more lines"));
    }
    lines.insert(0, format!("    {path}:"));
    lines
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(VALUE_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

pub(super) fn removed(removed: &Removed) -> Vec<String> {
    let mut lines: Vec<String> = removed.removed.iter().map(|one| format!("removed {one}")).collect();
    lines.push(if removed.kept_objects {
        "the applications' objects keep running, unmanaged".to_owned()
    } else {
        "the applications' objects are gone, too; the release's namespace and its Secrets stay".to_owned()
    });
    lines
}

fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use cluster::argocd::{Failing, Health, LastOperation, ResourceName, SyncStatus};
    use serde_json::json;

    use super::*;

    fn resource(kind: &str, name: &str) -> ResourceName {
        ResourceName {
            group: "apps".to_owned(),
            kind: kind.to_owned(),
            namespace: "playground".to_owned(),
            name: name.to_owned(),
        }
    }

    fn verdict() -> Verdict {
        Verdict {
            resource: resource("Deployment", "tcp"),
            health: "Progressing".to_owned(),
            message: "0 of 1 available".to_owned(),
        }
    }

    fn a_sync(phase: &str) -> Synced {
        Synced {
            application: "playground".to_owned(),
            phase: phase.to_owned(),
            message: "one or more objects failed to apply".to_owned(),
            revision: Some("0123456789abcdef".to_owned()),
            resources: 3,
            failed: vec![Failing {
                resource: resource("Deployment", "tcp"),
                message: "field is immutable".to_owned(),
            }],
            prune_skipped: vec![resource("ConfigMap", "old")],
            health: Health { status: "Progressing".to_owned(), message: String::new() },
            unhealthy: vec![verdict()],
        }
    }

    #[test]
    fn a_failed_sync_names_the_object_and_why() {
        let failure = failure(&a_sync("Failed"), Follow::ToTheEnd).unwrap();
        assert!(
            failure.contains("ended with Failed")
                && failure.contains("Deployment playground/tcp: field is immutable")
        );
        assert_eq!(super::failure(&a_sync("Succeeded"), Follow::ToTheEnd), None);
        let unhealthy = super::failure(&a_sync("Succeeded"), Follow::UntilHealthy).unwrap();
        assert!(unhealthy.contains("Progressing") && unhealthy.contains("0 of 1 available"), "{unhealthy}");
        let lines = synced(&a_sync("Succeeded")).join("\n");
        assert!(
            lines.contains("at 01234567")
                && lines.contains("--prune")
                && lines.contains("ConfigMap playground/old"),
            "{lines}"
        );
    }

    #[test]
    fn the_status_fits_and_says_what_is_wrong() {
        let application = ApplicationStatus {
            name: "playground".to_owned(),
            project: "playground".to_owned(),
            repo: "https://host.example/lab/playctl".to_owned(),
            path: "helm-chart".to_owned(),
            revision: "main".to_owned(),
            namespace: "playground".to_owned(),
            auto_sync: true,
            prune: true,
            self_heal: true,
            sync: SyncStatus {
                status: "OutOfSync".to_owned(),
                revision: Some("0123456789abcdef".to_owned()),
                out_of_sync: (0..12).map(|number| resource("ConfigMap", &format!("c{number}"))).collect(),
                to_prune: vec![resource("ConfigMap", "c0")],
            },
            health: Health { status: "Progressing".to_owned(), message: String::new() },
            unhealthy: vec![verdict()],
            conditions: vec!["SyncError: it failed".to_owned()],
            operation: Some(LastOperation {
                phase: "Failed".to_owned(),
                message: "one failed".to_owned(),
                by: None,
                started: Some("2026-11-28T12:00:00Z".to_owned()),
                finished: None,
                revision: None,
                failed: vec![Failing { resource: resource("Service", "udp"), message: "refused".to_owned() }],
            }),
        };
        let both = Status { argocd_namespace: "argocd".to_owned(), applications: vec![application] };
        for width in [60, 110] {
            let lines = status(&both, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
            let text = lines.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
            for word in [
                "playground: OutOfSync, Progressing",
                "PROBLEM: SyncError",
                "c0, no longer in the repository",
                "and 2 more",
                "0 of 1 available",
                "by Argo CD: Failed",
                "Service playground/udp: refused",
                "synced and pruned automatically",
            ] {
                assert!(text.contains(word), "{word} is missing in {text}");
            }
        }
    }

    #[test]
    fn a_text_is_compared_line_by_line() {
        let long = (0..100).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        let of = |live: &str, desired: &str| {
            change(&FieldChange {
                path: "data.x".to_owned(),
                old: Some(json!(live)),
                new: Some(json!(desired)),
            })
        };
        let lines = of("a\nb\nc\n", "a\nB\nc\n").join("\n");
        assert!(lines.contains("-b") && lines.contains("+B") && lines.starts_with("    data.x:"), "{lines}");
        assert_eq!(of("one", "two"), ["    data.x: \"one\" → \"two\""]);
        let lines = of(&long, "none\n");
        assert_eq!(lines.len(), LINES_MAX + 2, "{lines:#?}");
        let cut = of(&"x".repeat(500), "y").join("");
        assert!(cut.chars().count() < 200, "{cut}");
    }
}
