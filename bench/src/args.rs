//! The command line.

use std::{num::NonZeroU32, time::Duration};

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

use crate::{
    reference, strace,
    work::{self, Work},
};

/// Measure side by side and print the table of ratios
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Without NAME all rows are measured. A run of at least 5 rounds of 10 s updates docs/performance.md, its data
(docs/performance.json) and its chart (docs/performance.svg); a shorter one only prints.

Examples:
  cargo run --release -p bench
  cargo run --release -p bench -- idle steps
  cargo run --release -p bench -- gateway-pingpong --rounds 2 --seconds 3"
)]
struct Arguments {
    /// Rows to measure; `--list` names them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// How many turns each contestant gets
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// How long to measure one turn, in seconds, after connecting and warming up
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// What to print on standard output
    #[arg(long, value_enum, default_value = "human")]
    output: Output,
    /// List the rows and what they measure
    #[arg(long)]
    list: bool,
    /// Use the existing build of playctl
    #[arg(long)]
    no_build: bool,
    /// Rebuild the document from the data of earlier runs, without measuring
    #[arg(long, conflicts_with_all = ["names", "list"])]
    document: bool,
    #[command(subcommand)]
    inner: Option<Inner>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Human,
    Json,
}

/// Subcommands with which this program starts itself.
#[derive(Debug, clap::Subcommand)]
enum Inner {
    #[command(subcommand, hide = true)]
    Reference(reference::Program),
}

/// The requested action.
pub(crate) enum Request {
    Reference(reference::Program),
    List,
    Document,
    Measure(Plan),
}

pub(crate) struct Plan {
    pub(crate) works: Vec<Work>,
    /// Also counts system calls.
    pub(crate) system_calls: bool,
    pub(crate) rounds: u32,
    pub(crate) length: Duration,
    pub(crate) output: Output,
    pub(crate) build: bool,
}

impl Plan {
    /// Long enough for the document: the rule is at least 5 rounds of at least 10 s.
    pub(crate) fn is_full(&self) -> bool {
        self.rounds >= 5 && self.length >= Duration::from_secs(10)
    }
}

pub(crate) fn parse() -> Result<Request> {
    let arguments = Arguments::parse();
    if let Some(Inner::Reference(program)) = arguments.inner {
        return Ok(Request::Reference(program));
    }
    if arguments.list {
        return Ok(Request::List);
    }
    if arguments.document {
        return Ok(Request::Document);
    }
    Ok(Request::Measure(Plan {
        works: select(&arguments.names)?,
        system_calls: arguments.names.is_empty() || arguments.names.iter().any(|name| name == strace::NAME),
        rounds: arguments.rounds.get(),
        length: Duration::from_secs(arguments.seconds),
        output: arguments.output,
        build: !arguments.no_build,
    }))
}

/// The rows with these names, in the order of the table.
fn select(names: &[String]) -> Result<Vec<Work>> {
    let mut works = work::all();
    let known: Vec<_> = works.iter().map(|work| work.name).chain([strace::NAME]).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no row is called {unknown:?}; expected one of {}", known.join(", "));
    }
    if !names.is_empty() {
        works.retain(|work| names.iter().any(|name| name == work.name));
    }
    Ok(works)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn rows_are_selected_by_name_and_an_unknown_one_is_refused() {
        let names: Vec<_> =
            select(&["steps".into(), "idle".into()]).unwrap().iter().map(|work| work.name).collect();
        assert_eq!(names, ["idle", "steps"]);
        assert_eq!(select(&[]).unwrap().len(), work::all().len());
        let error = select(&["idel".into()]).err().unwrap().to_string();
        assert!(error.contains("\"idel\"") && error.contains("idle"), "{error}");
    }
}
