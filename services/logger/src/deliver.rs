//! One bulk on its way: sent until every document of it is acknowledged or refused for good.
//!
//! Sending again is always safe, because a document's id is that of its record: what was written already answers as
//! a duplicate. So there is no limit on attempts; the waits between them grow to ten seconds and are jittered.

use std::sync::Arc;
use std::time::Duration;

use service::Readiness;
use service::backoff::Backoff;
use tracing::{info, warn};

use crate::bulk::{Bulk, Cause, DeadLetter, Document};
use crate::dead_letters::DeadLetters;
use crate::metrics::Metrics;
use crate::progress::BulkNumber;
use crate::sink::{Failure, Sink, Written};

/// Its name in `/readyz`.
pub(crate) const PART: &str = "elasticsearch";
/// Waits between attempts.
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// What every delivery needs.
pub(crate) struct Delivery {
    pub(crate) sink: Sink,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) readiness: Readiness,
}

impl Delivery {
    /// Delivers a bulk, however long that takes. Returns its number.
    pub(crate) async fn deliver(&self, mut bulk: Bulk) -> BulkNumber {
        self.metrics.bulks_opened.inc();
        let mut refused = Vec::new();
        // Parts that are still to be written; more than one if the whole was too large.
        let mut parts = Vec::new();
        parts.extend((!bulk.documents.is_empty()).then(|| bulk.documents.clone()));
        while let Some(part) = parts.pop() {
            let rest = self.write(&bulk, part, &mut refused).await;
            parts.extend(rest);
        }
        Self::report(&bulk, &refused);
        bulk.dead_letters.append(&mut refused);
        self.dead_letters.deliver(&bulk.dead_letters).await;
        for letter in &bulk.dead_letters {
            match letter.cause {
                Cause::Malformed => self.metrics.malformed.inc(),
                Cause::Refused => self.metrics.refused.inc(),
            };
        }
        self.metrics.bulks_closed.inc();
        bulk.number
    }

    /// Writes documents until none is left; or returns them in two halves, if they are too many for one request.
    async fn write(
        &self,
        bulk: &Bulk,
        mut documents: Vec<Document>,
        refused: &mut Vec<DeadLetter>,
    ) -> Vec<Vec<Document>> {
        let mut backoff = Backoff::new(RETRY_LEAST, RETRY_LONGEST);
        while !documents.is_empty() {
            let body = bulk.body_of(&documents);
            self.metrics.requests.inc();
            self.metrics.bulk_bytes.inc_by(body.len() as u64);
            match self.sink.write(body, documents.len()).await {
                Ok(written) => {
                    let before = documents.len();
                    let busy = self.settle(bulk, &mut documents, written, refused);
                    let Some(reason) = busy else {
                        self.works();
                        continue;
                    };
                    self.metrics.busy.inc();
                    self.fails(&reason);
                    if documents.len() < before {
                        backoff.reset();
                    }
                }
                Err(Failure::TooLarge) if documents.len() > 1 => {
                    self.metrics.split.inc();
                    let second = documents.split_off(documents.len() / 2);
                    return vec![second, documents];
                }
                Err(Failure::TooLarge) => {
                    let reason = || "larger than Elasticsearch takes in one request".to_owned();
                    refused.extend(documents.drain(..).map(|document| bulk.refused(&document, reason())));
                    continue;
                }
                Err(Failure::Unavailable(reason)) => {
                    self.metrics.unavailable.inc();
                    self.fails(&reason);
                }
            }
            tokio::time::sleep(backoff.wait()).await;
        }
        Vec::new()
    }

    /// Keeps of `documents` those that have to be sent again. Returns why, for one of them.
    fn settle(
        &self,
        bulk: &Bulk,
        documents: &mut Vec<Document>,
        written: Vec<Written>,
        refused: &mut Vec<DeadLetter>,
    ) -> Option<String> {
        let (mut created, mut duplicates, mut busy) = (0, 0, None);
        let mut outcomes = written.into_iter();
        documents.retain(|document| match outcomes.next() {
            Some(Written::Created) => {
                created += 1;
                false
            }
            Some(Written::Duplicate) => {
                duplicates += 1;
                false
            }
            Some(Written::Refused(reason)) => {
                refused.push(bulk.refused(document, reason));
                false
            }
            Some(Written::Busy(reason)) => {
                busy.get_or_insert(reason);
                true
            }
            // There is one outcome for each; without one it is not known to be written.
            None => true,
        });
        self.metrics.created.inc_by(created);
        self.metrics.duplicates.inc_by(duplicates);
        busy
    }

    fn works(&self) {
        if self.readiness.restore(PART) {
            info!("Elasticsearch takes documents again");
        }
    }

    fn fails(&self, reason: &str) {
        if self.readiness.degrade(PART, reason) {
            warn!(reason, "Elasticsearch does not take documents; they wait");
        }
    }

    /// One line for all dead letters of a bulk: more would be logs about logs.
    fn report(bulk: &Bulk, refused: &[DeadLetter]) {
        if let Some(first) = bulk.dead_letters.iter().chain(refused).next() {
            warn!(
                records = bulk.dead_letters.len() + refused.len(),
                partition = first.origin.partition,
                offset = first.origin.offset,
                reason = first.reason,
                "records that cannot be documents become dead letters"
            );
        }
    }
}
