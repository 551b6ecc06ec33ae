//! The time line as text: the events, in order, with reasons; then charts and a summary.
//!
//! ```text
//!   0:36.2  desired    tcp 1 → 2  tcp_state_established 7,012 per pod of 5k: wants 2
//! ```
//!
//! Regular events (ticks, scrapes, reconciliations) print no line but feed the charts; a tick that shows problems
//! (lost, refused, reset connections) does print one, at most every five seconds.

mod charts;
pub(crate) mod incidents;
pub(crate) mod lines;
mod summary;

use platform::{Event, EventKind, event::LoadSummary};

use crate::{
    escape::visible,
    series::Series,
    style::{Style, Tone},
    words::clock,
};
use incidents::Incidents;

/// Renders a stream of events, one by one.
#[derive(Debug, Clone)]
pub struct Timeline {
    style: Style,
    series: Series,
    incidents: Incidents,
    context: lines::Context,
    summary: Option<Box<LoadSummary>>,
}

/// One line of the time line before it is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) tone: Tone,
    /// What happened.
    pub(crate) what: String,
    /// Why, or what follows from it.
    pub(crate) why: String,
    /// Further text on separate lines.
    pub(crate) more: Vec<String>,
}

impl Entry {
    fn new(kind: &'static str, tone: Tone, what: impl Into<String>) -> Self {
        Self { kind, tone, what: what.into(), why: String::new(), more: Vec::new() }
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn more(mut self, more: impl Into<String>) -> Self {
        self.more.push(more.into());
        self
    }
}

impl Timeline {
    pub fn new(style: Style) -> Self {
        Self {
            style,
            series: Series::default(),
            incidents: Incidents::default(),
            context: lines::Context::default(),
            summary: None,
        }
    }

    /// The lines for an event; often none.
    pub fn feed(&mut self, event: &Event) -> Vec<String> {
        let mut entries = Vec::new();
        if let Some(entry) = self.incidents.observe(event) {
            entries.push(entry);
        }
        entries.extend(lines::of(event, &self.context));
        self.context.observe(event);
        self.series.observe(event);
        if let EventKind::LoadFinished { summary } = &event.kind {
            self.summary = Some(summary.clone());
        }
        entries.iter().flat_map(|entry| self.lay_out(event.t_ms, entry)).collect()
    }

    /// Charts of everything so far and, if a load has finished, its summary.
    pub fn finish(&self) -> String {
        let mut lines = charts::draw(&self.series, self.style);
        if let Some(summary) = &self.summary {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            let target = self.series.busiest().and_then(|(_, of)| Some(of.target.as_ref()?.1));
            lines.extend(summary::lines(summary, target, self.style));
        }
        lines.join("\n")
    }

    /// `  0:36.2  desired    what  why`, wrapped at the width.
    fn lay_out(&self, t_ms: u64, entry: &Entry) -> Vec<String> {
        const KIND: usize = 10;
        let head = format!("{:>8}  ", clock(t_ms));
        // After days, the time takes more room.
        let indent = head.chars().count() + KIND + 1;
        let room = self.style.width().saturating_sub(indent).max(1);
        let head = self.style.paint(Tone::Faint, &head);
        let kind = self.style.paint(entry.tone, &format!("{:<KIND$}", entry.kind));
        let blank = " ".repeat(indent);
        let mut lines = Vec::new();
        let gap = if entry.why.is_empty() { "" } else { "  " };
        let text = format!("{}{gap}{}", entry.what, entry.why);
        for (index, line) in wrap(&text, room).into_iter().enumerate() {
            // The event itself is highlighted; it always begins the first line and nearly always fits on it.
            let line = match line.strip_prefix(&entry.what) {
                Some(rest) if index == 0 && entry.tone == Tone::Decision => {
                    format!("{}{rest}", self.style.paint(Tone::Strong, &entry.what))
                }
                _ => line,
            };
            lines.push(if index == 0 { format!("{head}{kind} {line}") } else { format!("{blank}{line}") });
        }
        for more in &entry.more {
            let wrapped = wrap(more, room).into_iter();
            lines.extend(wrapped.map(|line| format!("{blank}{}", self.style.paint(Tone::Faint, &line))));
        }
        lines
    }
}

/// Breaks a text into lines of at most `room` characters: between words, or within a word if necessary. A number keeps its
/// unit.
///
/// Names and messages come from other processes: terminal control characters are escaped.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let text = visible(text).replace('\t', " ");
    let mut lines = Vec::new();
    let (mut line, mut length) = (String::new(), 0);
    for word in words(&text) {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > room {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
            length = 0;
            if word.is_empty() {
                continue;
            }
        } else if length > 0 {
            line.push(' ');
            length += 1;
        }
        for character in word.chars() {
            if length >= room {
                lines.push(std::mem::take(&mut line));
                length = 0;
            }
            line.push(character);
            length += 1;
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// Units that are written after their number and a blank.
const UNITS: [&str; 13] = ["µs", "ms", "s", "min", "h", "%", "bytes", "KiB", "MiB", "GiB", "KB", "MB", "GB"];

/// The words of a text; a number and its unit are one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let ends = |from: usize| text[from..].find(' ').map_or(text.len(), |at| from + at);
        let mut end = ends(0);
        if text[..end].ends_with(|last: char| last.is_ascii_digit()) && end < text.len() {
            let next = ends(end + 1);
            let unit = text[end + 1..next].trim_end_matches([',', '.', ';', ':', ')']);
            if UNITS.contains(&unit) {
                end = next;
            }
        }
        rest = text.get(end + 1..);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests;
