//! Lines that the logger wrote to Elasticsearch.

use logger::index::{self, Pods, Question};
use platform::{
    Target, TargetError,
    target::{LogLine, LogQuery, LogStream},
};
use service::settings::{Env, Reader};

use super::kept::Kept;
use crate::failure::Failure;

/// Why there may be no lines.
pub(super) const MISSING: &str =
    "there is no index: the platform has no logger; switch it on with: playctl up --set logger.enabled=true";

pub(super) use index::Unreadable;

pub(super) struct Index(index::Reader);

impl Index {
    /// The platform's Elasticsearch, embedded or not; `None` if it has none.
    pub(super) fn of(target: &dyn Target) -> Result<Option<Self>, Failure> {
        let parts = target.snapshot()?.parts;
        let address =
            parts.into_iter().find(|part| part.name == "elasticsearch").and_then(|part| part.address);
        let Some(address) = address else { return Ok(None) };
        let env = Env::of_process().with("ELASTICSEARCH_ENDPOINT", address).with("ELASTICSEARCH_URL", "");
        let mut reader = Reader::new(&env);
        let settings = logger::Elasticsearch::read(&mut reader);
        let settings = reader.finish(settings).map_err(Failure::usage)?;
        index::Reader::new(&settings).map(|reader| Some(Self(reader))).map_err(Failure::failed)
    }

    /// The number of unreadable documents; it keeps growing while the index is followed.
    pub(super) fn unreadable(&self) -> Unreadable {
        self.0.unreadable()
    }

    /// The last `count` lines.
    pub(super) fn last(&self, query: &LogQuery, count: usize) -> Result<Vec<LogLine>, Failure> {
        self.ask(&question(query), count)
    }

    /// The last lines, and then new ones as they are written.
    pub(super) fn follow(self, query: &LogQuery, last: Vec<LogLine>) -> LogStream {
        // Lines that were just printed are not returned again.
        let from = last.last().map_or_else(clock::wall, |line| line.time);
        let known: Vec<LogLine> = last.iter().filter(|line| line.time == from).cloned().collect();
        let question = Question { since: Some(from), ..question(query) };
        let new = self.0.follow(question).map(|line| line.map(line_of).map_err(TargetError::other));
        let new = new.filter(move |line| !line.as_ref().is_ok_and(|line| known.contains(line)));
        Box::new(last.into_iter().map(Ok).chain(new))
    }

    /// The last `count` lines from before the first one that the supervisor keeps. The kept lines are also in the index.
    pub(super) fn earlier(
        &self,
        target: &dyn Target,
        query: &LogQuery,
        count: usize,
    ) -> Result<Vec<LogLine>, Failure> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let kept = Kept::of(target.logs(&LogQuery::default())?)?;
        let all_kept = kept.from.zip(query.since).is_some_and(|(from, since)| from <= since);
        if all_kept {
            return Ok(Vec::new());
        }
        let question = Question { before: kept.from, ..question(query) };
        let mut lines = self.ask(&question, count.saturating_add(kept.lines_at_the_beginning))?;
        lines.retain(|line| !kept.has(line));
        Ok(lines.split_off(lines.len().saturating_sub(count)))
    }

    fn ask(&self, question: &Question, count: usize) -> Result<Vec<LogLine>, Failure> {
        let lines = self.0.last(question, count).map_err(Failure::failed)?;
        Ok(lines.into_iter().map(line_of).collect())
    }
}

/// The query for the index.
fn question(query: &LogQuery) -> Question {
    let pods = match (&query.replica, &query.service) {
        (Some(replica), _) => Pods::Pod(replica.clone()),
        (None, Some(service)) => Pods::Service(service.clone()),
        (None, None) => Pods::All,
    };
    Question { pods, since: query.since, before: None, text: query.text.clone() }
}

fn line_of(line: index::Line) -> LogLine {
    LogLine { time: line.timestamp, replica: line.pod, text: line.text }
}
