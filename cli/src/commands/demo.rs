//! `playctl demo`

use std::time::Duration;

use super::{
    load::{Outputs, Shape},
    up::{self, BringUp},
};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    platform_source,
};

const SCENARIO: &str = "tcp-10k";
/// Shorter than the scenario's own 240 s: everything of interest has happened by then.
const HOLD: Duration = Duration::from_secs(30);

/// Bring the platform up, load it with 10,000 connections, watch it scale up and down, take it down
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl demo
  playctl demo --svg run.svg          with a picture of the run
  playctl demo --output jsonl         the raw events

It takes about three minutes, because it uses the real one-minute metric and
scaling windows. The exit status is 3 unless 10,000 clients connected, none was
lost, and the replicas went 1 → 2 and 2 → 1.")]
pub(crate) struct Args {
    #[command(flatten)]
    bring_up: BringUp,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    outputs: Outputs,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let name = &context.global.platform;
    if platform_source::target(context)?.is_up()? {
        return Err(Failure::failed(format!(
            "platform {name} is already up, and demo takes down what it brings up; \
             use: playctl load tcp-10k, or: playctl --platform demo demo"
        )));
    }
    args.outputs.check(args.shape.payload_file.as_deref())?;
    let (target, applied) = up::bring_up(context, &args.bring_up)?;
    context.printer.note(&format!("up after {:.2} s", applied.took.as_secs_f64()));
    let mut shape = args.shape;
    if shape.duration.is_none() {
        shape.hold.get_or_insert(HOLD);
    }
    let outcome = super::load::scenario(context, &target, SCENARIO, &shape, &args.outputs);
    context.printer.progress().show("down", "taking down");
    let teardown = target.teardown(false);
    context.printer.progress().clear();
    match teardown {
        Ok(()) => context.printer.line("  taken down, nothing is left"),
        // The load's result matters less than anything that is still running.
        Err(error) => return Err(error.into()),
    }
    outcome
}
