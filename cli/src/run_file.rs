//! A recorded run: a file with one event per line, as printed by `--output jsonl` and kept by a platform.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
};

use platform::{Event, event::VERSION};
use serde::Deserialize;
use uuid::Uuid;

use crate::failure::Failure;

/// Maximum length of a line. An event of a platform with thousands of replicas has a few hundred kilobytes.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// A longer line is skipped up to this length. A line that does not end even then means that the input never ends.
const SKIPPED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The contents of a file in addition to events.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub events: u64,
    /// The number of lines that are not events, and the first of them: where, and what is wrong with it.
    pub unreadable: u64,
    pub first_unreadable: Option<String>,
    /// The last line is incomplete: its writer was killed.
    pub cut_off: bool,
    /// The number of events of other runs.
    pub of_other_runs: u64,
    /// The number of repeated events, and the line of the first of them.
    pub repeated: u64,
    pub first_repeated: Option<u64>,
    /// The number of events after a later one, and the line of the first of them.
    pub out_of_order: u64,
    pub first_out_of_order: Option<u64>,
    /// How the command that recorded the run failed, in its own words.
    pub failure: Option<String>,
}

/// The other valid kind of line: the failure that a command prints last.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failed {
    #[serde(rename = "kind")]
    _kind: String,
    message: String,
    #[serde(rename = "hint")]
    _hint: Option<String>,
}

/// The part of an event that shows whether it can be read.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The name for standard input.
const STDIN: &str = "-";
/// Some programs put this before the first byte of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file's name in messages.
pub(crate) fn name(path: &Path) -> Cow<'_, str> {
    if path == Path::new(STDIN) { "standard input".into() } else { path.to_string_lossy() }
}

/// Passes the events of the file's first run to `take`, one by one; `-` is standard input.
///
/// # Errors
/// The file cannot be read, none of its lines is an event, one of them has no end, or it is of another version.
pub(crate) fn read(path: &Path, mut take: impl FnMut(&Event)) -> Result<Read, Failure> {
    let name = name(path);
    let broken = |error: std::io::Error| Failure::usage(format!("cannot read {name}: {error}"));
    let is_stdin = path == Path::new(STDIN);
    let mut reader: Box<dyn BufRead> = if is_stdin {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(broken)?))
    };
    let (mut read, mut run, mut line) = (Read::default(), None::<Uuid>, Vec::new());
    let mut order = Order::default();
    for number in 1_u64.. {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(broken)? == 0 {
            break;
        }
        let is_whole = line.last() == Some(&b'\n');
        if !is_whole && line.len() as u64 == LINE_BYTES_MAX {
            if !skip_line(&mut reader).map_err(broken)? {
                return Err(Failure::usage(format!(
                    "{name} line {number} does not end within {} MiB; expected an event on each line, of at most {} MiB",
                    (LINE_BYTES_MAX + SKIPPED_BYTES_MAX) / 1024 / 1024,
                    LINE_BYTES_MAX / 1024 / 1024
                )));
            }
            read.refuse(number, &format!("it is longer than {} MiB", LINE_BYTES_MAX / 1024 / 1024));
            continue;
        }
        if number == 1 {
            if line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff") {
                return Err(Failure::usage(format!(
                    "{name} is in UTF-16; expected UTF-8, as playctl writes it (in PowerShell: … | Out-File -Encoding \
                     utf8 FILE)"
                )));
            }
            if line.starts_with(BYTE_ORDER_MARK) {
                line.drain(..BYTE_ORDER_MARK.len());
            }
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Event>(&line) {
            Ok(event) if event.v != VERSION => {
                return Err(of_another_version(path, number, event.v));
            }
            Ok(event) if *run.get_or_insert(event.run) != event.run => read.of_other_runs += 1,
            Ok(event) => {
                match order.place(event.seq) {
                    Place::Next => {}
                    Place::Again => {
                        read.repeated += 1;
                        read.first_repeated.get_or_insert(number);
                        continue;
                    }
                    Place::Earlier => {
                        read.out_of_order += 1;
                        read.first_out_of_order.get_or_insert(number);
                    }
                }
                read.events += 1;
                take(&event);
            }
            Err(error) => match serde_json::from_slice::<Failed>(&line) {
                Ok(failed) => read.failure = Some(failed.message),
                Err(_) if !is_whole => read.cut_off = true,
                Err(_) => {
                    if let Ok(Version { v }) = serde_json::from_slice(&line)
                        && v != VERSION
                    {
                        return Err(of_another_version(path, number, v));
                    }
                    read.refuse(number, &error.to_string());
                }
            },
        }
    }
    if read.events > 0 {
        return Ok(read);
    }
    let why = match (&read.first_unreadable, &read.failure) {
        (_, Some(failure)) => format!("; the command that recorded it failed: {failure}"),
        (Some(first), None) => format!("; {first}"),
        (None, None) if read.cut_off => "; its only line is cut off".to_owned(),
        (None, None) => "; it is empty".to_owned(),
    };
    Err(Failure::usage(format!(
        "{name} has no event of a run{why}\nExpected: what this prints: playctl load tcp-10k --output jsonl"
    )))
}

/// An event's place in the order of its run.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Next,
    /// It is a repetition.
    Again,
    /// It follows a later one.
    Earlier,
}

/// Determines events' places by their numbers, without remembering all of them.
#[derive(Debug, Default)]
struct Order {
    first: Option<u64>,
    before: Option<u64>,
    highest: u64,
    /// The run has started over.
    is_again: bool,
}

impl Order {
    fn place(&mut self, number: u64) -> Place {
        let before = self.before.replace(number);
        let is_new = before.is_none() || number > self.highest;
        if is_new {
            self.first.get_or_insert(number);
            self.highest = number;
            self.is_again = false;
            return Place::Next;
        }
        self.is_again |= self.first == Some(number);
        match before {
            Some(before) if self.is_again || before == number => Place::Again,
            Some(before) if before > number => Place::Earlier,
            _ => Place::Next,
        }
    }
}

/// Skips to the end of the line, or of the input; `false`: there is none within bounds.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<bool> {
    let mut rest = reader.take(SKIPPED_BYTES_MAX);
    rest.skip_until(b'\n')?;
    // A line of exactly the maximum length may end here; the next line shows that.
    Ok(rest.limit() > 0)
}

fn of_another_version(path: &Path, line: u64, version: u32) -> Failure {
    Failure::usage(format!(
        "{} line {line}: an event of version {version}; this playctl reads version {VERSION}",
        name(path)
    ))
}

impl Read {
    fn refuse(&mut self, line: u64, why: &str) {
        self.unreadable += 1;
        self.first_unreadable.get_or_insert_with(|| format!("line {line} is not an event: {why}"));
    }

    /// Remarks for readers of the run.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(first) = &self.first_unreadable {
            let lines = if self.unreadable == 1 { "line" } else { "lines" };
            notes.push(format!("left out: {} {lines} that could not be read; {first}", self.unreadable));
        }
        if self.cut_off {
            notes.push("the recording is cut off in the middle of its last line".to_owned());
        }
        if self.of_other_runs > 0 {
            notes.push(format!(
                "left out: other runs in the same file ({}); put each run into its own file",
                events(self.of_other_runs)
            ));
        }
        if let Some(line) = self.first_repeated {
            notes.push(format!(
                "left out: a repetition of this run ({}), from line {line} on; was it written twice into one \
                 file?",
                events(self.repeated)
            ));
        }
        if let Some(line) = self.first_out_of_order {
            notes.push(format!(
                "{} not in the order of the run, the first in line {line}: was the file sorted, or assembled from \
                 parts? This report may be wrong",
                match self.out_of_order {
                    1 => "1 event is".to_owned(),
                    more => format!("{more} events are"),
                }
            ));
        }
        if let Some(failure) = &self.failure {
            notes.push(format!("the command that recorded the run failed: {failure}"));
        }
        notes
    }
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const RUN: &str = "01a1fcd8-620f-75ca-9a05-f87039aa7a7d";

    /// `message` gives its place: `a` is the first.
    fn event(run: &str, message: &str) -> String {
        let seq = message.as_bytes()[0];
        format!(
            r#"{{"v":1,"seq":{seq},"run":"{run}","source":"load","t_ms":0,"wall":"2026-11-21T06:43:21Z","type":"Warning","message":"{message}"}}"#
        )
    }

    fn read_text(text: &[u8]) -> (Result<Read, Failure>, u64) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let mut taken = 0;
        (read(file.path(), |_| taken += 1), taken)
    }

    #[test]
    fn other_lines_between_events_are_counted_and_named() {
        let other = event("01a1fcd8-620f-75ca-9a05-f87039aa7a7e", "x");
        let failed = r#"{"kind":"failed","message":"no room","hint":null}"#;
        let unknown = event(RUN, "x").replace("Warning", "Wonder");
        let text = [
            &event(RUN, "a"),
            "not JSON",
            "",
            "[1]",
            &unknown,
            &other,
            &event(RUN, "b"),
            failed,
            r#"{"v":1,"#,
        ];
        let mut bytes = text.join("\n").into_bytes();
        let (read, taken) = read_text(&bytes);
        let read = read.unwrap();
        assert_eq!(
            (read.events, taken, read.unreadable, read.of_other_runs, read.cut_off),
            (2, 2, 3, 1, true)
        );
        assert_eq!(read.failure.as_deref(), Some("no room"));
        assert!(
            read.first_unreadable.as_deref().unwrap().starts_with("line 2 is not an event: expected"),
            "{read:?}"
        );
        assert_eq!((read.out_of_order, read.notes().len()), (0, 4), "{:?}", read.notes());
        // Bytes that are not text, and a complete last line without a line end.
        bytes.extend(b"\n\xff\xfe\n");
        bytes.extend(event(RUN, "c").as_bytes());
        let read = read_text(&bytes).0.unwrap();
        assert_eq!((read.events, read.unreadable, read.cut_off), (3, 5, false));
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_event() {
        let marked = format!("\u{feff}{}\n", event(RUN, "a"));
        let read = read_text(marked.as_bytes()).0.unwrap();
        assert_eq!((read.events, read.notes()), (1, Vec::new()));
        let utf16 = marked.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let failure = read_text(&utf16).0.unwrap_err();
        assert!(failure.message.contains("is in UTF-16; expected UTF-8"), "{}", failure.message);
    }

    #[test]
    fn events_out_of_order_or_repeated_are_counted_and_reported() {
        let lines =
            |messages: &[&str]| messages.iter().map(|one| event(RUN, one)).collect::<Vec<_>>().join("\n");
        for (messages, out_of_order, first) in [
            (&["a", "b", "d"][..], 0, None),
            (&["a", "c", "b", "d"], 1, Some(3)),
            (&["c", "b", "a"], 2, Some(2)),
        ] {
            let read = read_text(lines(messages).as_bytes()).0.unwrap();
            assert_eq!((read.out_of_order, read.first_out_of_order), (out_of_order, first), "{messages:?}");
            assert_eq!(read.notes().iter().any(|note| note.contains("not in the order")), out_of_order > 0);
        }
    }

    #[test]
    fn a_run_that_a_file_repeats_is_read_once_and_reported() {
        for (messages, events, repeated, first) in [
            (&["a", "b", "a", "b"][..], 2, 2, Some(3)),
            (&["a", "a"], 1, 1, Some(2)),
            (&["a", "b", "b", "c"], 3, 1, Some(3)),
            // The second copy continues where the first was cut off.
            (&["b", "c", "b", "c", "d"], 3, 2, Some(3)),
            (&["b", "c", "d", "b", "c", "d", "b"], 3, 4, Some(4)),
        ] {
            let lines: Vec<_> = messages.iter().map(|one| event(RUN, one)).collect();
            let read = read_text(lines.join("\n").as_bytes()).0.unwrap();
            assert_eq!(
                (read.events, read.repeated, read.first_repeated),
                (events, repeated, first),
                "{messages:?}"
            );
            assert_eq!(read.out_of_order, 0, "{messages:?}");
            assert!(read.notes().concat().contains("a repetition of this run"), "{:?}", read.notes());
        }
    }

    #[test]
    fn an_endless_line_is_an_error_that_says_what_was_expected() {
        let failure = read(Path::new("/dev/zero"), |_| {}).unwrap_err();
        assert!(
            failure.message.contains("/dev/zero line 1 does not end within 264 MiB"),
            "{}",
            failure.message
        );
        assert_eq!(failure.code, platform::exit::USAGE);
    }

    #[test]
    fn an_overlong_line_takes_no_more_memory_than_the_longest_line() {
        let mut bytes = vec![b'x'; 3 * LINE_BYTES_MAX as usize];
        bytes.extend(b"\n");
        bytes.extend(event(RUN, "a").as_bytes());
        let read = read_text(&bytes).0.unwrap();
        assert_eq!((read.events, read.unreadable), (1, 1));
        assert_eq!(read.first_unreadable.as_deref(), Some("line 1 is not an event: it is longer than 8 MiB"));
    }

    #[test]
    fn a_file_without_a_run_is_an_error_that_says_what_it_contains() {
        let newer = event(RUN, "x").replace(r#""v":1"#, r#""v":2"#);
        for (text, says) in [
            ("", "it is empty"),
            ("\n\n", "it is empty"),
            ("{\"v\"", "its only line is cut off"),
            ("apiVersion: v1\n", "line 1 is not an event"),
            (r#"{"kind":"failed","message":"no room","hint":null}"#, "failed: no room"),
            (&newer, "line 1: an event of version 2; this playctl reads version 1"),
            (&newer.replace("Warning", "Wonder"), "an event of version 2"),
        ] {
            let text = if text.starts_with("{\"v\":2") { format!("{text}\n") } else { text.to_owned() };
            let failure = read_text(text.as_bytes()).0.unwrap_err();
            assert!(failure.message.contains(says), "{text:?}: {}", failure.message);
            assert_eq!(failure.code, platform::exit::USAGE);
        }
    }
}
