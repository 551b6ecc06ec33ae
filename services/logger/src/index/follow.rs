//! Follows new lines.
//!
//! The index is queried once a second, page by page until there are no more. A line becomes visible some time after it
//! was written (bulk, refresh), and lines of several pods do not become visible in the order of their times. So each
//! query begins some seconds before the last line, and lines already returned are remembered for that long.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{INSTANT, IndexError, Line, Page, Question, Reader};

/// Interval between queries.
const PAUSE: Duration = Duration::from_secs(1);
/// How late a line may become visible.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);

/// An endless, blocking iterator over new lines; ends after an error.
pub struct Follow {
    reader: Reader,
    question: Question,
    /// Ignores lines from before this.
    start: Timestamp,
    /// The start of the next page.
    from: Timestamp,
    /// The time of the last line.
    last: Timestamp,
    /// The lines already returned, by ID, with their times.
    given: BTreeMap<String, Timestamp>,
    waiting: VecDeque<Line>,
    failed: bool,
}

impl Follow {
    pub(super) fn new(reader: Reader, question: Question) -> Self {
        let start = question.since.unwrap_or_else(clock::wall);
        Self {
            reader,
            question,
            start,
            from: start,
            last: start,
            given: BTreeMap::new(),
            waiting: VecDeque::new(),
            failed: false,
        }
    }

    /// Reads a page. Returns whether it was the last one.
    fn look(&mut self) -> Result<bool, IndexError> {
        let page = Page { newest_first: false, from: Some(self.from), to: None };
        let hits = self.reader.page(&self.question, &page)?;
        let end = hits.readable.last().map(|hit| hit.timestamp);
        for hit in hits.readable {
            let time = hit.timestamp;
            if self.given.insert(hit.id.clone(), time).is_none() {
                match hit.line {
                    Some(line) if self.question.matches(&line) => self.waiting.push_back(line),
                    Some(_) => {}
                    None => self.reader.unreadable.add(hit.id),
                }
            }
            // Not later than now: a fast clock must not hide the lines of other pods.
            self.last = self.last.max(time.min(clock::wall()));
        }
        let again = self.last.checked_sub(OVERLAP).unwrap_or(self.last).max(self.start);
        self.given.retain(|_, time| *time >= again);
        let Some(end) = end.filter(|_| !hits.is_last) else {
            self.from = again;
            return Ok(true);
        };
        // One instant has more lines than a page: the rest of them are unreachable, but later lines are not.
        self.from = if end > self.from { end } else { end.checked_add(INSTANT).unwrap_or(end) };
        Ok(false)
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
            match self.look() {
                Ok(was_last) if was_last && self.waiting.is_empty() => pause(),
                Ok(_) => {}
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing announces a new document")]
fn pause() {
    std::thread::sleep(PAUSE);
}
