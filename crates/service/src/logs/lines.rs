//! Log lines of a service that uses Kafka for nothing else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::ship;
use crate::kafka::{ConfigError, Producer, Settings, Watch};

/// Time limit for shipping the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The destination of log lines besides stderr: none if Kafka is not configured.
#[derive(Debug)]
pub struct LogLines(Option<Destination>);

struct Destination {
    producer: Producer,
    topic: String,
    pod: String,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("topic", &self.topic)
            .field("pod", &self.pod)
            .finish_non_exhaustive()
    }
}

impl LogLines {
    /// No broker needs to be up.
    ///
    /// # Errors
    /// The Kafka client rejects its configuration.
    pub fn new(kafka: Option<&Settings>, pod: &str) -> Result<Self, ConfigError> {
        let destination = |kafka: &Settings| {
            let (topic, pod) = (kafka.logging_topic.clone(), pod.to_owned());
            Ok(Destination { producer: Producer::new(kafka, Watch::default())?, topic, pod })
        };
        kafka.map(destination).transpose().map(Self)
    }

    /// Ships lines while `work` runs, and then the remaining ones, for at most a second.
    pub async fn shipped_during<T>(self, work: impl Future<Output = T>) -> T {
        let Some(Destination { producer, topic, pod }) = self.0 else { return work.await };
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let shipping = tokio::spawn(ship(producer, topic, pod, async move { stopped.notified().await }));
        let outcome = work.await;
        stop.notify_one();
        // Late lines are lost: shutdown does not wait for a broker.
        let _ = timeout(LAST_LINES, shipping).await;
        outcome
    }
}
