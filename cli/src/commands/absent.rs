//! Replaces the commands that are missing in a build without the feature `local`, which requires Linux.

use std::ffi::OsString;

use crate::failure::{Failure, Outcome};

const WHY: &str = "this playctl was built without the feature `local`, which requires Linux: it cannot run services, \
                   generate load, or run a platform on this machine";

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
