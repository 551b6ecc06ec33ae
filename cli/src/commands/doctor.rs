//! `playctl doctor`

use local::doctor::{Check, Verdict, checks};
use platform::exit;

use super::Context;

/// Say what this machine has, what is missing, and how to get it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl doctor
  playctl doctor --output json

Exit status 1 if something is missing without which the platform does not come up.")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _args: &Args) -> u8 {
    let checks = checks();
    for check in &checks {
        context.printer.painted(&in_words(check, context.printer.color()));
    }
    context.printer.document(&checks);
    let failed = checks.iter().any(|check| check.ok == Verdict::Fail);
    if failed { exit::FAILED } else { exit::DONE }
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
