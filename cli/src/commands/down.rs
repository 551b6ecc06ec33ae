//! `playctl down`

use platform::exit;

use super::{Context, Outcome};
use crate::{args::TargetKind, installing, platform_source, results};

/// Take the platform down, and prove that nothing is left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl down              at once: connections are cut
  playctl down --graceful   replicas drain first, within their grace periods
  playctl down --target cluster -n chat    uninstall it there, Secrets included")]
pub(crate) struct Args {
    /// Drain first: clients get their notices, replicas their grace periods
    #[arg(long)]
    graceful: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if context.global.target == TargetKind::Cluster {
        return in_cluster(context, args);
    }
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
    let notes = Vec::new();
    context.printer.document(&results::Down { platform: platform.clone(), was_up, left: Vec::new(), notes });
    Ok(exit::DONE)
}

fn in_cluster(context: &Context, args: &Args) -> Outcome {
    let installer = installing::connect(context)?;
    let removed = installer.down(args.graceful, &mut installing::teller(context))?;
    context.printer.progress().clear();
    let (platform, namespace) = (&context.global.platform, installer.namespace());
    context.printer.line(&if removed.was_up {
        format!("{platform} is taken away from namespace {namespace}; nothing is left")
    } else {
        format!("there is no {platform} in namespace {namespace}; nothing is left")
    });
    for note in &removed.notes {
        context.printer.line(&format!("  {note}"));
    }
    let (was_up, notes) = (removed.was_up, removed.notes);
    context.printer.document(&results::Down { platform: platform.clone(), was_up, left: Vec::new(), notes });
    Ok(exit::DONE)
}
