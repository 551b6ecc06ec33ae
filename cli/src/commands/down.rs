//! `playctl down`

use platform::exit;

use super::minikube;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    installing,
    options::TargetKind,
    platform_source, results,
};

/// Take the platform down and prove that nothing is left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl down              immediately, cutting connections
  playctl down --graceful   replicas drain first, within their grace periods
  playctl down --target cluster -n chat    uninstall it, including its Secrets
  playctl down --target minikube           delete the whole profile")]
pub(crate) struct Args {
    /// Drain first: clients get their notices and replicas their grace periods
    #[arg(long)]
    graceful: bool,
    /// With --target minikube: keep the profile, and remove what runs in it
    #[arg(long)]
    keep_cluster: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if args.keep_cluster && context.global.target != TargetKind::Minikube {
        return Err(Failure::usage("--keep-cluster needs --target minikube"));
    }
    match context.global.target {
        TargetKind::Minikube => return in_minikube(context, args),
        TargetKind::Cluster => return in_cluster(context, args),
        TargetKind::Local => {}
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
    #[cfg(feature = "local")]
    local::Voice::sweep(&super::dashboard::hearsay_key(&context.global.selection()));
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

/// Deletes the profile, and everything with it.
fn in_minikube(context: &Context, args: &Args) -> Outcome {
    if args.keep_cluster {
        in_cluster(context, args)?;
        return minikube::close(context);
    }
    if args.graceful {
        installing::connect(context)?.down(true, &mut installing::teller(context))?;
    }
    minikube::down(context)
}

fn in_cluster(context: &Context, args: &Args) -> Outcome {
    let installer = installing::connect(context)?;
    let removed = installer.down(args.graceful, &mut installing::teller(context))?;
    context.printer.progress().clear();
    let (platform, namespace) = (&context.global.platform, installer.namespace());
    context.printer.line(&if removed.was_up {
        format!("{platform} is removed from namespace {namespace}; nothing is left")
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
