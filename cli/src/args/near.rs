//! Other programs' flags, and their names here.

use clap::{
    Command, CommandFactory as _, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;

/// A flag, and its equivalent: one of ours, or an explanation if there is none.
const KNOWN: [(&str, &str); 35] = [
    ("--duration", "--for"),
    ("--time", "--for"),
    ("--length", "--for"),
    ("--connections", "--conns"),
    ("--clients", "--conns"),
    ("--users", "--conns"),
    ("--concurrency", "--conns"),
    ("--interval", "--every"),
    ("--message", "--payload"),
    ("--data", "--payload"),
    ("--body", "--payload"),
    ("--rps", "--send"),
    ("--qps", "--send"),
    ("--threads", "--workers"),
    ("--processes", "--workers"),
    ("--udp", "--protocol udp"),
    ("--tcp", "--protocol tcp"),
    ("--picture", "--svg"),
    ("--lines", "--tail"),
    ("--last", "--tail"),
    ("--filter", "--grep"),
    ("--search", "--grep"),
    ("--source", "--from"),
    ("--grace", "--graceful"),
    ("--drain", "--graceful"),
    ("--file", "--values"),
    ("--manifest", "--hpa"),
    ("--name", "--platform"),
    ("--format", "--output"),
    ("--json", "--output json"),
    ("--jsonl", "--output jsonl"),
    ("--silent", "--quiet"),
    ("--no-color", "--color never"),
    ("--verbose", "--output jsonl"),
    ("--no-restart", "--no-reconnect"),
];

/// Flags that do not exist, with the reason.
const NONE: [(&str, &str); 4] = [
    ("--dry-run", "only `up --target cluster` has a dry run"),
    ("--force", "nothing asks for confirmation here, so there is nothing to force"),
    ("--yes", "nothing asks for confirmation here"),
    ("--replicas", "the number is an argument: playctl scale tcp 3"),
];

/// Adds the probably intended flag to the error about an unknown one.
pub(super) fn explain(error: &mut Error, words: &[String]) {
    match error.kind() {
        ErrorKind::UnknownArgument => {}
        ErrorKind::InvalidSubcommand => return suggest_command(error, words),
        _ => return,
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return };
    let flag = flag.split('=').next().unwrap_or_default().to_owned();
    let mut cli = Cli::command();
    cli.build();
    let command = words.iter().skip(1).find_map(|word| cli.find_subcommand(word)).unwrap_or(&cli);
    if let Some((_, meant)) = KNOWN.iter().find(|(known, meant)| *known == flag && has(command, meant)) {
        error.remove(ContextKind::Suggested);
        error.insert(ContextKind::SuggestedArg, ContextValue::String((*meant).to_owned()));
    } else if let Some((_, why)) = NONE.iter().find(|(known, _)| *known == flag) {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![(*why).into()]));
    }
}

/// Commands for playctl's own processes are not suggested for unknown names, and clap does not recognise two swapped
/// letters.
fn suggest_command(error: &mut Error, words: &[String]) {
    let found = match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(names)) => names,
        Some(ContextValue::String(name)) => vec![name],
        _ => Vec::new(),
    };
    let cli = Cli::command();
    // `serve pag` needs the names of services: the words before the unknown one select them.
    let command =
        words.iter().skip(1).fold(&cli, |command, word| command.find_subcommand(word).unwrap_or(command));
    let shown: Vec<&str> =
        command.get_subcommands().filter(|known| !known.is_hide_set()).map(Command::get_name).collect();
    let mut names: Vec<String> = found.into_iter().filter(|name| shown.contains(&name.as_str())).collect();
    if let (true, Some(ContextValue::String(typed))) =
        (names.is_empty(), error.get(ContextKind::InvalidSubcommand))
    {
        names.extend(yaml::nearest(typed, shown).map(str::to_owned));
    }
    if !names.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
    }
}

fn has(command: &Command, flag: &str) -> bool {
    let name = flag.split(' ').next().unwrap_or_default().trim_start_matches('-');
    command.get_arguments().any(|argument| argument.get_long() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suggestion_exists() {
        let mut cli = Cli::command();
        cli.build();
        for (flag, meant) in KNOWN {
            assert!(
                cli.get_subcommands().any(|command| has(command, meant)),
                "{flag}: no command has {meant}"
            );
            assert!(cli.get_subcommands().any(|command| !has(command, flag)), "every command has {flag}");
        }
    }

    #[test]
    fn commands_for_our_own_processes_are_not_suggested() {
        for (word, suggested) in [("lod", Some("'load'")), ("superviser", None)] {
            let words = ["playctl".to_owned(), word.to_owned()];
            let mut error = Cli::command().try_get_matches_from(&words).unwrap_err();
            explain(&mut error, &words);
            let text = error.to_string();
            assert!(!text.contains("load-worker") && !text.contains("'supervisor'"), "{text}");
            assert!(suggested.is_none_or(|name| text.contains(name)), "{text}");
        }
    }

    #[test]
    fn the_nearest_name_is_suggested_at_every_level() {
        for (words, suggested) in [
            (&["serve", "pag"][..], "'page'"),
            (&["serve", "balancr"], "'balancer'"),
            (&["--output", "json", "serve", "tpc"], "'tcp'"),
            (&["image", "biuld"], "'build'"),
            (&["node", "ad"], "'add'"),
            (&["satus"], "'status'"),
        ] {
            let words: Vec<String> =
                std::iter::once("playctl").chain(words.iter().copied()).map(str::to_owned).collect();
            let mut error = Cli::command().try_get_matches_from(&words).unwrap_err();
            explain(&mut error, &words);
            let text = error.to_string();
            assert!(text.contains(suggested), "{words:?}: {text}");
        }
    }

    #[test]
    fn a_near_miss_names_the_flag() {
        for (words, said) in [
            (&["load", "--duration", "5s"][..], "'--for'"),
            (&["load", "--connections=5"], "'--conns'"),
            (&["up", "--json"], "'--output json'"),
            (&["down", "--dry-run"], "only `up --target cluster` has a dry run"),
            (&["logs", "--lines", "5"], "'--tail'"),
            (&["down", "--drain"], "'--graceful'"),
            (&["scale", "tcp", "--replicas", "3"], "playctl scale tcp 3"),
        ] {
            let words: Vec<String> =
                std::iter::once("playctl").chain(words.iter().copied()).map(str::to_owned).collect();
            let mut error = Cli::command().try_get_matches_from(&words).unwrap_err();
            explain(&mut error, &words);
            let text = error.to_string();
            assert!(text.contains(said), "{words:?}: {text}");
        }
    }
}
