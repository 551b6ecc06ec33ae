//! Elasticsearch refuses requests, loses answers, and goes down.

use fixtures::settles;

use crate::elasticsearch::{Elasticsearch, Fault};
use crate::support::{Kafka, Logger, header};

#[test]
fn failed_documents_are_resent_and_none_is_written_twice() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let busy = Fault::Document { text: "second", status: 429, kind: "es_rejected_execution_exception" };
    elasticsearch.fail([Fault::Status(500), Fault::Status(429), Fault::WrittenWithoutAnswer, busy]);
    for text in ["first", "second", "third"] {
        kafka.publish_line(0, text);
    }
    let logger = Logger::start(&kafka, &elasticsearch, &[]);
    settles("the committed offset", Some(3), || kafka.committed(0));
    assert_eq!(elasticsearch.texts(), ["first", "second", "third"]);
    assert!(logger.metric("logger_bulk_retries_total{cause=\"unavailable\"}") >= 3);
    assert!(logger.metric("logger_documents_duplicate_total") >= 1, "the documents of the lost answer");
    let opened = logger.metric("logger_bulks_opened_total");
    logger.expect_metric("logger_bulks_closed_total", opened);
    logger.expect_all_well();
}

#[test]
fn only_the_documents_that_were_busy_are_sent_again() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let busy = Fault::Document { text: "second", status: 503, kind: "unavailable_shards_exception" };
    elasticsearch.fail([busy]);
    for text in ["first", "second", "third"] {
        kafka.publish_line(0, text);
    }
    let logger = Logger::start(&kafka, &elasticsearch, &[("BULK_AGE", "1s")]);
    settles("texts", 3, || elasticsearch.texts().len());
    assert_eq!(elasticsearch.contents.lock().bulks.last(), Some(&1));
    logger.expect_metric("logger_bulk_retries_total{cause=\"busy\"}", 1);
    logger.expect_metric("logger_documents_duplicate_total", 0);
}

#[test]
fn a_record_that_makes_a_request_fail_is_isolated_and_the_others_arrive() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    elasticsearch.contents.lock().poison = Some("5");
    for number in 0..20 {
        kafka.publish_line(0, &number.to_string());
    }
    let logger = Logger::start(&kafka, &elasticsearch, &[("BULK_AGE", "1s")]);
    settles("the committed offset", Some(20), || kafka.committed(0));
    assert_eq!(elasticsearch.texts().len(), 19);
    let letters = kafka.dead_letters(1);
    assert_eq!(header(&letters[0], "offset"), "5");
    assert!(header(&letters[0], "reason").contains("400 Bad Request"), "{}", header(&letters[0], "reason"));
    logger.expect_metric("logger_dead_letters_total{cause=\"refused\"}", 1);
    logger.expect_all_well();
}

#[test]
fn a_record_that_may_not_be_written_becomes_a_dead_letter() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    elasticsearch.fail([Fault::Document { text: "second", status: 403, kind: "security_exception" }]);
    for text in ["first", "second", "third"] {
        kafka.publish_line(0, text);
    }
    let _logger = Logger::start(&kafka, &elasticsearch, &[("BULK_AGE", "1s")]);
    settles("the committed offset", Some(3), || kafka.committed(0));
    assert_eq!(elasticsearch.texts(), ["first", "third"]);
    assert!(header(&kafka.dead_letters(1)[0], "reason").starts_with("security_exception"));
}

#[test]
fn readiness_says_what_is_stuck_and_since_when_whatever_else_arrives() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let busy = Fault::Document { text: "stuck", status: 503, kind: "unavailable_shards_exception" };
    elasticsearch.contents.lock().always = Some(busy);
    let logger = Logger::start(&kafka, &elasticsearch, &[]);
    kafka.publish_line(0, "stuck");
    logger.expect_degraded("elasticsearch: 1 records wait since 20");
    for number in 0..5 {
        kafka.publish_line(1, &number.to_string());
        settles("texts", number + 1, || elasticsearch.texts().len());
        logger.expect_degraded("unavailable_shards_exception");
    }
    elasticsearch.contents.lock().always = None;
    settles("the committed offset", Some(1), || kafka.committed(0));
    logger.expect_all_well();
}

#[test]
fn while_elasticsearch_is_away_consuming_pauses_and_records_wait_in_kafka() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    elasticsearch.contents.lock().down = true;
    let text = "x".repeat(2000);
    for number in 0..100 {
        kafka.publish_line(number % 2, &format!("{number} {text}"));
    }
    let settings = [("BULK_BYTES", "8192"), ("BULKS_IN_FLIGHT", "2")];
    let logger = Logger::start(&kafka, &elasticsearch, &settings);
    logger.expect_metric("logger_pauses_total", 1);
    let consumed = logger.metric("logger_records_consumed_total");
    assert!(consumed <= 20, "{consumed} records of 2 kB for three bulks of 8 KiB");
    assert_eq!((kafka.committed(0), kafka.committed(1)), (None, None));
    logger.expect_degraded("elasticsearch: ");

    elasticsearch.contents.lock().down = false;
    settles("the committed offsets", [Some(50); 2], || [0, 1].map(|partition| kafka.committed(partition)));
    assert_eq!(elasticsearch.texts().len(), 100);
    settles("pauses that ended", logger.metric("logger_pauses_total"), || {
        logger.metric("logger_resumes_total")
    });
    logger.expect_all_well();
}

#[test]
fn records_that_a_drain_cannot_deliver_are_not_committed() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let logger = Logger::start(&kafka, &elasticsearch, &[("DRAIN_TIMEOUT", "200ms")]);
    kafka.publish_line(0, "first");
    settles("the committed offset", Some(1), || kafka.committed(0));
    elasticsearch.contents.lock().down = true;
    kafka.publish_line(0, "second");
    logger.expect_metric("logger_bulks_opened_total", 2);
    logger.drain();
    logger.join();
    assert_eq!(kafka.committed(0), Some(1));

    elasticsearch.contents.lock().down = false;
    let logger = Logger::start(&kafka, &elasticsearch, &[]);
    settles("the texts", ["first", "second"], || elasticsearch.texts());
    logger.force();
    logger.join();
}
