//! One bulk in flight: sent until each of its documents is acknowledged or refused permanently.
//!
//! Resending is always safe, because a document's ID follows from its record: Elasticsearch reports a document that was
//! already written as a duplicate. So attempts are unlimited; the delays between them grow to ten seconds, with jitter.

use std::sync::Arc;
use std::time::Duration;

use service::backoff::Backoff;
use tracing::{info, warn};

use crate::PIPELINE;
use crate::bulk::{Bulk, Cause, DeadLetter, Document};
use crate::dead_letters::DeadLetters;
use crate::metrics::Metrics;
use crate::progress::BulkNumber;
use crate::sink::{Failure, Sink, Written};
use crate::stuck::Stuck;

/// Its name in `/readyz`.
pub(crate) const PART: &str = "elasticsearch";
/// Delays between attempts.
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// What every delivery needs.
pub(crate) struct Delivery {
    pub(crate) sink: Sink,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stuck: Stuck,
}

impl Delivery {
    /// Delivers a bulk, however long that takes. Returns its number.
    pub(crate) async fn deliver(&self, mut bulk: Bulk) -> BulkNumber {
        self.metrics.bulks_opened.inc();
        let mut refused = Vec::new();
        // Parts still to be written; more than one if the whole was too large or refused.
        let mut parts = Vec::new();
        parts.extend((!bulk.documents.is_empty()).then(|| bulk.documents.clone()));
        while let Some(part) = parts.pop() {
            let rest = self.write(&bulk, part, &mut refused).await;
            parts.extend(rest);
        }
        if self.stuck.done(bulk.number) {
            info!(target: PIPELINE, "Elasticsearch accepts documents again");
        }
        Self::report(&bulk, &refused);
        bulk.dead_letters.append(&mut refused);
        self.dead_letters.deliver(bulk.number, &bulk.dead_letters).await;
        for letter in &bulk.dead_letters {
            match letter.cause {
                Cause::Malformed => self.metrics.malformed.inc(),
                Cause::Refused => self.metrics.refused.inc(),
            };
        }
        self.metrics.bulks_closed.inc();
        bulk.number
    }

    /// Writes documents until none is left; returns them in two halves if they are too many for one request, or if the
    /// request is refused because of one of them.
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
                    let Some(reason) = busy else { continue };
                    self.metrics.busy.inc();
                    self.waits(bulk, documents.len(), &reason);
                    if documents.len() < before {
                        backoff.reset();
                    }
                }
                Err(Failure::TooLarge | Failure::Refused(_)) if documents.len() > 1 => {
                    self.metrics.split.inc();
                    let second = documents.split_off(documents.len() / 2);
                    return vec![second, documents];
                }
                Err(failure @ (Failure::TooLarge | Failure::Refused(_))) => {
                    let letters =
                        documents.drain(..).map(|document| bulk.refused(&document, failure.to_string()));
                    refused.extend(letters);
                    continue;
                }
                Err(Failure::Unavailable(reason)) => {
                    self.metrics.unavailable.inc();
                    self.waits(bulk, documents.len(), &reason);
                }
            }
            tokio::time::sleep(backoff.wait()).await;
        }
        Vec::new()
    }

    /// Keeps the documents to resend. Returns the reason for one of them.
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
            // Each document should have an outcome; one without may not have been written.
            None => true,
        });
        self.metrics.created.inc_by(created);
        self.metrics.duplicates.inc_by(duplicates);
        busy
    }

    fn waits(&self, bulk: &Bulk, documents: usize, reason: &str) {
        if self.stuck.waits(bulk.number, documents, reason) {
            warn!(target: PIPELINE, reason, "Elasticsearch does not accept documents; they wait");
        }
    }

    /// One line for all dead letters of a bulk: more would be logs about logs.
    fn report(bulk: &Bulk, refused: &[DeadLetter]) {
        if let Some(first) = bulk.dead_letters.iter().chain(refused).next() {
            warn!(target: PIPELINE, records = bulk.dead_letters.len() + refused.len(),
                partition = first.origin.partition,
                offset = first.origin.offset,
                reason = first.reason,
                "records that cannot be documents became dead letters"
            );
        }
    }
}
