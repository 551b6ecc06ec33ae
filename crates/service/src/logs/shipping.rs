//! Ships lines from the queue to Kafka.
//!
//! Every line meant for Kafka is counted, and so is its outcome: shipped or dropped. The rest is in the queue or in
//! flight.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::QUEUE;
use crate::kafka::{Producer, Undelivered};

/// Maximum number of lines queued for Kafka.
const LINES_MAX: usize = 1024;
/// How many lines to send before waiting for their outcomes.
const BATCH_LINES: usize = 64;
/// The pause after a batch in which a line failed.
const PAUSE: Duration = Duration::from_secs(1);

/// One line, and when it was logged.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    timestamp: Timestamp,
}

/// The queue between the subscriber and the shipping task.
pub(super) struct Queue {
    sender: Sender<Line>,
    receiver: Mutex<Option<Receiver<Line>>>,
    pub(super) logged: AtomicU64,
    pub(super) shipped: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Queue {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            logged: AtomicU64::new(0),
            shipped: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn push(&self, text: String) {
        self.logged.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(Line { text, timestamp: clock::wall() }).is_err() {
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

/// A line in Kafka's format. Other programs use whole seconds there; `time` is the same instant with milliseconds.
#[derive(Serialize)]
struct Record<'a> {
    pod: &'a str,
    text: &'a str,
    timestamp: i64,
    time: String,
}

impl<'a> Record<'a> {
    fn new(pod: &'a str, text: &'a str, at: Timestamp) -> Self {
        Self { pod, text, timestamp: at.as_second(), time: format!("{at:.3}") }
    }
}

/// Ships this process's log lines until `stop` completes, then the lines still queued. Returns at once if no lines
/// are queued for Kafka ([`super::init`]) or another task ships them.
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
        let lines_taken = batch.len();
        let dropped = queue.dropped.load(Ordering::Relaxed);
        // Not a logged line, and not counted as one.
        if dropped > reported {
            let text = format!("WARN logs: {} lines dropped", dropped - reported);
            batch.push(Line { text, timestamp: clock::wall() });
        }
        let outcomes = send(&producer, &topic, &pod, &batch).await;
        let (of_lines, of_report) = outcomes.split_at(lines_taken);
        let shipped = of_lines.iter().filter(|arrived| **arrived).count();
        queue.shipped.fetch_add(shipped as u64, Ordering::Relaxed);
        queue.dropped.fetch_add((lines_taken - shipped) as u64, Ordering::Relaxed);
        if of_report == [true] {
            reported = dropped;
        }
        if outcomes.contains(&false) {
            if stopping {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        batch.clear();
    }
    // The next server in this process continues with it.
    *queue.receiver.lock() = Some(lines);
}

/// Sends lines and waits for their outcomes: whether each was delivered.
async fn send(producer: &Producer, topic: &str, pod: &str, lines: &[Line]) -> Vec<bool> {
    let deliveries: Vec<_> = lines.iter().map(|line| send_one(producer, topic, pod, line)).collect();
    let mut arrived = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        arrived.push(match delivery {
            Ok(delivery) => delivery.outcome().await.is_ok(),
            Err(_) => false,
        });
    }
    arrived
}

fn send_one(
    producer: &Producer,
    topic: &str,
    pod: &str,
    line: &Line,
) -> Result<crate::kafka::Delivery, Undelivered> {
    let record = Record::new(pod, &line.text, line.timestamp);
    let json = serde_json::to_vec(&record).expect("strings and a number can be written as JSON");
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
        assert_eq!(queue.logged.load(Ordering::Relaxed), LINES_MAX as u64 + 3);
    }

    #[test]
    fn records_are_as_the_logger_expects_them() {
        let at = Timestamp::new(1_732_600_000, 45_600_000).unwrap();
        let record = Record::new("tcp-0", "INFO tcp: ready", at);
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"pod":"tcp-0","text":"INFO tcp: ready","timestamp":1732600000,"time":"2024-11-26T05:46:40.045Z"}"#
        );
    }
}
