//! The command line's arguments, as typed. Each command interprets its own.

mod narrow;
mod near;

use std::ffi::OsString;

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _,
    error::ErrorKind, parser::ValueSource,
};

#[cfg(not(feature = "local"))]
use crate::commands::{absent as dashboard, absent as demo, absent as serve};
#[cfg(feature = "local")]
use crate::commands::{dashboard, demo, load_worker, run_child, serve, supervisor};
use crate::{
    commands::{
        argocd, completion, diagnose, doctor, down, explain, image, kill, load, logs, minikube, node, report,
        scale, status, stop, up, watch,
    },
    options::{Global, NAMES_A_PLATFORM, Output},
};

const EXAMPLES: &str = "\
Examples:
  playctl demo             bring up, load with 10,000 connections, take down
  playctl up               bring the platform up on this machine
  playctl load --conns 10000 --rate 5ms    load it and print the time line
  playctl load tcp-10k     the same, as a scenario with expectations
  playctl watch            the time line, live
  playctl down             take it down and prove that nothing is left

Exit codes: 0 done, 1 failed, 2 usage or settings, 3 an expectation was not met,
4 bring-up failed, 5 teardown left something, 130 interrupted, 141 cut off by a
closed standard output.";

/// A lab and toolbox for autoscaling services with long-lived connections.
#[derive(Debug, Parser)]
#[command(name = "playctl", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 80)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Up(up::Args),
    Down(down::Args),
    Status(status::Args),
    Load(load::Args),
    Watch(watch::Args),
    Report(report::Args),
    Dashboard(dashboard::Args),
    Scale(scale::Args),
    Kill(kill::Args),
    Stop(stop::StopArgs),
    Start(stop::StartArgs),
    Drain(stop::DrainArgs),
    Logs(logs::Args),
    Explain(explain::Args),
    Diagnose(diagnose::Args),
    Doctor(doctor::Args),
    Serve(serve::Args),
    Node(node::Args),
    Image(image::Args),
    Argocd(argocd::Args),
    Completion(completion::Args),
    #[command(hide = true)]
    Keep(minikube::KeepArgs),
    #[cfg(feature = "local")]
    #[command(hide = true)]
    Supervisor(supervisor::Args),
    #[cfg(feature = "local")]
    #[command(hide = true)]
    RunChild(run_child::Args),
    #[cfg(feature = "local")]
    #[command(hide = true)]
    LoadWorker(load_worker::Args),
}

/// Parses the command line; usage errors end the process with exit code 2 and clap's own message.
pub(crate) fn parse() -> Result<Cli, UsageError> {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    understood(std::env::args_os()).map_err(|mut error| {
        near::explain(&mut error, &words);
        UsageError { wants: wanted_output(&words), error }
    })
}

fn understood(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> clap::error::Result<Cli> {
    let matches = narrow::fit(Cli::command(), narrow::width()).try_get_matches_from(words)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.global.typed = typed(&matches);
    Ok(cli)
}

fn typed(matches: &ArgMatches) -> Vec<&'static str> {
    // The command's own matches contain all of them, wherever they were typed.
    let mut own = matches;
    while let Some((_, matches)) = own.subcommand() {
        own = matches;
    }
    let is_typed = |id: &str| {
        own.ids().any(|known| known == id) && own.value_source(id) == Some(ValueSource::CommandLine)
    };
    NAMES_A_PLATFORM.into_iter().filter_map(|(id, flag)| is_typed(id).then_some(flag)).collect()
}

/// A parse error, or the answer to a question (`--help`).
#[derive(Debug)]
pub(crate) struct UsageError {
    error: clap::Error,
    /// The requested output, as far as it can be determined.
    pub wants: Output,
}

impl UsageError {
    /// Help or version, on request.
    pub(crate) fn is_answer(&self) -> bool {
        !self.error.use_stderr()
    }

    /// As text; `colored` has clap's own colours.
    pub(crate) fn text(&self, colored: bool) -> String {
        let text = self.error.render();
        let text = if colored { text.ansi().to_string() } else { text.to_string() };
        if self.error.kind() != ErrorKind::ValueValidation {
            return text;
        }
        // Messages of Rust's own parsers are not meant for users.
        [
            ("invalid digit found in string", "expected a whole number"),
            ("cannot parse integer from empty string", "expected a whole number"),
            ("number too large to fit in target type", "the number is too large"),
            (" is not in ", ": expected "),
            ("..=", " to "),
        ]
        .iter()
        .fold(text, |text, (rust, plain)| text.replace(rust, plain))
    }
}

fn wanted_output(words: &[String]) -> Output {
    let after_flag = words.windows(2).filter(|pair| pair[0] == "--output").map(|pair| pair[1].as_str());
    let joined = words.iter().filter_map(|word| word.strip_prefix("--output="));
    after_flag.chain(joined).find_map(|word| Output::from_str(word, false).ok()).unwrap_or(Output::Human)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Paragraphs are wrapped; an example would be broken in its middle.
    #[test]
    fn examples_fit_into_80_columns() {
        let is_example =
            |line: &str| line.starts_with("  ") && (line.contains("playctl ") || line.contains("- {"));
        let mut too_wide = Vec::new();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let wide = text.lines().filter(|line| is_example(line) && line.chars().count() > 80);
            too_wide.extend(wide.map(|line| format!("{}: {line}", command.get_name())));
            commands.extend(command.get_subcommands().cloned());
        }
        assert!(too_wide.is_empty(), "{too_wide:#?}");
    }

    /// clap prints a line end for `{n}`, whatever it was meant to say.
    #[test]
    fn help_texts_have_no_placeholder_that_clap_expands() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let own = [command.get_about(), command.get_long_about(), command.get_after_help()];
            let of_arguments = command.get_arguments().flat_map(|arg| [arg.get_help(), arg.get_long_help()]);
            for text in own.into_iter().chain(of_arguments).flatten().map(ToString::to_string) {
                assert!(!text.contains("{n}"), "{}: {text}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    /// The words of a document's line, as a shell would split it; `None`: it is not one of our commands.
    fn words(line: &str) -> Option<Vec<String>> {
        let line = line.trim_start_matches("$ ");
        let line =
            line.split("  #").next()?.split(" # ").next()?.split(" > ").next()?.split(" && ").next()?;
        if !line.starts_with("playctl ") || line.contains('…') || line.contains(" · ") {
            return None;
        }
        let (mut words, mut quote) = (vec![String::new()], None);
        for char in line.trim_end_matches([' ', '&']).chars() {
            match char {
                '\'' | '"' if quote.is_none() => quote = Some(char),
                char if quote == Some(char) => quote = None,
                ' ' if quote.is_none() => words.push(String::new()),
                // Optional parts are shown in brackets.
                '[' | ']' if quote.is_none() => {}
                char => words.last_mut()?.push(char),
            }
        }
        Some(words.into_iter().filter(|word| !word.is_empty()).collect())
    }

    #[test]
    fn commands_in_the_documents_are_accepted() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let pages = ["README.md", "docs/cluster.md", "docs/minikube.md", "docs/argocd.md", "docs/images.md"];
        let (mut commands, mut refused) = (0, Vec::new());
        for page in pages {
            let text = std::fs::read_to_string(format!("{root}/{page}")).unwrap();
            let blocks = text.split("```").skip(1).step_by(2).filter(|block| !block.starts_with("text"));
            for words in blocks.flat_map(str::lines).filter_map(words) {
                commands += 1;
                if let Err(error) = Cli::try_parse_from(&words) {
                    refused.push(format!("{page}: {}: {error}", words.join(" ")));
                }
            }
        }
        assert!(refused.is_empty() && commands > 40, "{commands} commands; {refused:#?}");
    }
}
