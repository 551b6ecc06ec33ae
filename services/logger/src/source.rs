//! The consumer: a member of the group, whose offsets are committed only after acknowledgement.
//!
//! Offsets are *stored* when all records before them are done; librdkafka commits stored offsets every second, when
//! partitions are revoked, and at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use service::Readiness;
use service::kafka::{self, Watch};
use tracing::{debug, info, warn};

use crate::PIPELINE;
use crate::metrics::{Metrics, PartitionLabel};
use crate::progress::{BulkNumber, Progress};
use crate::settings::Settings;

/// Its name in `/readyz`.
const PART: &str = "kafka";
/// Limit of records fetched ahead and waiting in this process.
const FETCHED_AHEAD_KIBIBYTES: &str = "16384";
/// Limit of one fetch.
const FETCH_BYTES: &str = "8388608";
/// How often librdkafka reports statistics.
const STATISTICS_MS: &str = "5000";

/// Callbacks of the consumer; they run while it is polled.
struct Context {
    common: kafka::Context,
    watch: Watch,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    progress: Arc<Mutex<Progress>>,
    paused: Arc<AtomicBool>,
    topic: String,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.common.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.common.error(error, reason);
        self.degrade();
    }

    fn stats(&self, statistics: Statistics) {
        // Negative numbers are configured addresses, not brokers that were reached.
        if statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP") {
            self.works();
        } else {
            self.degrade();
        }
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let own: Vec<i32> = self.progress.lock().partitions().collect();
        for partition in own {
            let lag = topic.partitions.get(&partition).map_or(-1, |partition| partition.consumer_lag_stored);
            // Unknown before the first offset.
            if lag >= 0 {
                self.metrics.lag.get_or_create(&PartitionLabel { partition }).set(lag);
            }
        }
    }
}

impl Context {
    fn works(&self) {
        self.watch.clear();
        if self.readiness.restore(PART) {
            info!(target: PIPELINE, "Kafka is reachable again");
        }
    }

    fn degrade(&self) {
        if let Some(reason) = self.watch.last_error()
            && self.readiness.degrade(PART, &*reason)
        {
            warn!(target: PIPELINE, reason, "Kafka is unreachable");
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut progress = self.progress.lock();
        match rebalance {
            Rebalance::Assign(partitions) => {
                numbers(partitions).for_each(|partition| progress.assigned(partition));
            }
            Rebalance::Revoke(partitions) => {
                for partition in numbers(partitions) {
                    progress.revoked(partition);
                    self.metrics.lag.remove(&PartitionLabel { partition });
                }
            }
            Rebalance::Error(_) => {}
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                self.metrics.rebalances.inc();
                self.works();
                info!(target: PIPELINE, partitions = ?numbers(partitions).collect::<Vec<_>>(), "partitions assigned");
                // New partitions start unpaused, even if the others are paused.
                if self.paused.load(Ordering::Relaxed)
                    && let Err(error) = consumer.pause(partitions)
                {
                    warn!(target: PIPELINE, %error, "cannot pause new partitions");
                }
            }
            Rebalance::Revoke(partitions) => {
                info!(target: PIPELINE, partitions = ?numbers(partitions).collect::<Vec<_>>(), "partitions revoked");
            }
            Rebalance::Error(error) => warn!(target: PIPELINE, %error, "rebalance failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            // They will be committed with later ones; until then a restart only consumes some records again.
            Err(error) => debug!(target: PIPELINE, %error, "offsets not committed yet"),
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> impl Iterator<Item = i32> {
    partitions.elements().into_iter().map(|element| element.partition()).collect::<Vec<_>>().into_iter()
}

/// See the module.
pub(crate) struct Source {
    consumer: StreamConsumer<Context>,
    topic: String,
    progress: Arc<Mutex<Progress>>,
    paused: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Source {
    /// Creates the consumer and subscribes without connecting.
    ///
    /// # Errors
    /// The client rejects its configuration.
    pub(crate) fn new(
        settings: &Settings,
        metrics: Arc<Metrics>,
        readiness: Readiness,
        watch: Watch,
    ) -> Result<Self, KafkaError> {
        let topic = settings.kafka.logging_topic.clone();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let paused = Arc::new(AtomicBool::new(false));
        let context = Context {
            common: kafka::Context::new(watch.clone()),
            watch,
            readiness,
            metrics: Arc::clone(&metrics),
            progress: Arc::clone(&progress),
            paused: Arc::clone(&paused),
            topic: topic.clone(),
        };
        let session = settings.session_timeout;
        let consumer: StreamConsumer<Context> = settings
            .kafka
            .client_config()
            .set("group.id", &settings.group)
            .set("client.id", service::logs::pod_name(settings.pod_name.as_deref()))
            .set("session.timeout.ms", session.as_millis().to_string())
            .set("heartbeat.interval.ms", (session / 5).as_millis().to_string())
            // We store offsets after the acknowledgement; librdkafka commits stored offsets.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            // A new group starts with the oldest record.
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "true")
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("fetch.wait.max.ms", settings.kafka.fetch_wait.as_millis().to_string())
            .set("fetch.max.bytes", FETCH_BYTES)
            .set("queued.max.messages.kbytes", FETCHED_AHEAD_KIBIBYTES)
            .set("queued.min.messages", "50000")
            .set("statistics.interval.ms", STATISTICS_MS)
            .create_with_context(context)?;
        consumer.subscribe(&[&topic])?;
        Ok(Self { consumer, topic, progress, paused, metrics })
    }

    /// The next record; callbacks and `/readyz` report failures meanwhile.
    pub(crate) async fn next(&self) -> BorrowedMessage<'_> {
        loop {
            match self.consumer.recv().await {
                Ok(record) => return record,
                Err(error) => debug!(target: PIPELINE, %error, "receiving failed"),
            }
        }
    }

    /// Notes that a record was put into a bulk.
    pub(crate) fn taken(&self, bulk: BulkNumber, partition: i32, offset: i64) {
        self.progress.lock().taken(bulk, partition, offset);
    }

    /// Notes that a bulk is done: commits what can be committed now.
    pub(crate) fn acknowledged(&self, bulk: BulkNumber) {
        let advanced = self.progress.lock().acknowledged(bulk);
        if advanced.is_empty() {
            return;
        }
        let mut offsets = TopicPartitionList::new();
        let stored = advanced
            .iter()
            .try_for_each(|(partition, next)| {
                offsets.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))
            })
            .and_then(|()| self.consumer.store_offsets(&offsets));
        if let Err(error) = stored {
            // The partition was just revoked; its next owner repeats the records.
            debug!(target: PIPELINE, %error, "cannot store offsets");
        }
    }

    /// Stops fetching, but stays a member of the group.
    pub(crate) fn pause(&self) {
        // Set this before reading the current partitions: later ones are paused when they are assigned.
        self.paused.store(true, Ordering::Relaxed);
        self.metrics.pauses.inc();
        self.set_paused(true);
    }

    /// Resumes fetching.
    pub(crate) fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
        self.metrics.resumes.inc();
        self.set_paused(false);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    fn set_paused(&self, pause: bool) {
        let changed = self.consumer.assignment().and_then(|partitions| {
            if pause { self.consumer.pause(&partitions) } else { self.consumer.resume(&partitions) }
        });
        if let Err(error) = changed {
            warn!(target: PIPELINE, %error, pause, "cannot pause or resume fetching");
        }
    }

    /// Commits acknowledged offsets and leaves the group. Blocks.
    pub(crate) fn leave(self) {
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                warn!(target: PIPELINE, %error, "cannot commit the last offsets: their records will be consumed again");
            }
        }
        // Dropped: leaves the group.
    }
}
