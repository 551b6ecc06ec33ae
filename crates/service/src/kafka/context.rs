//! librdkafka's messages, in our words.

use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;
use tracing::{debug, error};

/// The target of librdkafka's logs and errors, which are not shipped to Kafka itself.
pub(crate) const TARGET: &str = "kafka_client";

#[derive(Debug, Default)]
struct Inner {
    last_error: Mutex<Option<String>>,
    news: Notify,
}

/// The state of the brokers, shared by the clients of one service.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Inner>);

impl Watch {
    /// Returns whether the error differs from the last one.
    fn note(&self, text: String) -> bool {
        let mut last = self.0.last_error.lock();
        let is_news = last.as_deref() != Some(&text);
        *last = Some(text);
        drop(last);
        self.0.news.notify_one();
        is_news
    }

    /// "No broker can be reached" is worth keeping only while no better reason is known.
    fn note_unless_known(&self, text: &str) {
        if self.last_error().is_none() {
            self.note(text.to_owned());
        }
        self.0.news.notify_one();
    }

    /// The last error that the clients reported since the brokers last answered.
    pub fn last_error(&self) -> Option<String> {
        self.0.last_error.lock().clone()
    }

    /// The brokers have answered.
    pub fn clear(&self) {
        *self.0.last_error.lock() = None;
    }

    /// Waits for the next error.
    pub(super) async fn trouble(&self) {
        self.0.news.notified().await;
    }
}

/// The callbacks of a client. Services with their own clients use it directly or delegate to it.
pub struct Context {
    pub(super) watch: Watch,
}

impl Context {
    pub fn new(watch: Watch) -> Self {
        Self { watch }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(target: TARGET, ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(target: TARGET, %error, reason, "client error");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                let text = format!("Kafka refuses KAFKA_SASL_USER and KAFKA_SASL_PASSWORD: {reason}");
                // Every attempt to connect fails again; reporting it once is enough.
                if self.watch.note(text) {
                    error!(reason, "Kafka refuses KAFKA_SASL_USER and KAFKA_SASL_PASSWORD");
                }
            }
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.watch.note_unless_known("no broker can be reached");
            }
            _ => _ = self.watch.note(reason.to_owned()),
        }
    }
}

impl ConsumerContext for Context {}
