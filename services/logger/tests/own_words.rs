//! The logger's lines about the pipeline do not enter the pipeline. A separate test binary, because the subscriber is
//! global to the process.
#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "shared with the other tests")]

#[path = "contract/elasticsearch.rs"]
mod elasticsearch;
#[path = "contract/support.rs"]
mod support;

use elasticsearch::Elasticsearch;
use fixtures::settles;
use service::settings::Env;
use support::{Kafka, Logger};

/// It logs that it has started and that it is ready. Both lines are refused, like all others.
const SAID: u64 = 2;

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
    settles("its first words and those refused", (SAID, SAID), || (lines(), refused()));
    for number in 1..=5 {
        kafka.publish_line(0, "refused");
        settles("refused", SAID + number, refused);
    }
    assert_eq!(lines(), SAID, "nothing that it said about them is to be shipped");
}
