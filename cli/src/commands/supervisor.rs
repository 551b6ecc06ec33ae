//! `playctl supervisor` (hidden): the background process behind `playctl up`.

use platform::exit;

use crate::failure::{Failure, Outcome};

/// Run the supervisor of a platform; started by `playctl up`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The platform's name; its description comes over standard input
    #[arg(long)]
    name: String,
}

pub(crate) fn run(args: &Args) -> Outcome {
    local::supervisor::run(&args.name).map_err(Failure::failed)?;
    Ok(exit::DONE)
}
