//! `playctl doctor`

use cluster::minikube::{self, Tools};
use platform::{
    doctor::{Check, Verdict},
    exit,
};

use crate::{context::Context, printer::Printer, table::wrapped};

/// Check what this machine has, what is missing, and how to get it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl doctor
  playctl doctor --output json

The exit status is 1 if anything is missing that the platform needs to start on
this machine.")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _args: &Args) -> u8 {
    let mut checks = of_this_machine();
    checks.extend(minikube::checks(&Tools::default()));
    for check in &checks {
        for line in in_words(check, &context.printer) {
            context.printer.painted(&line);
        }
    }
    context.printer.list(&checks);
    let failed = checks.iter().any(|check| check.ok == Verdict::Fail);
    if failed { exit::FAILED } else { exit::DONE }
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
