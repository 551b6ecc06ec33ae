//! A build without the feature `local`, which takes Linux: what this machine would have to do is not in it.

use crate::failure::{Failure, Outcome};
use std::ffi::OsString;

const WHY: &str = "this playctl was built without the feature `local`, which takes Linux: it neither runs services, nor \
                   makes load, nor has a platform on this machine";

pub(super) const INDEX: &str = "this playctl was built without the feature `local`, which takes Linux: it does not read Elasticsearch; leave out \
     --from index";

/// Not in this build, which was made without the feature `local`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "\
Examples:
  cargo build --release        on Linux: a playctl that has all commands",
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
