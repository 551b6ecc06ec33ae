//! `playctl`: the command line. One file per command under `commands/`; no engine lives here.

mod args;
mod commands;
mod context;
mod failed_load;
mod failure;
mod hint;
mod installing;
mod interrupt;
mod log_lines;
mod minikube_profile;
mod options;
mod output_files;
mod platform_source;
mod printer;
mod progress;
mod results;
mod run_file;
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
