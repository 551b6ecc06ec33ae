//! Records that wait because a part of the pipeline does not accept them, and since when.
//!
//! Several bulks are in flight at a time. A delivered one says nothing about another that is stuck, so the part only
//! counts as working again when nothing waits for it any more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use service::Readiness;

use crate::progress::BulkNumber;

/// See the module. `/readyz` shows it under the part's name.
pub(crate) struct Stuck {
    part: &'static str,
    readiness: Readiness,
    /// Waiting records by bulk, and since when.
    waiting: Mutex<BTreeMap<BulkNumber, (usize, Timestamp)>>,
}

impl Stuck {
    pub(crate) fn new(part: &'static str, readiness: Readiness) -> Self {
        Self { part, readiness, waiting: Mutex::default() }
    }

    /// Notes that records of a bulk were not accepted. Returns whether this starts an outage.
    pub(crate) fn waits(&self, bulk: BulkNumber, records: usize, reason: &str) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.entry(bulk).or_insert_with(|| (0, clock::wall())).0 = records;
        let all: usize = waiting.values().map(|(records, _)| records).sum();
        let since = waiting.values().map(|(_, since)| *since).min().unwrap_or_else(clock::wall);
        self.readiness.degrade(self.part, format!("{all} records wait since {since:.0}: {reason}"))
    }

    /// Notes that a bulk is done. Returns whether this ends an outage.
    pub(crate) fn done(&self, bulk: BulkNumber) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.remove(&bulk).is_some() && waiting.is_empty() && self.readiness.restore(self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_and_ends_once_whatever_else_arrives() {
        let readiness = Readiness::new();
        let stuck = Stuck::new("elasticsearch", readiness.clone());
        assert!(!stuck.done(0), "nothing was stuck");
        assert!(stuck.waits(1, 5, "full") && !stuck.waits(2, 3, "full") && !stuck.waits(1, 4, "fuller"));
        assert!(!stuck.done(3) && !stuck.done(2));
        let told = readiness.describe();
        let (before, since) = told.split_once(" since ").unwrap();
        assert_eq!(before, "starting\ndegraded: elasticsearch: 7 records wait");
        let (since, reason) = since.split_once(": ").unwrap();
        assert!(since.parse::<Timestamp>().is_ok() && reason == "fuller\n", "{told}");
        assert!(stuck.done(1));
        assert_eq!(readiness.describe(), "starting\n");
    }
}
