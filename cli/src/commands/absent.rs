//! Replaces the commands that are missing in a build without the feature `local`, which requires Linux, and what other
//! commands use of them.

use std::ffi::OsString;

use load::WorkerCommand;
use platform::Event;

use crate::failure::{Failure, Outcome};

const WHY: &str = "this playctl was built without the feature `local`, which requires Linux: it cannot run services \
                   or a platform on this machine, or load from it";

pub(super) const INDEX: &str = "this playctl was built without the feature `local`, which requires Linux: it cannot read Elasticsearch; leave out \
     --from index";

/// Not in this build, which was made without the feature `local`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "\
Examples:
  cargo build --release        on Linux: a playctl with all commands",
    disable_help_flag = false
)]
pub(crate) struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<OsString>,
}

pub(crate) fn failure() -> Failure {
    Failure::failed(WHY)
}

pub(crate) fn outcome() -> Outcome {
    Err(failure())
}

/// No page shows a load.
pub(crate) fn teller(_selection: &str) -> impl FnMut(&Event) + use<> {
    |_| {}
}

/// This build does not know the services' variables.
pub(crate) fn misspelt(_service: &str, _variable: &str) -> Option<String> {
    None
}

/// No process of this program can make a load.
pub(crate) fn command() -> Result<WorkerCommand, Failure> {
    Err(failure())
}
