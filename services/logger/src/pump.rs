//! The main loop: consumes records, judges them and puts them into bulks; sends full or old bulks; notes
//! acknowledgements.
//!
//! Backpressure has two steps. While the maximum number of bulks is in flight and the next one is full, nothing is
//! consumed; librdkafka's queue fills and it stops fetching. If that lasts, partitions are paused and the consumer is
//! polled again, because a member that does not poll loses its partitions.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;
use service::{Phase, Shutdown};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::PIPELINE;
use crate::bulk::{Filling, Names, Origin};
use crate::deliver::Delivery;
use crate::metrics::Metrics;
use crate::progress::BulkNumber;
use crate::record::{self, Verdict};
use crate::settings::Settings;
use crate::source::Source;

/// If nothing can be sent for this long, it is not a hiccup, and fetching is paused.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// Consecutive records before anything else gets a turn.
const RECORDS_IN_A_ROW: usize = 256;

/// See the module.
pub(crate) struct Pump {
    source: Source,
    delivery: Arc<Delivery>,
    intake: Intake,
    bulk_age: Duration,
    bulks_in_flight: usize,
    drain_timeout: Duration,
    in_flight: JoinSet<BulkNumber>,
    /// Since when no record can be accepted.
    blocked_since: Option<Instant>,
}

/// Puts records into the current bulk.
struct Intake {
    filling: Filling,
    metrics: Arc<Metrics>,
    record_age_max: Duration,
}

impl Intake {
    fn take(&mut self, source: &Source, record: &BorrowedMessage<'_>) {
        let origin = Origin { partition: record.partition(), offset: record.offset() };
        let value = record.payload();
        let verdict = record::judge(value, clock::wall(), self.record_age_max);
        self.metrics.consumed.inc();
        if verdict == Verdict::TooOld {
            self.metrics.skipped.inc();
        }
        self.filling.add(origin, value, verdict, clock::runtime_now().into_std());
        source.taken(self.filling.number(), origin.partition, origin.offset);
    }

    /// Accepts a record, and more that have already arrived.
    async fn take_row(&mut self, source: &Source, first: BorrowedMessage<'_>) {
        self.take(source, &first);
        for _ in 1..RECORDS_IN_A_ROW {
            if self.filling.is_full() {
                return;
            }
            tokio::select! {
                biased;
                record = source.next() => self.take(source, &record),
                () = std::future::ready(()) => return,
            }
        }
    }
}

impl Pump {
    pub(crate) fn new(
        settings: &Settings,
        source: Source,
        delivery: Arc<Delivery>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let names = Names {
            topic: settings.kafka.logging_topic.clone(),
            index_prefix: settings.elasticsearch.index_prefix.clone(),
        };
        Self {
            source,
            delivery,
            intake: Intake {
                filling: Filling::new(names, settings.bulk_bytes),
                metrics,
                record_age_max: settings.record_age_max,
            },
            bulk_age: settings.bulk_age,
            bulks_in_flight: settings.bulks_in_flight.get(),
            drain_timeout: settings.drain_timeout,
            in_flight: JoinSet::new(),
            blocked_since: None,
        }
    }

    /// Runs until the shutdown is complete. Returns the consumer, which must then leave its group.
    pub(crate) async fn run(mut self, shutdown: &Shutdown) -> Source {
        loop {
            self.relieve();
            let (send_at, pause_at, takes) = (self.send_at(), self.pause_at(), self.takes());
            tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => break,
                Some(done) = self.in_flight.join_next() => self.acknowledge(done),
                () = at(send_at) => self.send(),
                () = at(pause_at) => self.pause(),
                record = self.source.next(), if takes => self.intake.take_row(&self.source, record).await,
            }
        }
        self.drain(shutdown).await;
        self.source
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.bulks_in_flight
    }

    /// When to send the current bulk; `None`: not for now.
    fn send_at(&self) -> Option<Instant> {
        let since = self.intake.filling.since().filter(|_| self.has_room())?;
        Some(if self.intake.filling.is_full() { since.into() } else { Instant::from(since) + self.bulk_age })
    }

    /// Whether one more record can be accepted. While paused, late records are still accepted, up to a bound.
    fn takes(&self) -> bool {
        !self.intake.filling.is_full() || self.source.is_paused() && !self.intake.filling.is_overfull()
    }

    fn pause_at(&self) -> Option<Instant> {
        self.blocked_since.filter(|_| !self.source.is_paused()).map(|since| since + PAUSE_AFTER)
    }

    fn pause(&self) {
        info!(target: PIPELINE, "nothing more can be sent: consuming is paused");
        self.source.pause();
    }

    /// Tracks whether records can be accepted, and resumes when they can.
    fn relieve(&mut self) {
        if self.intake.filling.is_full() && !self.has_room() {
            self.blocked_since.get_or_insert_with(clock::runtime_now);
        } else {
            self.blocked_since = None;
            if self.source.is_paused() {
                info!(target: PIPELINE, "consuming again");
                self.source.resume();
            }
        }
    }

    fn send(&mut self) {
        let bulk = self.intake.filling.take();
        let delivery = Arc::clone(&self.delivery);
        self.in_flight.spawn(async move { delivery.deliver(bulk).await });
    }

    fn acknowledge(&self, done: Result<BulkNumber, JoinError>) {
        match done {
            Ok(number) => self.source.acknowledged(number),
            // No later record could ever be committed: end the process; its successor consumes everything again.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    /// Delivers consumed records, within the time allowed.
    async fn drain(&mut self, shutdown: &Shutdown) {
        if self.intake.filling.since().is_some() {
            self.send();
        }
        info!(bulks = self.in_flight.len(), "draining");
        let deadline = clock::runtime_now() + self.drain_timeout;
        loop {
            tokio::select! {
                biased;
                done = self.in_flight.join_next() => match done {
                    Some(done) => self.acknowledge(done),
                    None => return,
                },
                () = sleep_until(deadline) => break,
                () = shutdown.reached(Phase::Forced) => break,
            }
        }
        warn!(target: PIPELINE, bulks = self.in_flight.len(), "not delivered in time: their records will be consumed again");
        self.in_flight.abort_all();
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
