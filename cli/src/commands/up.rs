//! `playctl up`

mod argocd;
pub(crate) mod cluster;
mod minikube;
mod with;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use platform::{
    Target, exit,
    target::{Applied, NODES, Progress, Snapshot, Wanted},
    values::{SettingChange, Values, ValuesSource, helm, setting},
};
use serde_json::Value;

use self::with::With;
use super::minikube::ProfileArgs;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    hint,
    options::{Output, TargetKind},
    platform_source, results, table,
};

/// Bring the platform up, on this machine or in a cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl up
  playctl up -f my-values.yaml --set tcp.autoscaling.maxReplicas=3
  playctl --platform blue up --nodes 3
  playctl up --with kafka,memcached            real servers, not embedded ones
  playctl up --with kafka=127.0.0.1:9092       one that is already running
  playctl up --gateway haproxy
  playctl up --target cluster -f production    a chart preset, through helm
  playctl up --target cluster -n chat -f production --image reg.io/playctl:1
  playctl up --target cluster -f production --dry-run   what would change
  playctl up --target minikube --nodes 3       in a minikube cluster of its own
  playctl up --target cluster -f minikube --argocd     through Argo CD

A second `up` applies only what changed. Values are merged as Helm merges them.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub bring_up: BringUp,
    #[command(flatten)]
    pub cluster: cluster::ClusterUp,
    #[command(flatten)]
    pub profile: ProfileArgs,
    #[command(flatten)]
    pub argocd: argocd::ArgoUp,
}

/// What is brought up.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct BringUp {
    /// A values file, or a preset of the chart (minikube) or of a scenario (stream-6), merged over the chart's own; repeatable
    #[arg(long = "values", short = 'f', value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set a value: key=value, in Helm's syntax
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Set a value, always as a string
    #[arg(long, value_name = "KEY=VALUE")]
    set_string: Vec<String>,
    /// Set a value as JSON: key=JSON
    #[arg(long, value_name = "KEY=JSON")]
    set_json: Vec<String>,
    /// Take values from this chart instead of the built-in one
    #[arg(long, value_name = "DIR")]
    chart: Option<PathBuf>,
    /// Number of nodes; each runs one gateway [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    nodes: Option<u32>,
    /// Real servers in place of embedded parts: kafka, memcached, elasticsearch, prometheus, redis, etcd, cassandra; found on PATH
    /// or in the testbed, or already running at ADDRESS
    #[arg(long, value_name = "PART[=ADDRESS],…", value_parser = with::parse)]
    with: Vec<Vec<With>>,
    /// The gateway: our own, or a real proxy from PATH or the testbed
    #[arg(long, value_name = "KIND", value_enum)]
    gateway: Option<GatewayKind>,
    /// Where the autoscaler's custom metrics come from; CPU and memory always come from the kernel
    #[arg(long, value_name = "SOURCE", value_enum)]
    metrics: Option<MetricsFrom>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MetricsFrom {
    /// The platform reads the kernel
    Kernel,
    /// A real Prometheus, with the queries that prometheus-adapter uses in a cluster
    Prometheus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum GatewayKind {
    Playctl,
    Envoy,
    Haproxy,
}

impl GatewayKind {
    /// Its settings, as for `--set`.
    fn set(self) -> &'static str {
        match self {
            Self::Playctl => "gateway.kind=playctl",
            Self::Envoy => "gateway.kind=envoy",
            Self::Haproxy => "gateway.kind=haproxy",
        }
    }
}

impl MetricsFrom {
    /// Its settings, as for `--set`.
    fn set(self) -> &'static [&'static str] {
        match self {
            Self::Kernel => &["metrics.source=kernel"],
            Self::Prometheus => &["metrics.source=prometheus", "prometheus.enabled=true"],
        }
    }
}

impl BringUp {
    /// The values as files and flags say them.
    fn source(&self) -> ValuesSource {
        // What is set by hand comes last and counts.
        let metrics = self.metrics.map_or(&[][..], MetricsFrom::set).iter();
        let from_flags = metrics.copied().chain(self.gateway.map(GatewayKind::set)).map(str::to_owned);
        let real = self.with.iter().flatten().flat_map(With::settings);
        ValuesSource {
            chart_dir: self.chart.clone(),
            files: self.files.clone(),
            set: from_flags.chain(self.set.iter().cloned()).collect(),
            set_string: self.set_string.clone(),
            set_json: real.chain(self.set_json.iter().cloned()).collect(),
            ..ValuesSource::default()
        }
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if context.global.target != TargetKind::Minikube
        && let Some(flag) = args.profile.first_given()
    {
        return Err(Failure::usage(format!("{flag} needs --target minikube")));
    }
    match context.global.target {
        TargetKind::Minikube => return minikube::run(context, args),
        TargetKind::Cluster if args.argocd.argocd => {
            let options = platform_source::cluster_options(&context.global);
            return argocd::run(context, &options, &args.argocd, &args.bring_up, &args.cluster);
        }
        TargetKind::Cluster => return cluster::run(context, args),
        TargetKind::Local if args.argocd.argocd => {
            return Err(Failure::usage("--argocd needs --target cluster or minikube"));
        }
        TargetKind::Local => args.cluster.refuse()?,
    }
    let chart = ValuesSource { chart_dir: args.bring_up.chart.clone(), ..ValuesSource::default() };
    let was_up = platform_source::target(context)?.is_up()?;
    let overrides = args.bring_up.source().overrides().map_err(Failure::usage)?;
    let (target, applied) = bring_up(context, &args.bring_up)?;
    let snapshot = target.snapshot()?;
    let chart = Values::load(&chart).map_err(Failure::usage)?;
    let stated = Stated { overrides, nodes: args.bring_up.nodes.is_some() };
    let width = context.printer.width();
    for line in in_words(&snapshot, &applied, was_up, &changes_in_words(&applied, &chart, &stated)).lines() {
        context.printer.line(&table::wrapped(line, width).join("\n"));
    }
    #[cfg(feature = "local")]
    let page = local::LocalTarget::new(&context.global.platform)?.page().map(|page| page.link());
    #[cfg(not(feature = "local"))]
    let page: Option<String> = None;
    if let Some(page) = &page {
        context.printer.line(&format!("  {:<10} {page}", "dashboard"));
    }
    let has_tcp = snapshot.services.iter().any(|service| service.name == "tcp");
    context.printer.line(&next_steps(&context.global.selection(), has_tcp, width));
    if context.printer.output() == Output::Json {
        context.printer.document(&results::Up { applied, snapshot, page });
    }
    Ok(exit::DONE)
}

/// Names variables that no service reads and that look like one that it does.
#[cfg(feature = "local")]
fn tell_misspelt(context: &Context, values: &Values) {
    let of_services = values.services().map(|service| (service.name.as_str(), &service.env));
    for (name, env) in of_services.chain([("gateway", &values.gateway.env)]) {
        for wrong in env.keys().filter_map(|variable| super::serve::misspelt(name, variable)) {
            context.printer.note(&format!("{name}.env: {wrong}"));
        }
    }
}

/// Names the services that lost their listeners: a list in a values file replaces the chart's.
fn tell_unreached(
    context: &Context,
    values: &Values,
    chart: Option<&Path>,
    is_here: bool,
) -> Result<(), Failure> {
    let usual = ValuesSource { chart_dir: chart.map(Path::to_owned), ..ValuesSource::default() };
    let usual = Values::load(&usual).map_err(Failure::usage)?;
    let mut unreached = values.unreached(&usual);
    // In a cluster, others reach it by its Service.
    unreached.retain(|name| is_here || *name != "profiles");
    if !unreached.is_empty() {
        context.printer.note(&format!(
            "no gateway listener leads to {}: a list in a values file replaces the whole list, so it must repeat the listeners \
             of helm-chart/values.yaml that you need",
            unreached.join(", ")
        ));
    }
    Ok(())
}

/// Brings the platform up and shows how it goes. After an interruption, or a failure, nothing is left of a
/// platform that was not up before.
pub(crate) fn bring_up(context: &Context, what: &BringUp) -> Result<(Arc<dyn Target>, Applied), Failure> {
    let values = Values::load(&what.source()).map_err(Failure::usage)?;
    #[cfg(feature = "local")]
    tell_misspelt(context, &values);
    tell_unreached(context, &values, what.chart.as_deref(), true)?;
    let target = platform_source::target(context)?;
    let wanted = Wanted { values: &values, chart: what.chart.as_deref(), nodes: what.nodes };
    let mut timeline = platform_source::timeline_of_notes(context);
    let applied = target.apply(wanted, &mut |progress| {
        if let Progress::Event(event) = progress {
            context.printer.json_line(event);
            for line in timeline.feed(event) {
                context.printer.painted_note(&line);
            }
        }
        if context.interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if context.interrupt.is_set() {
        return Err(Failure::interrupted());
    }
    Ok((target, applied?))
}

fn in_words(snapshot: &Snapshot, applied: &Applied, was_up: bool, changes: &[String]) -> String {
    let mut lines = Vec::new();
    if !was_up {
        lines.push(format!("{} is up after {}", snapshot.platform, in_seconds(applied.took)));
    } else if applied.changes.is_empty() && applied.settings.is_empty() {
        lines.push(format!("{} is already up; nothing changed", snapshot.platform));
    } else {
        lines.push(format!("{} is updated after {}", snapshot.platform, in_seconds(applied.took)));
    }
    lines.extend_from_slice(changes);
    for service in &snapshot.services {
        if let Some(endpoint) = &service.endpoint {
            lines.push(format!("  {:<10} {endpoint}", service.name));
        }
    }
    lines.join("\n")
}

/// Commands, none of them broken by the end of a line where that can be.
fn next_steps(selection: &str, has_tcp: bool, width: usize) -> String {
    const FIXED_SPACE: &str = "\u{a0}";
    let load = has_tcp.then_some("playctl load tcp-10k");
    let commands = [Some("playctl status"), load, Some("playctl watch"), Some("playctl down")];
    let commands: Vec<String> = commands
        .into_iter()
        .flatten()
        .map(|command| hint::complete(command, selection).replace(' ', FIXED_SPACE))
        .collect();
    let text = format!("next: {}", commands.join(" · "));
    table::wrapped(&text, width).join("\n").replace(FIXED_SPACE, " ")
}

/// What this `up` was given.
struct Stated {
    overrides: helm::Table,
    nodes: bool,
}

impl Stated {
    fn has(&self, key: &str) -> bool {
        if key == "nodes" { self.nodes } else { setting(&self.overrides, key).is_some() }
    }
}

/// Old → new of each setting, and which of them were only set by an earlier `up`.
fn changes_in_words(applied: &Applied, chart: &Values, stated: &Stated) -> Vec<String> {
    let mut taken_back = false;
    let mut lines: Vec<String> = applied
        .settings
        .iter()
        .map(|change| {
            let SettingChange { key, old, new } = change;
            let is_default = if key == "nodes" {
                Some(&Value::from(NODES)) == new.as_ref()
            } else {
                change.is_as_in(chart)
            };
            let forgotten = is_default && !stated.has(key);
            taken_back |= forgotten;
            let note = if forgotten { "  (back to the default)" } else { "" };
            format!("  {key}  {} → {}{note}", value(old.as_ref()), value(new.as_ref()))
        })
        .collect();
    if taken_back {
        lines.push(
            "  every up starts from the defaults: pass the flags of an earlier one (--set, -f, --nodes) again"
                .to_owned(),
        );
    }
    // What no setting explains, such as replicas that were killed for good and come back.
    let others = applied.changes.iter().filter(|change| change.ends_with(": started again"));
    lines.extend(others.map(|change| format!("  {change}")));
    lines
}

fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "(unset)".to_owned(),
        Some(Value::String(text)) => report::visible(text).into_owned(),
        Some(other) => other.to_string(),
    }
}

fn in_seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn load(set: &str) -> (Values, helm::Table) {
        let set = if set.is_empty() { Vec::new() } else { vec![set.to_owned()] };
        let source = ValuesSource { set, ..ValuesSource::default() };
        (Values::load(&source).unwrap(), source.overrides().unwrap())
    }

    /// What a second `up` says whose flags are `set`, after a first one with `earlier`.
    fn second(earlier: &str, set: &str) -> Vec<String> {
        let ((before, _), (after, overrides)) = (load(earlier), load(set));
        let settings = after.changes_since(&before);
        let applied = Applied { changes: Vec::new(), settings, took: Duration::ZERO };
        changes_in_words(&applied, &load("").0, &Stated { overrides, nodes: false })
    }

    #[test]
    fn only_omitted_settings_go_back_to_the_default() {
        let default = setting(load("").0.merged(), "tcp.autoscaling.maxReplicas").unwrap().clone();
        assert_eq!(default, json!(5));
        let taken_back = second("tcp.autoscaling.maxReplicas=3", "");
        assert!(taken_back[0].contains("3 → 5  (back to the default)"), "{taken_back:?}");
        assert!(taken_back[1].contains("every up starts from the defaults"), "{taken_back:?}");
        let stated = second("tcp.autoscaling.maxReplicas=3", "tcp.autoscaling.maxReplicas=5");
        assert_eq!(stated, ["  tcp.autoscaling.maxReplicas  3 → 5"]);
        for nothing in [second("", "tcp.autoscaling.maxReplicas=5"), second("", "tcp.env.NEW=null")] {
            assert!(nothing.is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn nodes_are_a_setting_like_any_other() {
        let change = SettingChange { key: "nodes".to_owned(), old: Some(json!(3)), new: Some(json!(2)) };
        let applied = Applied { changes: Vec::new(), settings: vec![change], took: Duration::ZERO };
        let says = |nodes| {
            let stated = Stated { overrides: helm::Table::new(), nodes };
            changes_in_words(&applied, &load("").0, &stated).concat()
        };
        assert!(says(false).contains("back to the default") && !says(true).contains("back"));
    }
}
