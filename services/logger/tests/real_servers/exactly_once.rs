//! Every record becomes one document, despite kills of every component.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::documents::Documents;
use crate::kafka::{self, Producer};
use crate::process::Logger;
use crate::testbed::{eventually, kill_for, pause, testbed, variable};

const RECORDS: u64 = 100_000;
/// 50 s of records, so that every kill happens during a stream of them.
const RECORDS_PER_SECOND: u64 = 2000;
const AWAY: Duration = Duration::from_secs(10);
/// The records' pod.
const POD: &str = "exactly-once-0";
const DEADLINE: Duration = Duration::from_mins(2);
/// Five bulks of 2 MiB with their answers, 16 MiB fetched ahead, and the program itself.
const MEMORY_MAX: u64 = 128 * 1024 * 1024;

/// Elasticsearch is killed twice, Kafka once, the logger three times: while all is well, while Elasticsearch is away,
/// and while it catches up.
#[test]
fn each_of_100_000_records_becomes_one_document_despite_kills() {
    let brokers = variable("KAFKA_BROKERS");
    let topic = format!("exactly-once-{}", std::process::id());
    let index = topic.clone();
    kafka::create_topic(&brokers, &topic);
    let url = variable("ELASTICSEARCH_URL");
    let settings = [
        ("KAFKA_BROKERS", brokers.as_str()),
        ("KAFKA_LOGGING_TOPIC", &topic),
        ("KAFKA_GROUP", &topic),
        ("ELASTICSEARCH_URL", &url),
        ("ELASTICSEARCH_INDEX", &index),
    ];
    // The loggers' own lines take the same path.
    let documents = Documents::new(&url, &index, POD);

    let producer = Arc::new(Producer::new(&brokers));
    let producing = std::thread::spawn({
        let (producer, topic) = (Arc::clone(&producer), topic.clone());
        move || produce(&producer, &topic)
    });
    let acknowledged = |count: u64| {
        eventually("records are produced", DEADLINE, || producer.acknowledged() >= count);
    };

    let mut memory_peaks = Vec::new();
    let mut kill = |logger: Logger| {
        memory_peaks.push(logger.memory_peak());
        logger.kill();
        Logger::start(&settings)
    };
    let mut logger = Logger::start(&settings);
    acknowledged(8000);
    logger = kill(logger);
    acknowledged(20_000);
    kill_for("elasticsearch", AWAY);
    // In the middle of catching up.
    logger = kill(logger);
    acknowledged(50_000);
    testbed(&["kill", "kafka"]);
    testbed(&["up", "kafka"]);
    acknowledged(70_000);
    testbed(&["kill", "elasticsearch"]);
    let back = clock::now() + AWAY;
    logger = kill(logger);
    while clock::now() < back {
        pause();
    }
    testbed(&["up", "elasticsearch"]);

    producing.join().unwrap();
    assert_eq!(producer.acknowledged(), RECORDS);
    let mut last = None;
    eventually("every record is a document", DEADLINE, || {
        last = documents.count().or(last);
        last.is_some_and(|count| count >= RECORDS)
    });
    // The texts are all different and their number is right, so none is missing or duplicated.
    let mut texts = documents.texts();
    assert_eq!(texts.len() as u64, RECORDS);
    texts.sort_unstable();
    let expected: Vec<String> = (0..RECORDS).map(text_of).collect();
    assert_eq!(texts, expected);

    memory_peaks.push(logger.memory_peak());
    println!(
        "memory of the loggers at their peaks, MiB: {:?}",
        memory_peaks.iter().map(|peak| peak >> 20).collect::<Vec<_>>()
    );
    assert!(memory_peaks.iter().all(|peak| *peak < MEMORY_MAX), "{memory_peaks:?}");
}

fn text_of(number: u64) -> String {
    format!("record {number:06}")
}

/// Publishes at a steady rate, each record with its own time stamp.
fn produce(producer: &Producer, topic: &str) {
    let (began, first) = (clock::now(), clock::wall());
    for number in 0..RECORDS {
        let due = began + Duration::from_micros(number * 1_000_000 / RECORDS_PER_SECOND);
        while clock::now() < due {
            pause();
        }
        let timestamp = first + SignedDuration::from_micros(i64::try_from(number).unwrap());
        let value =
            serde_json::json!({"pod": POD, "text": text_of(number), "timestamp": timestamp}).to_string();
        producer.send(topic, &value);
    }
    producer.flush();
}
