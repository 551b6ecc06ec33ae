//! `playctl`: the command line. One file per command under `commands/`; no engine lives here.

mod args;
mod commands;
mod failed_load;
mod hint;
mod interrupt;
mod log_lines;
mod platform_source;
mod printer;
mod progress;
mod results;
mod session;
mod table;
mod waiting;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => commands::misused(&error),
    }
}
