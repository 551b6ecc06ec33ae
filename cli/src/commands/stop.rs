//! `playctl stop`, `playctl start`, `playctl drain`: orderly actions on a part, a service or a replica.

use platform::{
    exit,
    target::{Drained, Started, Stopped, Subject},
};

use crate::{context::Context, failure::Outcome, platform_source};

/// Stop a service or a part until you start it again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl stop kafka               its brokers; the same address answers again
                                   after: playctl start kafka
  playctl stop tcp                 all replicas, whatever the autoscaler wants

For one replica: playctl drain, or playctl kill --no-restart.")]
pub(crate) struct StopArgs {
    /// The service, replica or part
    #[arg(value_name = "SERVICE|PART")]
    what: Subject,
}

/// Start what was stopped, or killed with --no-restart
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl start kafka
  playctl start tcp
  playctl start tcp/tcp-1          one that was killed with --no-restart")]
pub(crate) struct StartArgs {
    /// The service, replica or part
    #[arg(value_name = "SERVICE|PART|SERVICE/REPLICA")]
    what: Subject,
}

/// Shut one replica down gracefully, as deleting its pod does: no new connections, a notice to its clients, its grace
/// period. Another replica replaces it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl drain tcp/tcp-0
  playctl drain tcp/fullest        the one with the most connections
  playctl drain gateway/node-0")]
pub(crate) struct DrainArgs {
    /// The service, replica or part
    #[arg(value_name = "SERVICE[/REPLICA]")]
    what: Subject,
}

pub(crate) fn stop(context: &Context, args: &StopArgs) -> Outcome {
    let stopped = platform_source::target(context)?.stop(&args.what)?;
    let Stopped { name, was_running } = &stopped;
    let line = if *was_running {
        format!("stopped {name}; it stays down until: playctl start {name}")
    } else {
        format!("{name} was already stopped; it stays down until: playctl start {name}")
    };
    context.printer.line(&line);
    context.printer.document(&stopped);
    Ok(exit::DONE)
}

pub(crate) fn start(context: &Context, args: &StartArgs) -> Outcome {
    let started = platform_source::target(context)?.start(&args.what)?;
    let Started { name, was_stopped } = &started;
    let line = if *was_stopped {
        format!("{name} is starting; see when it is ready: playctl status")
    } else {
        format!("{name} was not stopped")
    };
    context.printer.line(&line);
    context.printer.document(&started);
    Ok(exit::DONE)
}

pub(crate) fn drain(context: &Context, args: &DrainArgs) -> Outcome {
    let drained = platform_source::target(context)?.drain(&args.what)?;
    context.printer.line(&drained_in_words(&drained));
    context.printer.document(&drained);
    Ok(exit::DONE)
}

pub(crate) fn drained_in_words(drained: &Drained) -> String {
    let Drained { replica, connections, grace } = drained;
    let holds = match connections {
        None => String::new(),
        Some(1) => " with 1 connection".to_owned(),
        Some(many) => format!(" with {many} connections"),
    };
    format!("{replica} drains{holds}; it has {} s", grace.as_secs())
}
