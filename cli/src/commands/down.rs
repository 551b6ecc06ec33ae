//! `playctl down`

use platform::exit;

use super::{Context, Outcome};
use crate::{platform_source, results};

/// Take the platform down, and prove that nothing is left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl down              at once: connections are cut
  playctl down --graceful   replicas drain first, within their grace periods")]
pub(crate) struct Args {
    /// Drain first: clients get their notices, replicas their grace periods
    #[arg(long)]
    graceful: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::target(context)?;
    let detail = if args.graceful {
        "draining and taking down (as long as the grace periods allow)"
    } else {
        "taking down"
    };
    context.printer.progress().show("down", detail);
    let was_up = target.is_up()?;
    target.teardown(args.graceful)?;
    context.printer.progress().clear();
    let platform = &context.global.platform;
    context.printer.line(&if was_up {
        format!("{platform} is down; nothing is left")
    } else {
        format!("{platform} was not up; nothing is left")
    });
    context.printer.document(&results::Down { platform: platform.clone(), was_up, left: Vec::new() });
    Ok(exit::DONE)
}
