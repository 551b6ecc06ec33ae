//! Log lines to Kafka, if it is configured. They always go to stderr.

use std::sync::Arc;
use std::time::Duration;

use service::kafka::{ConfigError, Producer, Watch};
use service::logs;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::settings::Settings;

/// How long shipping the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where log lines go.
pub(crate) struct LogLines {
    producer: Producer,
    topic: String,
    pod: String,
}

impl std::fmt::Debug for LogLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogLines").field("topic", &self.topic).field("pod", &self.pod).finish_non_exhaustive()
    }
}

impl LogLines {
    /// `None` if no Kafka is configured. No broker needs to be up.
    ///
    /// # Errors
    /// The Kafka client refuses its configuration.
    pub(crate) fn new(settings: &Settings) -> Result<Option<Self>, ConfigError> {
        let Some(kafka) = &settings.kafka else { return Ok(None) };
        Ok(Some(Self {
            producer: Producer::new(kafka, Watch::default())?,
            topic: kafka.logging_topic.clone(),
            pod: logs::pod_name(settings.pod_name.as_deref()),
        }))
    }

    /// Ships lines while `work` runs, and then the remaining ones, for a second at most.
    pub(crate) async fn shipped_during<T>(self, work: impl Future<Output = T>) -> T {
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let shipping = logs::ship(self.producer, self.topic, self.pod, async move {
            stopped.notified().await;
        });
        let shipping = tokio::spawn(shipping);
        let outcome = work.await;
        stop.notify_one();
        // Late lines are lost: shutdown does not wait for a broker.
        let _ = timeout(LAST_LINES, shipping).await;
        outcome
    }
}
