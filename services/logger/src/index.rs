//! Reads written log lines: the last lines that match, and new ones.
//!
//! Elasticsearch filters by time and pod; the text is matched here, literally, because an index only knows words. Pages
//! are delimited by time: the next one begins at the time of the last hit and skips the hits already seen at that
//! instant. So it works the same with Elasticsearch, OpenSearch and the embedded endpoint, and keeps nothing open
//! there.

mod follow;
mod hit;

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use elasticsearch::{Elasticsearch, SearchParts};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub use self::follow::Follow;
use self::hit::{Found, Hit, Hits};
use crate::{settings, sink};

/// Lines per request.
const PAGE_LINES: usize = 1000;
/// Maximum pages per query: the search for a rare text stops after these.
const PAGES_MAX: usize = 100;
/// Counting stops there.
const UNREADABLE_MAX: usize = 100_000;
/// The resolution of times.
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// The index could not be read; says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the log's index: {0}")]
pub struct IndexError(String);

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub timestamp: Timestamp,
    pub pod: String,
    pub text: String,
}

/// Whose lines to return.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pods {
    #[default]
    All,
    /// Pods of a service: `tcp-0`, `tcp-6d8f-x2x`….
    Service(String),
    Pod(String),
}

/// Which lines to return.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    pub pods: Pods,
    pub since: Option<Timestamp>,
    pub before: Option<Timestamp>,
    /// Only lines that contain this text.
    pub text: Option<String>,
}

/// Reads the index. Its calls block.
pub struct Reader {
    runtime: Runtime,
    client: Elasticsearch,
    pattern: String,
    unreadable: Unreadable,
    /// A page whose lines are too long is refused, and requested again with fewer lines.
    page_lines: Cell<usize>,
}

/// Counts documents that are left out because they are not log lines or cannot be read. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Unreadable(Arc<Mutex<LeftOut>>);

#[derive(Debug, Default)]
struct LeftOut {
    /// Documents that may occur on several pages.
    ids: HashSet<String>,
    /// Documents that the index itself cannot read.
    damaged: u64,
}

impl Unreadable {
    /// Each document counts once.
    pub fn count(&self) -> u64 {
        let LeftOut { ids, damaged } = &*self.0.lock();
        *damaged + ids.len() as u64
    }

    fn add(&self, id: String) {
        let ids = &mut self.0.lock().ids;
        if ids.len() < UNREADABLE_MAX {
            ids.insert(id);
        }
    }

    fn page(&self, hits: &mut Hits) {
        hits.timeless.drain(..).for_each(|id| self.add(id));
        let mut left_out = self.0.lock();
        left_out.damaged = left_out.damaged.max(hits.damaged);
    }
}

impl Reader {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// The client rejects its configuration.
    pub fn new(settings: &settings::Elasticsearch) -> Result<Self, IndexError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| IndexError(error.to_string()))?,
            client: sink::client(settings).map_err(IndexError)?,
            pattern: format!("{}-*", settings.index_prefix),
            unreadable: Unreadable::default(),
            page_lines: Cell::new(PAGE_LINES),
        })
    }

    /// The last `count` lines that match, oldest first.
    ///
    /// # Errors
    /// Elasticsearch does not answer, or not with lines.
    pub fn last(&self, question: &Question, count: usize) -> Result<Vec<Line>, IndexError> {
        let mut lines = Vec::new();
        let mut page = Page { newest_first: true, from: question.since, to: None };
        // Hits at the instant at which the previous page ended.
        let mut seen: HashSet<String> = HashSet::new();
        for _ in 0..PAGES_MAX {
            let hits = self.page(question, &page)?;
            let Some(end) = hits.readable.last().map(|hit| hit.timestamp) else { break };
            let new: Vec<Hit> = hits.readable.into_iter().filter(|hit| !seen.contains(&hit.id)).collect();
            let no_news = new.is_empty();
            if page.to != Some(end) {
                seen.clear();
            }
            for hit in new {
                match hit.line {
                    Some(line) if question.matches(&line) => lines.push(line),
                    Some(_) => {}
                    None => self.unreadable.add(hit.id.clone()),
                }
                if hit.timestamp == end {
                    seen.insert(hit.id);
                }
            }
            if hits.is_last || lines.len() >= count {
                break;
            }
            // One instant has more lines than a page: the rest of them are unreachable, but earlier lines are not.
            page.to = Some(if no_news { end.checked_sub(INSTANT).unwrap_or(end) } else { end });
        }
        lines.truncate(count);
        lines.reverse();
        Ok(lines)
    }

    /// Documents that this reader leaves out, also while it follows.
    pub fn unreadable(&self) -> Unreadable {
        self.unreadable.clone()
    }

    /// Lines that arrive from now on.
    pub fn follow(self, question: Question) -> Follow {
        Follow::new(self, question)
    }

    fn page(&self, question: &Question, page: &Page) -> Result<Hits, IndexError> {
        loop {
            let lines = self.page_lines.get();
            match self.ask(&question.body(page, lines)) {
                Ok(found) => {
                    let mut hits = found.hits(lines);
                    self.unreadable.page(&mut hits);
                    return Ok(hits);
                }
                Err(sink::Failure::TooLarge) if lines > 1 => self.page_lines.set(lines / 2),
                Err(failure) => return Err(IndexError(failure.to_string())),
            }
        }
    }

    fn ask(&self, body: &Value) -> Result<Found, sink::Failure> {
        let pattern = [self.pattern.as_str()];
        self.runtime.block_on(async {
            let search = self
                .client
                .search(SearchParts::Index(&pattern))
                // Before the first line there is no index, and that is not an error.
                .ignore_unavailable(true)
                .allow_no_indices(true)
                .body(body)
                .send();
            let found = sink::accepted(search.await).await?;
            serde_json::from_slice(&found)
                .map_err(|error| sink::Failure::Unavailable(format!("not hits: {error}")))
        })
    }
}

#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_answer(answer: &[u8]) {
    if let Ok(found) = serde_json::from_slice::<Found>(answer) {
        let mut hits = found.hits(PAGE_LINES);
        let unreadable = Unreadable::default();
        unreadable.page(&mut hits);
        assert!(hits.timeless.is_empty());
    }
}

/// One page of the result.
struct Page {
    newest_first: bool,
    /// Both bounds are inclusive.
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Question {
    fn body(&self, page: &Page, lines: usize) -> Value {
        let mut filters = Vec::new();
        match &self.pods {
            Pods::All => {}
            Pods::Service(service) => filters.push(json!({ "prefix": { "pod": format!("{service}-") } })),
            Pods::Pod(pod) => filters.push(json!({ "term": { "pod": pod } })),
        }
        let bounds = [("gte", page.from), ("lte", page.to), ("lt", self.before)];
        let range: serde_json::Map<String, Value> =
            bounds.into_iter().filter_map(|(name, time)| Some((name.to_owned(), json!(time?)))).collect();
        if !range.is_empty() {
            filters.push(json!({ "range": { "timestamp": range } }));
        }
        json!({
            "size": lines,
            "track_total_hits": false,
            "query": { "bool": { "filter": filters } },
            "sort": [{ "timestamp": { "order": if page.newest_first { "desc" } else { "asc" } } }],
        })
    }

    fn matches(&self, line: &Line) -> bool {
        self.text.as_ref().is_none_or(|text| line.text.contains(text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_cannot_be_read_counts_once() {
        let page = |timeless: &[&str], damaged| Hits {
            readable: Vec::new(),
            timeless: timeless.iter().map(|&id| id.to_owned()).collect(),
            damaged,
            is_last: false,
        };
        let unreadable = Unreadable::default();
        let shared = unreadable.clone();
        shared.page(&mut page(&["1", "2"], 3));
        shared.page(&mut page(&["2", "4"], 3));
        shared.add("4".to_owned());
        assert_eq!(unreadable.count(), 3 + 3);
    }
}
