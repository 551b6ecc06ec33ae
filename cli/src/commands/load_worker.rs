//! `playctl load-worker` (hidden): one process of a load that is too big for one.

use std::{
    ffi::OsString,
    io::{self, BufReader},
};

use load::WorkerCommand;
use platform::exit;

use super::{Failure, Outcome};

const NAME: &str = "load-worker";

/// Run a part of a load; started by `playctl load`, which it talks to over standard input and output
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Outcome {
    load::serve_worker(BufReader::new(io::stdin()), io::stdout())
        .map_err(|error| Failure::new(error.exit_code(), error.to_string()))?;
    Ok(exit::DONE)
}

/// How a worker is started: this very program.
pub(crate) fn command() -> Result<WorkerCommand, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("could not find this program's own file: {error}")))?;
    Ok(WorkerCommand { program, args: vec![OsString::from(NAME)] })
}
