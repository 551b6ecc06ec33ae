//! Lines as they come.
//!
//! The index is asked once a second. A line can be found some time after it was written (bulk, refresh), and lines of
//! several pods do not become visible in the order of their times: each look begins some seconds before the last
//! line, and what was given is remembered for as long.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{IndexError, Line, Page, Question, Reader};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How late a line may become visible.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);

/// An endless, blocking iterator over lines that come; ends after an error.
pub struct Follow {
    reader: Reader,
    question: Question,
    from: Timestamp,
    /// By id, when it was written: those that were given.
    given: BTreeMap<String, Timestamp>,
    waiting: VecDeque<Line>,
    failed: bool,
}

impl Follow {
    pub(super) fn new(reader: Reader, question: Question) -> Self {
        let from = question.since.unwrap_or_else(Timestamp::now);
        Self { reader, question, from, given: BTreeMap::new(), waiting: VecDeque::new(), failed: false }
    }

    fn look(&mut self) -> Result<(), IndexError> {
        let start = self.from;
        let page = Page { newest_first: false, from: Some(start), to: None };
        for hit in self.reader.page(&self.question, &page)? {
            let time = hit.line.timestamp;
            if self.given.insert(hit.id, time).is_none() && self.question.matches(&hit.line) {
                self.waiting.push_back(hit.line);
            }
            // Not beyond the present: a clock that is ahead must not hide the others' lines.
            self.from = self.from.max(time.min(Timestamp::now()));
        }
        let last = self.from;
        self.from = last.checked_sub(OVERLAP).unwrap_or(last).max(start);
        let from = self.from;
        self.given.retain(|_, time| *time >= from);
        Ok(())
    }
}

impl Iterator for Follow {
    type Item = Result<Line, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(Ok(line));
            }
            if self.failed {
                return None;
            }
            if let Err(error) = self.look() {
                self.failed = true;
                return Some(Err(error));
            }
            if self.waiting.is_empty() {
                pause();
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing announces a new document")]
fn pause() {
    std::thread::sleep(PAUSE);
}
