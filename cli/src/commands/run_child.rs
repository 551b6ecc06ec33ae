//! `playctl run-child` (hidden): becomes a foreign program, bound to the supervisor that starts it.

use std::{ffi::OsString, path::PathBuf};

use local::child::Wrapped;

use crate::failure::{Failure, Outcome};

/// Become another program that dies with the supervisor; used by the supervisor
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where it runs
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Take listeners from standard input and name their descriptors in `LISTENER_0`, `LISTENER_1`…
    #[arg(long)]
    listeners: bool,
    /// The program and its arguments
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let mut words = args.program.into_iter();
    let program = words.next().unwrap_or_default();
    let wrapped =
        Wrapped { directory: args.directory, listeners: args.listeners, program, arguments: words.collect() };
    match wrapped.exec() {
        Ok(never) => match never {},
        Err(error) => Err(Failure::failed(error)),
    }
}
