//! `playctl up --target cluster`

use std::time::Duration;

use cluster::install::{Action, Change, FieldChange, Installed, Plan, Requests, Wanted, What};
use platform::{duration, exit, values::Values};
use serde_json::Value;

use super::{BringUp, next_steps};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    hint, installing,
    options::Output,
    results,
};

/// Maximum number of fields to show per object; `--output json` has all.
const FIELDS_SHOWN: usize = 12;
/// Maximum length of a shown value.
const LONGEST: usize = 60;

/// What only a platform in a cluster has.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options for up --target cluster")]
pub(crate) struct ClusterUp {
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The services' image; default: the chart's, which `image load` loads into the cluster
    #[arg(long, value_name = "NAME:TAG")]
    pub(super) image: Option<String>,
    /// How long to wait until everything is ready [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) timeout: Option<Duration>,
    /// Adopt existing objects that Helm does not manage into this release
    #[arg(long)]
    pub(super) take_ownership: bool,
    /// Continue even if the nodes lack room, for clusters that add nodes automatically
    #[arg(long)]
    pub(super) ignore_capacity: bool,
}

const TIMEOUT: Duration = Duration::from_mins(5);

impl ClusterUp {
    /// They have no meaning on this machine.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        let Self { dry_run, image, timeout, take_ownership, ignore_capacity } = self;
        let given = [
            (*dry_run, "--dry-run"),
            (image.is_some(), "--image"),
            (timeout.is_some(), "--timeout"),
            (*take_ownership, "--take-ownership"),
            (*ignore_capacity, "--ignore-capacity"),
        ];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, flag)) => Err(Failure::usage(format!("{flag} needs --target cluster"))),
            None => Ok(()),
        }
    }
}

/// The requested installation.
pub(crate) fn wanted(bring_up: &BringUp, args: &ClusterUp) -> Result<Wanted, Failure> {
    if bring_up.nodes.is_some() {
        return Err(Failure::usage("--nodes: a cluster has its own nodes"));
    }
    if !bring_up.with.is_empty() {
        return Err(Failure::usage(
            "--with: a cluster cannot use servers of this machine; the chart has its own, and others go by --set, such as \
             kafka.brokers=HOST:PORT",
        ));
    }
    let mut source = bring_up.source();
    if let Some(image) = &args.image {
        let (repository, tag) = split(image)?;
        source.set_string.extend([format!("image.repository={repository}"), format!("image.tag={tag}")]);
    }
    Ok(Wanted {
        values: Values::load(&source).map_err(Failure::usage)?,
        chart: bring_up.chart.clone(),
        timeout: args.timeout.unwrap_or(TIMEOUT),
        take_ownership: args.take_ownership,
        ignore_capacity: args.ignore_capacity,
    })
}

/// `registry:5000/name:tag`
pub(super) fn split(image: &str) -> Result<(&str, &str), Failure> {
    if image.contains('@') {
        return Err(Failure::usage(format!(
            "--image {image}: expected NAME:TAG; the chart takes no digest here"
        )));
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.is_empty() && !tag.is_empty() => Ok((name, tag)),
        _ => Err(Failure::usage(format!("--image {image}: expected NAME:TAG, such as playctl:0.1.0"))),
    }
}

pub(super) fn run(context: &Context, args: &super::Args) -> Outcome {
    install(context, &wanted(&args.bring_up, &args.cluster)?, args.cluster.dry_run)
}

pub(super) fn install(context: &Context, wanted: &Wanted, dry_run: bool) -> Outcome {
    super::tell_unreached(context, &wanted.values, wanted.chart.as_deref(), false)?;
    let installer = installing::connect(context)?;
    if dry_run {
        let plan = installer.plan(wanted, &mut installing::teller(context))?;
        context.printer.progress().clear();
        for line in in_words(&plan) {
            context.printer.line(&line);
        }
        context.printer.document(&plan);
        return match plan.refusal() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(exit::DONE),
        };
    }
    let installed = installer.up(wanted, &mut installing::teller(context))?;
    context.printer.progress().clear();
    for line in outcome(&installed) {
        context.printer.line(&line);
    }
    let has_tcp = wanted.values.service("tcp").is_some_and(|tcp| tcp.enabled);
    let selection = selection(context, installer.namespace());
    if let Some(page) = page(&selection) {
        context.printer.line(&page);
    }
    context.printer.line(&next_steps(&selection, has_tcp, context.printer.width()));
    if context.printer.output() == Output::Json {
        let page_command = page_command(&selection);
        context.printer.document(&results::UpCluster { installed: &installed, page_command });
    }
    Ok(exit::DONE)
}

/// The options that select the platform, including the namespace if none was given.
fn selection(context: &Context, namespace: &str) -> String {
    let selection = context.global.selection();
    match context.global.cluster.namespace {
        Some(_) => selection,
        None => format!("{selection}-n {namespace} "),
    }
}

/// The command that shows the page of a platform elsewhere: nothing serves the page until then.
fn page_command(selection: &str) -> Option<String> {
    cfg!(feature = "local").then(|| hint::complete("playctl dashboard", selection))
}

pub(super) fn page(selection: &str) -> Option<String> {
    page_command(selection).map(|command| format!("  {:<10} {command}", "dashboard"))
}

fn outcome(installed: &Installed) -> Vec<String> {
    let Installed { plan, pods, endpoints, notes, took } = installed;
    let place = format!("{} in namespace {}", plan.release, plan.namespace);
    let mut lines = vec![match plan.action {
        Action::Nothing => format!("{place} is already up; nothing changed ({pods} pods ready)"),
        Action::Install => format!("{place} is up after {:.1} s: {pods} pods ready", took.as_secs_f64()),
        _ => format!("{place} is updated after {:.1} s: {pods} pods ready", took.as_secs_f64()),
    }];
    if plan.action != Action::Install {
        lines.extend(plan.changes.iter().flat_map(change));
    }
    lines.extend(endpoints.iter().map(|endpoint| format!("  {endpoint}")));
    lines.extend(notes.iter().map(|note| format!("  note: {note}")));
    lines
}

fn in_words(plan: &Plan) -> Vec<String> {
    let action = match plan.action {
        // The failure gives the reason. The rest is shown nevertheless.
        _ if !plan.problems.is_empty() => "cannot be changed as requested",
        Action::Install => "would be installed",
        Action::Upgrade => "would be changed",
        Action::Repair => "was left unfinished, and would be continued",
        Action::Prepare => "lacks objects that playctl creates itself",
        Action::Nothing => "is up to date",
    };
    let mut lines = vec![format!(
        "{} in namespace {} {action} (context {}, Kubernetes {}, helm {})",
        plan.release, plan.namespace, plan.context, plan.kubernetes, plan.helm
    )];
    lines.extend(plan.changes.iter().flat_map(change));
    let counts = plan.counts();
    let count = |what: &str| counts.get(what).copied().unwrap_or(0);
    lines.push(format!(
        "{} to create, {} to change, {} to remove",
        count("create"),
        count("change"),
        count("remove")
    ));
    let Requests { pods, cpu_milli, memory_bytes } = plan.requests;
    lines.push(format!(
        "in total, {pods} pods request {:.2} CPU and {:.0} MiB of memory",
        cpu_milli as f64 / 1000.0,
        memory_bytes as f64 / f64::from(1 << 20)
    ));
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines
}

fn change(change: &Change) -> Vec<String> {
    let what = match change.what {
        What::Create => "create",
        What::Change => "change",
        What::Remove => "remove",
    };
    let mut lines = vec![format!("  {what}  {} (by {})", change.object, change.by)];
    lines.extend(change.fields.iter().take(FIELDS_SHOWN).map(|field| {
        let FieldChange { path, old, new } = field;
        format!("            {path}  {} → {}", value(old.as_ref()), value(new.as_ref()))
    }));
    if change.fields.len() > FIELDS_SHOWN {
        lines.push(format!("            and {} more fields", change.fields.len() - FIELDS_SHOWN));
    }
    lines
}

fn value(value: Option<&Value>) -> String {
    let Some(value) = value else { return "(unset)".to_owned() };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_plan_is_not_reported_as_up_to_date() {
        let text = |text: &str| text.to_owned();
        let mut plan = Plan {
            release: text("blue"),
            namespace: text("chat"),
            context: text("lab"),
            kubernetes: text("v1.34.4"),
            helm: text("v3.22.0"),
            action: Action::Nothing,
            changes: Vec::new(),
            requests: Requests::default(),
            problems: Vec::new(),
            notes: Vec::new(),
        };
        assert!(in_words(&plan)[0].contains("is up to date"));
        plan.problems.push(text("StatefulSet chat/kafka cannot be changed to what the chart wants"));
        assert!(in_words(&plan)[0].starts_with("blue in namespace chat cannot be changed as requested"));
    }

    #[test]
    fn an_image_is_a_name_and_a_tag() {
        assert_eq!(split("playctl:0.1.0").unwrap(), ("playctl", "0.1.0"));
        assert_eq!(split("registry:5000/a/playctl:x").unwrap(), ("registry:5000/a/playctl", "x"));
        for bad in ["playctl", "registry:5000/playctl", "playctl@sha256:00", ":x", "playctl:"] {
            let failure = split(bad).unwrap_err();
            assert!(failure.code == exit::USAGE && failure.message.contains("NAME:TAG"), "{bad}");
        }
    }

    #[cfg(feature = "local")]
    #[test]
    fn the_command_for_a_clusters_page_is_complete() {
        assert_eq!(
            page("--target cluster --context lab -n chat ").unwrap(),
            "  dashboard  playctl --target cluster --context lab -n chat dashboard"
        );
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ü".repeat(100);
        assert_eq!(value(Some(&long.as_str().into())), format!("{}…", "ü".repeat(LONGEST)));
        assert_eq!((value(None), value(Some(&7.into()))), ("(unset)".to_owned(), "7".to_owned()));
    }
}
