//! Every record of a topic, to every instance.
//!
//! All partitions are assigned manually, from their end, without a group: no rebalance, no commits, and each instance
//! sees each record. "The end" is queried before the assignment and assigned as a number, so that nothing published
//! after the first query is missed, however long the first fetch takes.
//!
//! Partitions that appear later (a topic that is created, or grows) are read from their start: everything in them is
//! new. The consumer looks for them every half minute, and sooner while something is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::context::{Context, TARGET, Watch};
use super::{ConfigError, Settings};
use crate::backoff::Backoff;
use crate::readiness::Readiness;

/// Its name in `/readyz`.
pub const PART: &str = "broadcast";
/// Time limit of one query to the brokers.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to look for new partitions while all is well.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(30);
/// How often to look while something is wrong.
const RETRY_LEAST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

type Consumer = StreamConsumer<Context>;
/// The next offset of each partition.
type Positions = BTreeMap<i32, i64>;

/// Passes every broadcast to `receive`, one after another, waiting for each. Notifies `assigned` when the partitions
/// were first assigned. Returns only if the client rejects its configuration; otherwise drop it.
pub async fn broadcasts(
    settings: &Settings,
    watch: Watch,
    readiness: Readiness,
    assigned: impl FnOnce(),
    mut receive: impl AsyncFnMut(&[u8]),
) -> Result<(), ConfigError> {
    let consumer = Arc::new(consumer(settings, watch.clone())?);
    let topic: Arc<str> = settings.broadcast_topic.as_str().into();
    let mut assigned = Some(assigned);
    let mut positions = Positions::new();
    let mut topic_was_missing = false;
    let mut retry = Backoff::new(RETRY_LEAST, RETRY_LONGEST);
    loop {
        let known = positions.clone();
        let from_beginning = topic_was_missing || !known.is_empty();
        let lookup = tokio::task::spawn_blocking({
            let (consumer, topic) = (Arc::clone(&consumer), Arc::clone(&topic));
            move || new_partitions(&consumer, &topic, &known, from_beginning)
        });
        let outcome = match lookup.await {
            Ok(Ok(new)) => assign(&consumer, &topic, &mut positions, new),
            Ok(Err(error)) => Err(error),
            // The blocking task panicked or the runtime is ending: the next turn sees which.
            Err(error) => {
                debug!(target: TARGET, %error, "lookup did not run");
                Err(KafkaError::Canceled)
            }
        };
        let next_lookup = match outcome {
            Ok(()) if positions.is_empty() => {
                topic_was_missing = true;
                degraded(&readiness, &format!("topic {topic} does not exist"));
                retry.wait()
            }
            Ok(()) => {
                watch.clear();
                if readiness.restore(PART) {
                    info!(topic = &*topic, partitions = positions.len(), "receiving broadcasts");
                }
                if let Some(assigned) = assigned.take() {
                    assigned();
                }
                retry.reset();
                LOOKUP_INTERVAL
            }
            Err(error) => {
                let reason = watch.last_error().unwrap_or_else(|| error.to_string());
                degraded(&readiness, &reason);
                retry.wait()
            }
        };
        receive_until(&consumer, clock::runtime_now() + next_lookup, &watch, &mut positions, &mut receive)
            .await;
    }
}

fn degraded(readiness: &Readiness, reason: &str) {
    if readiness.degrade(PART, reason) {
        warn!(reason, "cannot receive broadcasts");
    }
}

fn consumer(settings: &Settings, watch: Watch) -> Result<Consumer, ConfigError> {
    settings
        .client_config()
        // librdkafka requires a group name even if no group is joined; a random one cannot clash.
        .set("group.id", format!("broadcasts-{}", uuid::Uuid::new_v4()))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // The topic may not exist yet; asking for it creates it if brokers allow that.
        .set("allow.auto.create.topics", "true")
        .set("auto.offset.reset", "latest")
        .set("fetch.wait.max.ms", settings.fetch_wait.as_millis().to_string())
        .set("fetch.error.backoff.ms", "100")
        // Broadcasts are passed on at once; a backlog may stay in Kafka.
        .set("queued.max.messages.kbytes", "4096")
        .set("queued.min.messages", "1000")
        .create_with_context(Context { watch })
        .map_err(ConfigError)
}

/// New partitions, and where to start in each. Blocks.
fn new_partitions(
    consumer: &Consumer,
    topic: &str,
    known: &Positions,
    from_beginning: bool,
) -> Result<Positions, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), LOOKUP_TIMEOUT)?;
    let mut new = Positions::new();
    for described in metadata.topics().iter().filter(|described| described.name() == topic) {
        match described.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => {
            }
            Some(code) => return Err(KafkaError::MetadataFetch(code)),
        }
        for partition in
            described.partitions().iter().filter(|partition| !known.contains_key(&partition.id()))
        {
            let (first, end) = consumer.fetch_watermarks(topic, partition.id(), LOOKUP_TIMEOUT)?;
            new.insert(partition.id(), if from_beginning { first } else { end });
        }
    }
    Ok(new)
}

/// Adds `new` to the assignment; the other partitions continue from their positions.
fn assign(
    consumer: &Consumer,
    topic: &str,
    positions: &mut Positions,
    new: Positions,
) -> Result<(), KafkaError> {
    if new.is_empty() {
        return Ok(());
    }
    positions.extend(new);
    let mut assignment = TopicPartitionList::new();
    for (partition, offset) in &*positions {
        assignment.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&assignment)
}

/// Passes on records until it is time to look for partitions again: as scheduled, or because of a problem.
async fn receive_until(
    consumer: &Consumer,
    next_lookup: Instant,
    watch: &Watch,
    positions: &mut Positions,
    receive: &mut impl AsyncFnMut(&[u8]),
) {
    let mut until = next_lookup;
    loop {
        tokio::select! {
            record = consumer.recv() => match record {
                Ok(record) => {
                    positions.insert(record.partition(), record.offset() + 1);
                    receive(record.payload().unwrap_or_default()).await;
                }
                Err(error) => {
                    debug!(target: TARGET, %error, "receiving failed");
                    until = until.min(clock::runtime_now() + RETRY_LEAST);
                }
            },
            () = watch.trouble() => until = until.min(clock::runtime_now() + RETRY_LEAST),
            () = sleep_until(until) => return,
        }
    }
}
