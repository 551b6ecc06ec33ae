//! `playctl doctor`

use cluster::minikube::{self, Tools};
use platform::{
    doctor::{Check, Verdict},
    exit,
};

use super::Context;

/// Say what this machine has, what is missing, and how to get it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl doctor
  playctl doctor --output json

Exit status 1 if something is missing without which the platform does not come
up on this machine.")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _args: &Args) -> u8 {
    let mut checks = of_this_machine();
    checks.extend(minikube::checks(&Tools::default()));
    for check in &checks {
        context.printer.painted(&in_words(check, context.printer.color()));
    }
    context.printer.document(&checks);
    let failed = checks.iter().any(|check| check.ok == Verdict::Fail);
    if failed { exit::FAILED } else { exit::DONE }
}

#[cfg(feature = "local")]
fn of_this_machine() -> Vec<Check> {
    local::doctor::checks()
}

/// Nothing of it is in this build.
#[cfg(not(feature = "local"))]
fn of_this_machine() -> Vec<Check> {
    Vec::new()
}

fn in_words(check: &Check, color: bool) -> String {
    let (mark, paint) = match check.ok {
        Verdict::Ok => ("✓", "32"),
        Verdict::Missing => ("-", "2"),
        Verdict::Warn => ("!", "33"),
        Verdict::Fail => ("✗", "31"),
    };
    let mark = if color { format!("\u{1b}[{paint}m{mark}\u{1b}[0m") } else { mark.to_owned() };
    let fix = match &check.fix {
        Some(fix) if check.ok != Verdict::Ok => format!("\n    → {fix}"),
        _ => String::new(),
    };
    format!("{mark} {:<18} {}{fix}", check.name, check.detail)
}
