//! What the logger says about the pipeline does not enter the pipeline. A test binary of its own: the subscriber is the
//! process's.
#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "shared with the other tests")]

#[path = "contract/elasticsearch.rs"]
mod elasticsearch;
#[path = "contract/support.rs"]
mod support;

use elasticsearch::Elasticsearch;
use service::settings::Env;
use support::{Kafka, Logger, eventually};

#[test]
fn lines_about_refused_records_are_not_refused_in_turn() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let env: Env =
        [("KAFKA_BROKERS", kafka.brokers()), ("RUST_LOG", "info".to_owned())].into_iter().collect();
    service::logs::init(&env).unwrap();
    elasticsearch.contents.lock().refuses_all = true;
    let logger = Logger::start(&kafka, &elasticsearch, &[]);
    let refused = || logger.metric("logger_dead_letters_total{cause=\"refused\"}");
    let lines = || logger.metric("logger_log_lines_total");
    eventually("its first words are refused, as everything is", || lines() > 0 && refused() == lines());
    let said = lines();
    for number in 1..=5 {
        kafka.publish_line(0, "refused");
        eventually("it becomes a dead letter", || refused() == said + number);
    }
    assert_eq!(lines(), said, "nothing that it said about them is to be shipped");
}
