//! The output (stdout and stderr) of replicas and gateways: read from pipes, kept in one bounded journal.
//!
//! One journal for all, so that lines of different replicas stay in order of arrival.

use std::{cell::RefCell, io, os::fd::OwnedFd, rc::Rc};

use jiff::Timestamp;
use platform::target::{LogLine, LogQuery};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::unix::pipe,
    task::JoinHandle,
};

use crate::journal::{Journal, Source};

/// Bytes of each of the journal's two segments.
pub(crate) const SEGMENT_MAX: u64 = 16 * 1024 * 1024;
/// Longer lines are split here.
const LINE_MAX: u64 = 16 * 1024;

/// A stored line.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// When it arrived.
    time: Timestamp,
    /// `tcp`, or `gateway`.
    service: String,
    replica: String,
    text: String,
}

/// The journal of all output.
#[derive(Debug, Clone)]
pub(crate) struct Output(Rc<RefCell<Journal>>);

impl Output {
    pub(crate) fn new(journal: Journal) -> Self {
        Self(Rc::new(RefCell::new(journal)))
    }

    /// See [`Journal::lost`].
    pub(crate) fn lost(&self) -> (u64, Option<String>) {
        let journal = self.0.borrow();
        let (lost, losing) = journal.lost();
        (lost, losing.map(str::to_owned))
    }

    pub(crate) fn source(&self) -> Source {
        self.0.borrow().source()
    }

    /// Reads a pipe until its writers have closed it; call it within a `LocalSet`.
    pub(crate) fn collect(&self, service: &str, replica: &str, pipe: OwnedFd) -> JoinHandle<()> {
        let (output, service, replica) = (self.clone(), service.to_owned(), replica.to_owned());
        tokio::task::spawn_local(async move {
            if let Err(error) = output.read(&service, &replica, pipe).await {
                tracing::warn!(replica, %error, "can no longer read the output of a replica");
            }
        })
    }

    async fn read(&self, service: &str, replica: &str, pipe: OwnedFd) -> io::Result<()> {
        let mut reader = BufReader::new(pipe::Receiver::from_owned_fd(pipe)?);
        let mut line = Vec::new();
        while (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line).await? > 0 {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            let time = clock::wall();
            let kept = Kept { time, service: service.to_owned(), replica: replica.to_owned(), text };
            // A line that cannot be stored is dropped and counted; the pipe is still read, or its writer would hang.
            self.0.borrow_mut().append_or_drop(&serde_json::to_string(&kept)?);
            line.clear();
        }
        Ok(())
    }

    /// The last lines of one replica, for an error message.
    pub(crate) fn last_lines(&self, replica: &str, count: usize) -> Vec<String> {
        let query = LogQuery { replica: Some(replica.to_owned()), ..LogQuery::default() };
        let mut lines = std::collections::VecDeque::new();
        let mut tail = self.source().tail();
        while let Ok(Some(line)) = tail.next_present() {
            if let Some(line) = matching(&line, &query) {
                if lines.len() == count {
                    lines.pop_front();
                }
                lines.push_back(line.text);
            }
        }
        lines.into()
    }
}

/// A stored line, if the query matches it.
pub(crate) fn matching(line: &str, query: &LogQuery) -> Option<LogLine> {
    let kept: Kept = serde_json::from_str(line).ok()?;
    let wanted = query.service.as_ref().is_none_or(|service| *service == kept.service)
        && query.replica.as_ref().is_none_or(|replica| *replica == kept.replica)
        && query.since.is_none_or(|since| kept.time >= since)
        && query.text.as_ref().is_none_or(|text| kept.text.contains(text.as_str()));
    wanted.then_some(LogLine { time: kept.time, replica: kept.replica, text: kept.text })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn lines_are_kept_in_order_and_found_by_replica() {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::new(Journal::create(directory.path().join("logs.jsonl"), SEGMENT_MAX).unwrap());
        tokio::task::LocalSet::new()
            .run_until(async {
                let (reader, writer) = io::pipe().unwrap();
                let _collecting = output.collect("tcp", "tcp-0", reader.into());
                let mut tail = output.source().tail();
                let mut writer = std::fs::File::from(OwnedFd::from(writer));
                writer.write_all(b"one\ntwo \xff\nlast without end").unwrap();
                writer.write_all(&vec![b'x'; LINE_MAX as usize]).unwrap();
                drop(writer);
                let mut texts = Vec::new();
                for _ in 0..4 {
                    let line = tail.next().await.unwrap().unwrap();
                    texts.push(matching(&line, &LogQuery::default()).unwrap().text);
                }
                assert_eq!(texts[..2], ["one", "two \u{fffd}"]);
                assert_eq!(texts[2].len(), LINE_MAX as usize);
                assert!(texts[2].starts_with("last without end") && texts[3].ends_with('x'));
            })
            .await;
        assert_eq!(output.last_lines("tcp-0", 3)[0], "two \u{fffd}");
        assert!(output.last_lines("tcp-1", 3).is_empty());
    }

    #[test]
    fn lines_are_chosen_by_service_replica_time_and_text() {
        let line = r#"{"time":"2026-11-21T10:00:00Z","service":"tcp","replica":"tcp-0","text":"a word"}"#;
        let is_chosen = |query: LogQuery| matching(line, &query).is_some();
        let text = |text: &str| Some(text.to_owned());
        let time = |time: &str| Some(time.parse().unwrap());
        assert!(is_chosen(LogQuery { service: text("tcp"), ..LogQuery::default() }));
        assert!(!is_chosen(LogQuery { service: text("udp"), ..LogQuery::default() }));
        assert!(!is_chosen(LogQuery { replica: text("tcp-1"), ..LogQuery::default() }));
        assert!(is_chosen(LogQuery { since: time("2026-11-21T10:00:00Z"), ..LogQuery::default() }));
        assert!(!is_chosen(LogQuery { since: time("2026-11-21T10:00:01Z"), ..LogQuery::default() }));
        assert!(is_chosen(LogQuery { text: text("word"), ..LogQuery::default() }));
        assert!(!is_chosen(LogQuery { text: text("Word"), ..LogQuery::default() }));
    }
}
