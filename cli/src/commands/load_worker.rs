//! `playctl load-worker` (hidden): one process of a load that is too large for a single one.

use std::{
    ffi::OsString,
    io::{self, BufReader},
};

use load::{Stop, WorkerCommand};
use platform::exit;

use crate::{
    failure::{Failure, Outcome},
    interrupt::Interrupt,
};

const NAME: &str = "load-worker";

/// Run a part of a load; started by `playctl load`, which it talks to over standard input and output
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// In a pod: reports go to its log, and the end of the input means nothing
    #[arg(long)]
    away: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let input = BufReader::new(io::stdin());
    let served = if args.away { serve_away(input)? } else { load::serve_worker(input, io::stdout()) };
    served.map_err(|error| Failure::new(error.exit_code(), error.to_string()))?;
    Ok(exit::DONE)
}

/// A pod that is told to end reports its result first.
fn serve_away(input: BufReader<io::Stdin>) -> Result<Result<(), load::LoadError>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("could not start: {error}"));
    let stop = Stop::new().map_err(|error| failed(&error))?;
    let stopped = stop.clone();
    Interrupt::install().map_err(|error| failed(&error))?.on_interrupt(move || stopped.stop());
    Ok(load::serve_away(input, io::stdout(), &stop))
}

/// Starts a worker: this same program.
pub(crate) fn command() -> Result<WorkerCommand, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("could not find this program's own file: {error}")))?;
    Ok(WorkerCommand { program, args: vec![OsString::from(NAME)] })
}
