//! `playctl explain [SERVICE]`, `playctl explain --hpa FILE --state FILE`, `playctl explain --hpa FILE --print-state`

mod comparison;
pub(crate) mod result;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use autoscale::{
    explain::{
        self, Case, Instants, Text,
        state::{CALENDAR_FROM_MS, State},
    },
    manifest::{self, Entry, Manifest, ManifestError},
};
use jiff::{Timestamp, tz::TimeZone};
use platform::{
    ServiceKind, Target, exit,
    target::{Decided, ServiceSnapshot, Snapshot},
};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    options::{Global, Output, TargetKind},
    platform_source,
};
use comparison::Comparison;
use result::{Explain, Explained, Running, StateText};

/// Far above any manifest; a wrong file name must not fill the memory.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Explain what the autoscaler will do next, why, and what would change it; and the balancer's last orders
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl explain                           every autoscaled or balanced service
  playctl explain tcp --output json
  kubectl get hpa tcp -o yaml > hpa.yaml
  playctl explain --hpa hpa.yaml --print-state > state.yaml    then edit it
  playctl explain --hpa hpa.yaml --state state.yaml
  playctl explain --target cluster -n chat --hpa chat-server

The state file describes what the autoscaler sees (replicas, pods and metrics)
and remembers. docs/autoscaling.md describes its format.")]
pub(crate) struct Args {
    /// The service, such as tcp; default: every autoscaled or balanced one
    service: Option<String>,
    /// What the autoscaler in --hpa FILE sees, as YAML or JSON; - for stdin
    #[arg(long, value_name = "FILE", group = "given")]
    state: Option<PathBuf>,
    /// Print a state file for the manifest in --hpa FILE, filled in from its status
    #[arg(long, group = "given")]
    print_state: bool,
    /// Which autoscaler, if the file has several
    #[arg(long, value_name = "[NAMESPACE/]NAME", requires = "given")]
    name: Option<String>,
}

impl Args {
    /// The manifest that is to be explained by itself: a HorizontalPodAutoscaler (autoscaling/v2 or v1) as YAML or JSON,
    /// or a list of them; - for stdin. `None`: a running platform is asked.
    fn manifest<'a>(&self, global: &'a Global) -> Result<Option<&'a Path>, Failure> {
        let given = self.state.is_some() || self.print_state;
        let hpa = global.cluster.hpa.as_deref().map(Path::new);
        match (hpa, given, global.target) {
            (None, false, _) | (Some(_), false, TargetKind::Cluster | TargetKind::Minikube) => Ok(None),
            (Some(file), true, TargetKind::Local) if self.service.is_none() => Ok(Some(file)),
            (_, true, TargetKind::Cluster | TargetKind::Minikube) => Err(Failure::usage(
                "--state and --print-state are for a manifest, which needs no cluster: leave --target out, or add --target \
                 local; a cluster's autoscaler is explained from its live state",
            )),
            (Some(_), true, TargetKind::Local) => {
                Err(Failure::usage("name either a service or a manifest (--hpa FILE), not both"))
            }
            (None, true, TargetKind::Local) => {
                Err(Failure::usage("--state and --print-state need the manifest: --hpa FILE"))
            }
            (Some(_), false, TargetKind::Local) => Err(Failure::usage(
                "--hpa FILE needs the autoscaler's state: --state FILE, or --print-state to draft one; to \
                 explain an autoscaler in a cluster: --target cluster --hpa NAME",
            )),
        }
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    context.interrupt.end_at_the_first();
    let note = |note: &str| context.printer.note(note);
    match (args.manifest(&context.global)?, &args.state, &args.service) {
        (Some(hpa), None, _) => {
            let text = state_for(hpa, args.name.as_deref(), &note)?;
            context.printer.lines(text.lines());
            context.printer.document(&Explain::State(StateText { state: text }));
        }
        (Some(hpa), Some(state), _) => {
            let explained = from_files(hpa, state, args.name.as_deref(), &note)?;
            print(context, &explained);
            context.printer.document(&Explain::One(Box::new(explained)));
        }
        (None, _, Some(file)) if is_file(file) => {
            return Err(Failure::usage(format!(
                "{file} is a file, and here a service is named; for a manifest: playctl explain --hpa {file} --print-state \
                 > state.yaml, then --state state.yaml instead of --print-state"
            )));
        }
        (None, _, Some(service)) => {
            let target = platform_source::target(context)?;
            let running = running(&*target, &target.snapshot()?.services, service)?;
            print_running(context, &running);
            context.printer.document(&Explain::Service(running));
        }
        (None, _, None) => {
            let target = platform_source::target(context)?;
            let Snapshot { services, problems, .. } = target.snapshot()?;
            let told = services.iter().filter(|of| of.autoscaler.is_some() || of.balanced.is_some());
            let told =
                told.map(|service| (service.name.as_str(), running(&*target, &services, &service.name)));
            let all = each(told)?;
            if all.is_empty() {
                let words = ["no service of this platform is autoscaled".to_owned()];
                return Err(Failure::usage([&words[..], &problems].concat().join("; ")));
            }
            for running in &all {
                print_running(context, running);
            }
            let is_complete = !all.iter().any(|one| matches!(one, Running::Unexplained { .. }));
            match context.printer.output() {
                Output::Jsonl => context.printer.list(&all),
                _ => context.printer.document(&Explain::All(all)),
            }
            return Ok(if is_complete { exit::DONE } else { exit::FAILED });
        }
    }
    Ok(exit::DONE)
}

/// No service and no autoscaler is called like this.
fn is_file(name: &str) -> bool {
    name.contains('/') || [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}

/// An autoscaler that cannot be explained hides no other, unless it is the only one.
fn each<'a>(
    explained: impl Iterator<Item = (&'a str, Result<Running, Failure>)>,
) -> Result<Vec<Running>, Failure> {
    let mut all: Vec<(&str, Result<Running, Failure>)> = explained.collect();
    if let [(_, Err(_))] = &all[..]
        && let Some((_, only)) = all.pop()
    {
        return only.map(|only| vec![only]);
    }
    let named = all.into_iter().map(|(name, explained)| {
        explained.or_else(|failure| match failure.code {
            exit::INTERRUPTED => Err(failure),
            _ => Ok(Running::Unexplained { name: name.to_owned(), problem: failure.message }),
        })
    });
    named.collect()
}

/// A running service's autoscaler, with its controller's own report if that is not ours, and its balancer.
fn running(target: &dyn Target, services: &[ServiceSnapshot], service: &str) -> Result<Running, Failure> {
    let (desired, balancer) = balanced(services, service);
    let case = match target.autoscaler(service) {
        Ok(case) => case,
        Err(error) => {
            let is_autoscaled = is_autoscaled(services, service);
            if let Some(balancer) = balancer
                && !is_autoscaled
            {
                return Ok(Running::Balanced { name: service.to_owned(), replicas: desired, balancer });
            }
            let failure = Failure::from(error);
            let hint = if has_balancer(services) && !is_autoscaled {
                "; the balancer of this platform has ordered nothing for it so far: playctl logs balancer"
            } else {
                ""
            };
            return Err(Failure { message: format!("{}{hint}", failure.message), ..failure });
        }
    };
    let explained = explain(service, &case)?;
    let reported = target.reported(service)?;
    let controller = reported.map(|reported| Comparison::of(&explained.explanation, reported));
    Ok(Running::Autoscaled { explained: Box::new(Explained { controller, ..explained }), balancer })
}

/// A service's desired replicas, and a balancer's last orders.
fn balanced(services: &[ServiceSnapshot], service: &str) -> (u32, Option<Decided>) {
    let found = services.iter().find(|of| of.name == service);
    found.map_or((0, None), |found| (found.desired, found.balanced.clone()))
}

fn is_autoscaled(services: &[ServiceSnapshot], service: &str) -> bool {
    services.iter().any(|of| of.name == service && of.autoscaler.is_some())
}

fn has_balancer(services: &[ServiceSnapshot]) -> bool {
    services.iter().any(|of| of.name == ServiceKind::Balancer.name() && of.desired > 0)
}

fn print_running(context: &Context, running: &Running) {
    match running {
        Running::Autoscaled { explained, balancer } => {
            print(context, explained);
            context.printer.lines(balancer.iter().map(|decided| decided_in_words(decided, clock::wall())));
        }
        Running::Unexplained { name, problem } => {
            context.printer.line(&format!("{name} is not explained: {problem}"));
        }
        Running::Balanced { name, replicas, balancer } => {
            let replicas = counted(*replicas);
            let head = format!("{name} has no autoscaler; the balancer manages it; {replicas} wanted");
            context.printer.lines([head, decided_in_words(balancer, clock::wall())]);
        }
    }
}

fn counted(replicas: u32) -> String {
    format!("{replicas} replica{}", if replicas == 1 { " is" } else { "s are" })
}

/// A balancer's last orders, and their reason.
fn decided_in_words(Decided { at, orders, reason }: &Decided, now: Timestamp) -> String {
    let ago = now.duration_since(*at).as_secs().max(0);
    format!("  balancer, {ago} s ago: {}: {reason}", orders.join(", "))
}

fn print(context: &Context, explained: &Explained) {
    let explanation = &explained.explanation;
    let instants: &dyn Instants = if explanation.now_ms >= CALENDAR_FROM_MS { &TimeOfDay } else { &() };
    let text = Text { explanation, instants };
    context.printer.lines(in_words(&explained.name, &text, explained.controller.as_ref()));
}

fn in_words(name: &str, text: &Text<'_>, controller: Option<&Comparison>) -> Vec<String> {
    let mut lines = text.lines();
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, &format!("{name} "));
    }
    // These come first: without them, the decision differs from the controller's.
    let unread = controller.into_iter().flat_map(Comparison::unread);
    lines.splice(1..1, unread.map(|metric| format!("  NOT READ HERE, and left out below: {metric}")));
    lines.extend(controller.iter().flat_map(|controller| controller.lines()));
    lines
}

/// `note` receives problems other than those of the explained autoscaler.
fn from_files(
    hpa: &Path,
    state: &Path,
    name: Option<&str>,
    note: &dyn Fn(&str),
) -> Result<Explained, Failure> {
    if hpa == state {
        return Err(Failure::usage("--hpa and --state must be two files"));
    }
    let (hpa_text, state_text) = (read(hpa)?, read(state)?);
    let state = State::parse(&named(state), &state_text).map_err(Failure::usage)?;
    // One of its settings decides whether zero replicas are allowed.
    let manifest = chosen(hpa, &hpa_text, state.settings().scale_to_zero, name, note)?;
    let case = state.case(&manifest.spec, clock::wall().as_millisecond()).map_err(Failure::usage)?;
    explain(&manifest.name, &case)
}

/// The text of a state file for the manifest.
fn state_for(hpa: &Path, name: Option<&str>, note: &dyn Fn(&str)) -> Result<String, Failure> {
    let manifest = chosen(hpa, &read(hpa)?, true, name, note)?;
    explain::template(&manifest).map_err(|error| in_file(hpa, error))
}

/// The intended manifest.
fn chosen(
    hpa: &Path,
    text: &str,
    scale_to_zero: bool,
    name: Option<&str>,
    note: &dyn Fn(&str),
) -> Result<Manifest, Failure> {
    let mut entries = manifest::read_each(&named(hpa), text, scale_to_zero).map_err(Failure::usage)?;
    let chosen = choose(&entries, name).map_err(|error| in_file(hpa, error))?;
    let chosen = entries.remove(chosen);
    for error in entries.iter().filter_map(|entry| entry.manifest.as_ref().err()) {
        note(&format!("not read: {error}"));
    }
    chosen.manifest.map_err(|error| invalid(&error))
}

/// The position of the intended entry.
fn choose(entries: &[Entry], name: Option<&str>) -> Result<usize, String> {
    let is_meant = |entry: &Entry| match name {
        None => true,
        Some(name) => name == entry.name || name == entry.qualified_name(),
    };
    let meant: Vec<usize> = (0..entries.len()).filter(|index| is_meant(&entries[*index])).collect();
    let list = |indexes: &[usize]| {
        indexes.iter().map(|index| entries[*index].qualified_name()).collect::<Vec<_>>().join(", ")
    };
    match (meant.as_slice(), name) {
        ([one], _) => Ok(*one),
        ([], _) => {
            let all: Vec<usize> = (0..entries.len()).collect();
            Err(format!("no autoscaler is called {}; there are: {}", name.unwrap_or_default(), list(&all)))
        }
        (several, None) => Err(format!("there are several, choose one by --name: {}", list(several))),
        (several, Some(name)) if several.iter().all(|index| entries[*index].qualified_name() == name) => {
            Err(format!("{name} is in it {} times", several.len()))
        }
        (several, Some(name)) => {
            Err(format!("several are called {name}, choose one by --name NAMESPACE/NAME: {}", list(several)))
        }
    }
}

/// The API server's message and, if the reason is a setting of the controller, how to allow it.
fn invalid(error: &ManifestError) -> Failure {
    let is_zero = |error: &autoscale::FieldError| {
        error.path == "spec.minReplicas" && error.value.as_deref() == Some("0")
    };
    match error {
        ManifestError::Invalid { errors, .. } if errors.iter().any(is_zero) => Failure::usage(format!(
            "{error}; minReplicas 0 is allowed by `settings: {{scaleToZero: true}}` in the state file (the feature gate \
             HPAScaleToZero), with at least one Object or External metric"
        )),
        _ => Failure::usage(error),
    }
}

fn explain(name: &str, case: &Case) -> Result<Explained, Failure> {
    let explanation = explain::explain(case).map_err(Failure::usage)?;
    Ok(Explained { name: name.to_owned(), explanation, controller: None })
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut read = |source: &mut dyn Read| source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    let result = if path == Path::new("-") {
        read(&mut io::stdin().lock())
    } else {
        File::open(path).and_then(|mut file| read(&mut file))
    };
    match result {
        Err(error) => Err(in_file(path, error)),
        Ok(bytes) if bytes as u64 > MAX_FILE_BYTES => Err(in_file(path, "larger than 16 MiB")),
        Ok(_) => yaml::decode(&named(path), bytes).map_err(Failure::usage),
    }
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("{}: {error}", named(path)))
}

fn named(path: &Path) -> String {
    if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() }
}

/// Instants as the time of day, in this machine's time zone.
struct TimeOfDay;

impl Instants for TimeOfDay {
    fn instant(&self, at_ms: i64) -> String {
        match Timestamp::from_millisecond(at_ms) {
            Ok(timestamp) => timestamp.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string(),
            Err(_) => format!("{at_ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests;
