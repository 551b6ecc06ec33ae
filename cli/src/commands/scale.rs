//! `playctl scale SERVICE N`

use platform::{Target, exit, target::Scaled};

use super::{Context, Outcome};
use crate::platform_source;

/// Set a service's replicas, like kubectl scale
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl scale tcp 3

Replicas that go are drained: their clients get a notice and come back elsewhere. Where the service is
autoscaled, the autoscaler goes on from the new number at its next sync.")]
pub(crate) struct Args {
    /// The service, such as tcp
    service: String,
    /// How many replicas it shall have
    replicas: u32,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::existing(context)?;
    let scaled = target.scale(&args.service, args.replicas)?;
    context.printer.line(&in_words(&args.service, &scaled));
    context.printer.document(&scaled);
    Ok(exit::DONE)
}

fn in_words(service: &str, scaled: &Scaled) -> String {
    let Scaled { from, to, autoscaled } = *scaled;
    let done =
        if from == to { format!("{service} has {to} already") } else { format!("{service} {from} → {to}") };
    match autoscaled {
        None => done,
        Some((min, max)) => format!(
            "{done}\nthe autoscaler ({min} to {max}) goes on from {to}: it may change this at its next sync"
        ),
    }
}
