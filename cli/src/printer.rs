//! The one place that prints: results to stdout, everything else to stderr.
//!
//! In text output, text from outside (log lines, events, errors, names) is made safe here: control characters, escape
//! sequences and direction marks are escaped, so that nothing can steer the terminal or forge a line. JSON is exact.
//! Commands in hints are completed, so that they can be copied unchanged ([`crate::hint`]).
//!
//! A reader that goes away (`playctl watch | head`) is not an error: printing stops and [`Printer::closed`] tells
//! long-running commands to end. A full disk is an error: [`Printer::lost`].

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use report::visible;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::{
    hint,
    options::{Global, Output, When},
    progress::Progress,
    table,
};

/// Where text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    Nowhere,
    /// Standard output is one, and standard error may be one.
    OnTerminals,
    Everywhere,
}

/// The output of this invocation.
pub(crate) struct Printer {
    output: Output,
    /// The options that select the platform.
    selection: String,
    color: Color,
    width: usize,
    /// Lines longer than the terminal's width are wrapped; without a terminal they stay whole.
    breaks: bool,
    quiet: bool,
    progress: Arc<Progress>,
    closed: AtomicBool,
    lost: Mutex<Option<io::Error>>,
    /// A JSON document was written; a second one would make it unreadable.
    has_document: AtomicBool,
}

impl Printer {
    pub(crate) fn new(global: &Global) -> Self {
        let color = match global.color {
            When::Always => Color::Everywhere,
            When::Auto if io::stdout().is_terminal() && allows_color(|name| std::env::var_os(name)) => {
                Color::OnTerminals
            }
            When::Auto | When::Never => Color::Nowhere,
        };
        Self {
            output: global.output,
            selection: global.selection(),
            color,
            width: stdout_width(),
            breaks: io::stdout().is_terminal(),
            quiet: global.quiet,
            progress: Arc::new(Progress::new(!global.quiet)),
            closed: AtomicBool::new(false),
            lost: Mutex::default(),
            has_document: AtomicBool::new(false),
        }
    }

    pub(crate) fn output(&self) -> Output {
        self.output
    }

    pub(crate) fn color(&self) -> bool {
        self.color != Color::Nowhere
    }

    /// Whether text on stderr may have colours.
    pub(crate) fn color_of_notes(&self) -> bool {
        match self.color {
            Color::Nowhere => false,
            Color::OnTerminals => io::stderr().is_terminal(),
            Color::Everywhere => true,
        }
    }

    /// The width to draw in: the terminal's; without one COLUMNS says it, and the default is 110.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Whether the reader of stdout went away: noticed by a write, or, without one, by polling.
    pub(crate) fn closed(&self) -> bool {
        if !self.closed.load(Ordering::Relaxed) && reader_is_gone() {
            self.closed.store(true, Ordering::Relaxed);
        }
        self.closed.load(Ordering::Relaxed)
    }

    /// Why a part of the result could not be written; returned once.
    pub(crate) fn lost(&self) -> Option<io::Error> {
        self.lost.lock().take()
    }

    /// Our own text, as part of the result: goes to stdout only with `--output human`. Text after a line end, which may
    /// come from a name, is indented.
    pub(crate) fn line(&self, text: &str) {
        if self.output == Output::Human {
            self.write_out(&indented(&hint::complete(text, &self.selection)));
        }
    }

    /// The same for several lines: each item stays one line, whatever names it contains.
    pub(crate) fn lines(&self, items: impl IntoIterator<Item: AsRef<str>>) {
        if self.output == Output::Human {
            let completed = items.into_iter().map(|item| hint::complete(item.as_ref(), &self.selection));
            let lines = completed.flat_map(|item| {
                if self.breaks {
                    table::wrapped(&item, self.width)
                } else {
                    vec![visible(&item).into_owned()]
                }
            });
            self.write_out(&lines.collect::<Vec<_>>().join("\n"));
        }
    }

    /// The same for one item from outside, such as a log line: it stays one complete line.
    pub(crate) fn quote(&self, text: &str) {
        if self.output == Output::Human {
            self.write_out(&visible(text));
        }
    }

    /// The same for lines whose outside text was made safe before our colours were added.
    pub(crate) fn painted(&self, text: &str) {
        if self.output == Output::Human {
            self.write_out(text);
        }
    }

    /// The result as a JSON document (`--output json` and, on one line, `jsonl`); nothing in text output.
    pub(crate) fn document<T: Serialize>(&self, value: &T) {
        let text = match self.output {
            Output::Human => return,
            Output::Json => serde_json::to_string_pretty(value),
            Output::Jsonl => serde_json::to_string(value),
        };
        self.has_document.store(true, Ordering::Relaxed);
        match text {
            Ok(text) => self.write_out(&text),
            Err(error) => self.note(&format!("could not write the result as JSON: {error}")),
        }
    }

    /// The same for a list, whose items are one line each in `jsonl`.
    pub(crate) fn list<T: Serialize>(&self, items: &[T]) {
        match self.output {
            Output::Jsonl => items.iter().for_each(|item| self.document(item)),
            Output::Human | Output::Json => self.document(&items),
        }
    }

    /// One line of a JSON stream (`--output jsonl` only).
    pub(crate) fn json_line<T: Serialize>(&self, value: &T) {
        if self.output == Output::Jsonl {
            self.document(value);
        }
    }

    /// Why there is no result, for a program that expects one.
    pub(crate) fn failure<T: Serialize>(&self, value: &T) {
        if self.output == Output::Jsonl || !self.has_document.load(Ordering::Relaxed) {
            self.document(value);
        }
    }

    /// A whole file that was requested on stdout, unchanged.
    pub(crate) fn file(&self, text: &str) {
        self.write_out(text);
    }

    /// Progress: to stderr, unless `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.write_err(text);
        }
    }

    /// The same for a line whose outside text was made safe before our colours were added.
    pub(crate) fn painted_note(&self, text: &str) {
        if !self.quiet {
            self.progress.suspend(|| {
                // If stderr is gone too, there is nowhere to report it.
                let _ = writeln!(io::stderr().lock(), "{text}");
            });
        }
    }

    /// A failure: to stderr, always.
    pub(crate) fn error(&self, text: &str) {
        self.write_err(text);
    }

    /// Text with the platform's name in its commands.
    pub(crate) fn completed(&self, text: &str) -> String {
        hint::complete(text, &self.selection)
    }

    fn write_out(&self, text: &str) {
        if self.closed() {
            return;
        }
        self.progress.suspend(|| {
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| {
                if !text.ends_with('\n') {
                    out.write_all(b"\n")?;
                }
                out.flush()
            });
            if let Err(error) = written {
                self.closed.store(true, Ordering::Relaxed);
                if error.kind() != io::ErrorKind::BrokenPipe {
                    *self.lost.lock() = Some(error);
                }
            }
        });
    }

    fn write_err(&self, text: &str) {
        let text = indented(&hint::complete(text, &self.selection));
        self.progress.suspend(|| {
            // If stderr is gone too, there is nowhere to report it.
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }
}

/// Text made safe to show: lines after the first never look like ours.
fn indented(text: &str) -> String {
    let mut shown = String::new();
    for (index, line) in text.trim_end_matches('\n').split('\n').enumerate() {
        if index > 0 {
            shown.push_str(if line.starts_with(' ') { "\n" } else { "\n  " });
        }
        shown.push_str(&visible(line));
    }
    shown
}

fn stdout_width() -> usize {
    let terminal = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    // Programs that show our output, such as watch(1), tell their width.
    let by_variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = if terminal == 0 { by_variable().unwrap_or(0) } else { terminal };
    if columns == 0 { 110 } else { columns.clamp(40, 200) }
}

/// A pipe without a reader reports an error before anything is written to it.
fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&at_once)).is_ok_and(|ready| ready > 0)
        && asked[0].revents().contains(PollFlags::ERR)
}

/// Follows the conventions: `NO_COLOR` with any value, and terminals without capabilities.
fn allows_color(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty())
        && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_respect_no_color_and_dumb_terminals() {
        let with = |set: &'static [(&'static str, &'static str)]| {
            allows_color(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert!(with(&[]) && with(&[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!with(&[("NO_COLOR", "1")]) && !with(&[("TERM", "dumb")]));
    }

    #[test]
    fn text_from_outside_cannot_forge_output() {
        assert_eq!(
            indented("it said:\nplayctl: forged\n  more\u{202e}"),
            "it said:\n  playctl: forged\n  more\\u{202e}"
        );
    }
}
