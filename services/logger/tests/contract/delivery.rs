//! Delivery of records while everything works.

use std::time::Duration;

use fixtures::{eventually, settles};
use jiff::Timestamp;
use rdkafka::Message as _;
use serde_json::json;

use crate::elasticsearch::{Elasticsearch, Fault};
use crate::support::{Kafka, Logger, header, line};

#[test]
fn lines_become_documents_and_a_drain_delivers_commits_and_leaves() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let logger = Logger::start(&kafka, &elasticsearch, &[]);
    kafka.publish_line(0, "first");
    kafka.publish_line(1, "second");
    settles("texts", 2, || elasticsearch.texts().len());
    {
        let contents = elasticsearch.contents.lock();
        let today = clock::wall().strftime("general-logs-%Y.%m.%d").to_string();
        let ids: Vec<&String> = contents
            .documents
            .keys()
            .map(|(index, id)| {
                // Midnight may pass in between.
                assert_eq!(index.len(), today.len());
                id
            })
            .collect();
        assert!(
            ids[0].starts_with("general-logs-0-0-") && ids[1].starts_with("general-logs-1-0-"),
            "{ids:?}"
        );
        let template = &contents.templates["general-logs"];
        assert_eq!(template["index_patterns"], json!(["general-logs-*"]));
        assert_eq!(template["template"]["aliases"], json!({"k8s-logs": {}}));
        assert_eq!(template["template"]["mappings"]["properties"]["timestamp"]["type"], "date_nanos");
    }
    logger.expect_all_well();
    assert!(logger.page("/info").1.contains(r#""service":"logger""#));
    logger.expect_metric("logger_records_consumed_total", 2);

    // Too recent for its own bulk: the drain sends it.
    kafka.publish_line(0, "last");
    logger.expect_metric("logger_records_consumed_total", 3);
    logger.drain();
    logger.join();
    assert_eq!(elasticsearch.texts(), ["first", "last", "second"]);
    assert_eq!((kafka.committed(0), kafka.committed(1)), (Some(2), Some(1)));

    // Its successor gets the partitions at once, and no record again.
    let logger = Logger::start(&kafka, &elasticsearch, &[]);
    kafka.publish_line(1, "new");
    settles("texts", 4, || elasticsearch.texts().len());
    logger.expect_metric("logger_records_consumed_total", 1);
    logger.expect_metric("logger_documents_duplicate_total", 0);
}

#[test]
fn old_records_are_skipped_and_malformed_ones_do_not_stop_the_rest() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let refused = Fault::Document { text: "poison", status: 400, kind: "document_parsing_exception" };
    elasticsearch.fail(std::iter::repeat_n(refused, 10));
    let logger = Logger::start(&kafka, &elasticsearch, &[("IGNORE_MESSAGES_BEFORE", "3600")]);
    let now = clock::wall();
    kafka.publish(0, &line("yesterday", now - Duration::from_hours(24)));
    kafka.publish(0, "no JSON at all");
    kafka.publish(0, &line("poison", now));
    kafka.publish(0, &line("good", now));
    settles("the texts", ["good"], || elasticsearch.texts());

    let letters = kafka.dead_letters(2);
    let malformed = &letters[0];
    assert_eq!(malformed.payload(), Some(&b"no JSON at all"[..]));
    assert!(header(malformed, "reason").contains("not a JSON object"));
    let from = |letter| ["topic", "partition", "offset"].map(|name| header(letter, name));
    assert_eq!(from(malformed), ["general-logs", "0", "1"]);
    let poison = letters.iter().find(|letter| header(letter, "offset") == "2").expect("refused");
    assert_eq!(poison.payload(), Some(line("poison", now).as_bytes()));
    assert!(header(poison, "reason").starts_with("document_parsing_exception"));

    settles("the committed offset", Some(4), || kafka.committed(0));
    logger.expect_metric("logger_records_skipped_total", 1);
    logger.expect_metric("logger_dead_letters_total{cause=\"malformed\"}", 1);
    logger.expect_metric("logger_dead_letters_total{cause=\"refused\"}", 1);
}

#[test]
fn records_of_existing_producers_become_documents_with_rfc_3339() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    let _logger = Logger::start(&kafka, &elasticsearch, &[]);
    let second = clock::wall().as_second();
    for timestamp in [format!("{second}"), format!("{second}.25")] {
        kafka.publish(0, &format!(r#"{{"pod":"old-0","text":"at {timestamp}","timestamp":{timestamp}}}"#));
    }
    settles("texts", 2, || elasticsearch.texts().len());
    let contents = elasticsearch.contents.lock();
    let times: Vec<&str> =
        contents.documents.values().map(|document| document["timestamp"].as_str().unwrap()).collect();
    let whole = Timestamp::from_second(second).unwrap();
    assert_eq!(times, [whole.to_string(), (whole + Duration::from_millis(250)).to_string()]);
}

#[test]
fn bulks_are_bounded_by_bytes_and_split_where_they_are_too_large() {
    let (kafka, elasticsearch) = (Kafka::start(), Elasticsearch::start());
    elasticsearch.contents.lock().documents_max = Some(3);
    let text = "x".repeat(1000);
    let now = clock::wall();
    for number in 0..40 {
        kafka.publish(0, &line(&format!("{number:02} {text}"), now));
    }
    let logger = Logger::start(&kafka, &elasticsearch, &[("BULK_BYTES", "8192"), ("BULK_AGE", "30s")]);
    eventually("full bulks are sent without waiting for their age", || elasticsearch.texts().len() >= 35);
    logger.drain();
    logger.join();
    assert_eq!(elasticsearch.texts().len(), 40);
    let bulks = elasticsearch.contents.lock().bulks.clone();
    assert!(bulks.iter().all(|documents| *documents <= 8), "{bulks:?}");
    assert!(bulks.iter().any(|documents| *documents <= 3), "{bulks:?}");
    assert_eq!(kafka.committed(0), Some(40));
}
