//! A build that cannot read Elasticsearch: it shows only the replicas' own output.

use platform::{
    Target,
    target::{LogLine, LogQuery, LogStream},
};

use crate::{commands::absent, failure::Failure};

pub(super) const MISSING: &str = absent::INDEX;

/// There is none.
pub(super) enum Index {}

/// Of no index.
pub(super) enum Unreadable {}

impl Unreadable {
    pub(super) fn count(&self) -> u64 {
        match *self {}
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as where there may be an index")]
impl Index {
    pub(super) fn of(_: &dyn Target) -> Result<Option<Self>, Failure> {
        Ok(None)
    }

    pub(super) fn unreadable(&self) -> Unreadable {
        match *self {}
    }

    pub(super) fn last(&self, _: &LogQuery, _: usize) -> Result<Vec<LogLine>, Failure> {
        match *self {}
    }

    pub(super) fn follow(self, _: &LogQuery, _: Vec<LogLine>) -> LogStream {
        match self {}
    }

    pub(super) fn earlier(&self, _: &dyn Target, _: &LogQuery, _: usize) -> Result<Vec<LogLine>, Failure> {
        match *self {}
    }
}
