//! Help on a narrow terminal. The text after the options (examples with comments beside them, paragraphs) is written for
//! 80 columns; if a narrower terminal broke it anywhere, it would be unreadable.

use std::io;

use clap::Command;
use rustix::termios::tcgetwinsize;

/// The width that the texts are written for.
const WIDTH: usize = 80;
/// Minimum number of blanks between an example and its comment.
const GAP: &str = "   ";
/// A line with at least this indent belongs to the comment above.
const COMMENT_BEGINS: usize = 12;

/// The width of the help, determined like clap does: by the first stream that is a terminal, or else by COLUMNS.
pub(super) fn width() -> usize {
    let sizes = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stderr()), tcgetwinsize(io::stdin())];
    let by_terminal =
        sizes.into_iter().flatten().map(|size| usize::from(size.ws_col)).find(|columns| *columns > 0);
    let by_variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    by_terminal.or_else(by_variable).unwrap_or(WIDTH)
}

/// If `width` is less than the texts need, puts comments below their examples and lets paragraphs be wrapped.
pub(super) fn fit(command: Command, width: usize) -> Command {
    if width >= WIDTH {
        return command;
    }
    let stacked = command.get_after_help().map(|text| stacked(&text.to_string()));
    let command = match stacked {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(|command| fit(command, width))
}

enum Line {
    Paragraph(String),
    Example(String),
    Comment(String),
    Empty,
}

fn stacked(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        match (line.len() - trimmed.len(), lines.last_mut()) {
            _ if trimmed.is_empty() => lines.push(Line::Empty),
            (0, Some(Line::Paragraph(paragraph))) if !paragraph.ends_with(':') => {
                paragraph.push(' ');
                paragraph.push_str(trimmed);
            }
            (0, _) => lines.push(Line::Paragraph(trimmed.to_owned())),
            (COMMENT_BEGINS.., Some(Line::Comment(comment))) => {
                comment.push(' ');
                comment.push_str(trimmed);
            }
            (COMMENT_BEGINS.., _) => lines.push(Line::Comment(trimmed.to_owned())),
            (indent, _) => match trimmed.split_once(GAP) {
                Some((example, comment)) => {
                    lines.push(Line::Example(format!("{:indent$}{example}", "")));
                    lines.push(Line::Comment(comment.trim_start().to_owned()));
                }
                None => lines.push(Line::Example(line.to_owned())),
            },
        }
    }
    let lines = lines.into_iter().map(|line| match line {
        Line::Paragraph(text) | Line::Example(text) => text,
        Line::Comment(text) => format!("      {text}"),
        Line::Empty => String::new(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn help(name: &str, width: usize) -> String {
        let mut root = fit(Cli::command(), width).term_width(width);
        root.build();
        root.find_subcommand_mut(name).unwrap().render_long_help().to_string()
    }

    #[test]
    fn comments_move_below_their_examples_on_a_narrow_terminal() {
        let shown = help("report", 40);
        assert!(
            shown.contains("  playctl report run.jsonl\n      its time line and its summary\n"),
            "{shown}"
        );
        assert!(shown.contains("      `-` is standard input or output\n"), "{shown}");
        let paragraph = shown.split("Lines that are not events").nth(1).unwrap();
        assert!(paragraph.lines().rev().skip(1).all(|line| line.len() > 12), "{paragraph}");
        assert!(help("report", 80).contains("playctl report run.jsonl                     its time line"));
    }

    /// Without room, a comment becomes a column of single words.
    #[test]
    fn no_help_has_a_column_of_single_words() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            for line in
                command.get_after_help().map(|text| stacked(&text.to_string())).unwrap_or_default().lines()
            {
                let text = line.trim_start();
                let indent = line.len() - text.len();
                assert!(indent < COMMENT_BEGINS && !text.contains(GAP), "{}: {line:?}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
