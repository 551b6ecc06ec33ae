//! `playctl logs [SERVICE[/REPLICA]]`

use platform::{
    Target, exit,
    target::{LogLine, LogQuery},
};

use super::{Context, Outcome};
use crate::{args::Output, platform_source};

/// Print what replicas and parts wrote
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl logs                     everything, the last 100 lines
  playctl logs tcp --tail 20       one service
  playctl logs -f tcp/tcp-1        one replica, and what it goes on to write")]
pub(crate) struct Args {
    /// Only this service or replica
    #[arg(value_name = "SERVICE[/REPLICA]")]
    what: Option<String>,
    /// Go on with new lines as they are written
    #[arg(long, short)]
    follow: bool,
    /// How many of the last lines
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100)]
    tail: usize,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let target = platform_source::existing(&context.global)?;
    let (service, replica) = match args.what {
        None => (None, None),
        Some(what) => match what.split_once('/') {
            Some((service, replica)) => (Some(service.to_owned()), Some(replica.to_owned())),
            None => (Some(what), None),
        },
    };
    let query = LogQuery { service, replica, tail: Some(args.tail), follow: args.follow };
    let mut all = Vec::new();
    for line in platform_source::while_wanted(context, target.logs(&query)?) {
        let line: LogLine = line?;
        match context.printer.output() {
            Output::Human => context.printer.line(&format!("{:<12} {}", line.replica, line.text)),
            Output::Jsonl => context.printer.json_line(&line),
            Output::Json => all.push(line),
        }
        if context.printer.closed() {
            break;
        }
    }
    if context.printer.output() == Output::Json {
        context.printer.document(&all);
    }
    Ok(exit::DONE)
}
