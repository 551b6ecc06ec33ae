//! From the queue to Kafka.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::QUEUE;
use crate::kafka::{Producer, Undelivered};

/// Lines that may wait for Kafka.
const LINES_MAX: usize = 1024;
/// Lines that are sent before their outcomes are waited for.
const BATCH_LINES: usize = 64;
/// The pause after a batch of which a line failed.
const PAUSE: Duration = Duration::from_secs(1);

/// One line, and when it was logged.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    timestamp: Timestamp,
}

/// The queue between the subscriber and the task that ships.
pub(super) struct Queue {
    sender: Sender<Line>,
    receiver: Mutex<Option<Receiver<Line>>>,
    dropped: AtomicU64,
}

impl Queue {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        Self { sender, receiver: Mutex::new(Some(receiver)), dropped: AtomicU64::new(0) }
    }

    pub(super) fn push(&self, text: String) {
        if self.sender.try_send(Line { text, timestamp: Timestamp::now() }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn take_receiver(&self) -> Option<Receiver<Line>> {
        self.receiver.lock().take()
    }
}

/// Lines of this process that did not reach Kafka.
pub fn dropped() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.dropped.load(Ordering::Relaxed))
}

/// A line as it is in Kafka.
#[derive(Serialize)]
struct Record<'a> {
    pod: &'a str,
    text: &'a str,
    timestamp: Timestamp,
}

/// Ships this process's log lines until `stop` completes, and then what is queued by that time. Returns at once if
/// no lines are kept ([`super::init`]) or another task ships them.
pub async fn ship(producer: Producer, topic: String, pod: String, stop: impl Future<Output = ()>) {
    let Some(queue) = QUEUE.get() else { return };
    let Some(mut lines) = queue.take_receiver() else {
        return;
    };
    let mut batch = Vec::with_capacity(BATCH_LINES);
    let mut stop = std::pin::pin!(stop);
    let mut stopping = false;
    let mut reported = 0;
    while !stopping || !lines.is_empty() {
        tokio::select! {
            _ = lines.recv_many(&mut batch, BATCH_LINES) => {}
            () = &mut stop, if !stopping => stopping = true,
        }
        let dropped = queue.dropped.load(Ordering::Relaxed);
        if dropped > reported {
            let text = format!("WARN logs: {} lines dropped", dropped - reported);
            batch.push(Line { text, timestamp: Timestamp::now() });
        }
        let count = batch.len() as u64;
        match send(&producer, &topic, &pod, &batch).await {
            0 => reported = dropped,
            failed => {
                queue.dropped.fetch_add(failed.min(count), Ordering::Relaxed);
                if stopping {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        batch.clear();
    }
    // Whoever serves next in this process goes on with it.
    *queue.receiver.lock() = Some(lines);
}

/// Sends lines and waits for their outcomes: how many failed.
async fn send(producer: &Producer, topic: &str, pod: &str, lines: &[Line]) -> u64 {
    let deliveries: Vec<_> = lines.iter().map(|line| send_one(producer, topic, pod, line)).collect();
    let mut failed = 0;
    for delivery in deliveries {
        let outcome = match delivery {
            Ok(delivery) => delivery.outcome().await,
            Err(error) => Err(error),
        };
        failed += u64::from(outcome.is_err());
    }
    failed
}

fn send_one(
    producer: &Producer,
    topic: &str,
    pod: &str,
    line: &Line,
) -> Result<crate::kafka::Delivery, Undelivered> {
    let record = Record { pod, text: &line.text, timestamp: line.timestamp };
    let json = serde_json::to_vec(&record).expect("strings and a timestamp can be written as JSON");
    producer.send(topic, pod, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Queue::new();
        for _ in 0..LINES_MAX + 3 {
            queue.push("line".into());
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn records_are_as_the_logger_expects_them() {
        let record = Record { pod: "tcp-0", text: "INFO tcp: ready", timestamp: Timestamp::UNIX_EPOCH };
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"pod":"tcp-0","text":"INFO tcp: ready","timestamp":"1970-01-01T00:00:00Z"}"#
        );
    }
}
