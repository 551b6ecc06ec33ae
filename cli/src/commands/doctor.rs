//! `playctl doctor`

use cluster::minikube::{self, Tools};
use platform::{
    doctor::{Check, Verdict},
    exit,
};

use crate::{context::Context, options::TargetKind, platform_source, printer::Printer, table::wrapped};

/// Check what this machine has, what is missing, and how to get it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl doctor
  playctl doctor --target minikube       what a platform on minikube needs
  playctl doctor --target cluster        whether it answers, and helm is there
  playctl doctor --output json

The exit status is 1 if anything is missing that the platform needs to start.")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _args: &Args) -> u8 {
    let tools = minikube::checks(&Tools::default());
    let checks = match context.global.target {
        TargetKind::Local => of_this_machine().into_iter().chain(tools).collect(),
        TargetKind::Minikube => tools.into_iter().map(required).collect(),
        TargetKind::Cluster => {
            let helm = tools.into_iter().filter(|check| check.name == "helm").map(required);
            [cluster(context)].into_iter().chain(helm).collect::<Vec<_>>()
        }
    };
    if context.interrupt.is_set() {
        return exit::INTERRUPTED;
    }
    for check in &checks {
        for line in in_words(check, &context.printer) {
            context.printer.painted(&line);
        }
    }
    context.printer.list(&checks);
    let failed = checks.iter().any(|check| check.ok == Verdict::Fail);
    if failed { exit::FAILED } else { exit::DONE }
}

/// Without it the platform of this target does not come up.
fn required(check: Check) -> Check {
    let ok = if check.ok == Verdict::Ok { Verdict::Ok } else { Verdict::Fail };
    Check { ok, ..check }
}

/// Whether the cluster answers.
fn cluster(context: &Context) -> Check {
    match platform_source::cluster(context) {
        Ok(target) => {
            Check::new("cluster", Verdict::Ok, format!("Kubernetes {}: {}", target.version(), target.place()))
        }
        Err(failure) => Check::new("cluster", Verdict::Fail, failure.message),
    }
}

#[cfg(feature = "local")]
fn of_this_machine() -> Vec<Check> {
    local::doctor::checks()
}

/// This build lacks it.
#[cfg(not(feature = "local"))]
fn of_this_machine() -> Vec<Check> {
    Vec::new()
}

fn in_words(check: &Check, printer: &Printer) -> Vec<String> {
    let (mark, paint) = match check.ok {
        Verdict::Ok => ("✓", "32"),
        Verdict::Missing => ("-", "2"),
        Verdict::Warn => ("!", "33"),
        Verdict::Fail => ("✗", "31"),
    };
    let mut lines = wrapped(&format!("{mark} {:<18} {}", check.name, check.detail), printer.width());
    if printer.color() {
        lines[0] = lines[0].replacen(mark, &format!("\u{1b}[{paint}m{mark}\u{1b}[0m"), 1);
    }
    if let Some(fix) = check.fix.as_ref().filter(|_| check.ok != Verdict::Ok) {
        lines.extend(wrapped(&format!("    → {fix}"), printer.width()));
    }
    lines
}
