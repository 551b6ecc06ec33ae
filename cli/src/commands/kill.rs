//! `playctl kill SERVICE[/REPLICA]`

use platform::{Target, exit};

use super::{Context, Outcome};
use crate::platform_source;

/// Kill a replica without notice (SIGKILL), to see what happens
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl kill tcp                 the replica with the lowest ordinal
  playctl kill tcp/tcp-1           this one; it is started again after the kubelet's back-off
  playctl kill tcp/tcp-1 --no-restart")]
pub(crate) struct Args {
    /// Which one
    #[arg(value_name = "SERVICE[/REPLICA]")]
    what: String,
    /// Leave it dead
    #[arg(long)]
    no_restart: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::existing(&context.global)?;
    let (service, replica) = match args.what.split_once('/') {
        Some((service, replica)) => (service, Some(replica)),
        None => (args.what.as_str(), None),
    };
    let killed = target.kill(service, replica, !args.no_restart)?;
    let next = match killed.restart_in {
        Some(after) if after.is_zero() => "it is started again now".to_owned(),
        Some(after) => format!("it is started again in {} s", after.as_secs()),
        None => "it stays dead; playctl scale or down and up bring it back".to_owned(),
    };
    context.printer.line(&format!("killed {} (pid {}); {next}", killed.replica, killed.pid));
    context.printer.document(&killed);
    Ok(exit::DONE)
}
