//! `playctl watch`

use platform::{Target, target::EventsFrom};

use super::{Context, Outcome};
use crate::{args::Output, platform_source};

/// Print the platform's time line, live
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl watch                   from now on
  playctl watch --from-start      all since it came up, then live
  playctl watch --output jsonl    the events themselves")]
pub(crate) struct Args {
    /// Begin with the first event since the platform came up
    #[arg(long)]
    from_start: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::existing(context)?;
    let from = if args.from_start { EventsFrom::Start } else { EventsFrom::Now };
    let mut timeline = platform_source::timeline(context);
    let mut all = Vec::new();
    for event in platform_source::while_wanted(context, target.events(from)?) {
        let event = event?;
        match context.printer.output() {
            Output::Human => timeline.feed(&event).iter().for_each(|line| context.printer.painted(line)),
            Output::Jsonl => context.printer.json_line(&event),
            Output::Json => all.push(event),
        }
        if context.printer.closed() {
            break;
        }
    }
    if context.printer.output() == Output::Json {
        context.printer.document(&all);
    }
    context.ended()
}
