//! What can be typed, as typed. What it means is worked out by each command.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    completion, demo, doctor, down, explain, kill, load, load_worker, logs, run_child, scale, serve, status,
    stop, supervisor, up, watch,
};

const EXAMPLES: &str = "\
Examples:
  playctl demo                              bring up, load with 10,000 connections, watch it scale, take down
  playctl up                                bring the platform up on this machine
  playctl load --conns 10000 --rate 5ms     load it, and print the autoscaler's time line
  playctl load tcp-10k                      the same as a scenario with expectations
  playctl watch                             the time line, live
  playctl down                              take it down, and prove that nothing is left

Exit codes: 0 done, 1 failed, 2 usage or settings, 3 an expectation was not met, 4 bring-up failed,
5 teardown left something, 130 interrupted.";

/// Lab and toolbox for autoscaling services that hold connections for hours.
#[derive(Debug, Parser)]
#[command(name = "playctl", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The platform's name; platforms of different names run side by side
    #[arg(long, global = true, value_name = "NAME", env = "PLAYCTL_PLATFORM", default_value = "playground")]
    pub platform: String,
    /// What the result looks like
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// When to use colours (`NO_COLOR` is honoured)
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// No progress on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Human,
    /// One JSON document at the end
    Json,
    /// One JSON object per line, as things happen
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Up(up::Args),
    Down(down::Args),
    Status(status::Args),
    Load(load::Args),
    Watch(watch::Args),
    Scale(scale::Args),
    Kill(kill::Args),
    Stop(stop::StopArgs),
    Start(stop::StartArgs),
    Drain(stop::DrainArgs),
    Logs(logs::Args),
    Explain(explain::Args),
    Doctor(doctor::Args),
    Serve(serve::Args),
    Completion(completion::Args),
    #[command(hide = true)]
    Supervisor(supervisor::Args),
    #[command(hide = true)]
    RunChild(run_child::Args),
    #[command(hide = true)]
    LoadWorker(load_worker::Args),
}

/// Parses the command line; usage errors end the process with exit code 2 and clap's own message.
pub(crate) fn parse() -> Cli {
    Cli::parse()
}
