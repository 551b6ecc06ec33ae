//! `playctl`: the command line. One file per command under `commands/`; no engine lives here.

mod args;
mod commands;
mod interrupt;
mod log_lines;
mod platform_source;
mod printer;
mod progress;
mod session;
mod waiting;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(args::parse())
}
