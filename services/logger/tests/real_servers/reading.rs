//! The queries of `playctl logs`, against a real Elasticsearch.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use logger::index::{Pods, Question, Reader};
use service::settings::{self, Env};

use crate::kafka::{self, Producer};
use crate::process::Logger;
use crate::testbed::{eventually, variable};

/// More than a page of a search.
const LINES: u64 = 2500;
const DEADLINE: Duration = Duration::from_mins(1);

fn reader(env: &Env) -> Reader {
    let mut read = settings::Reader::new(env);
    let elasticsearch = logger::Elasticsearch::read(&mut read);
    Reader::new(&read.finish(elasticsearch).unwrap()).unwrap()
}

#[test]
fn lines_are_found_by_pod_time_and_text_over_many_pages_and_followed() {
    let (brokers, url) = (variable("KAFKA_BROKERS"), variable("ELASTICSEARCH_URL"));
    let topic = format!("reading-{}", std::process::id());
    kafka::create_topic(&brokers, &topic);
    let env = [("ELASTICSEARCH_URL", url.as_str()), ("ELASTICSEARCH_INDEX", &topic)];
    let reader_env: Env = env.into_iter().collect();
    assert_eq!(reader(&reader_env).last(&Question::default(), 10), Ok(Vec::new()), "no index is no error");

    let kafka =
        [("KAFKA_BROKERS", brokers.as_str()), ("KAFKA_LOGGING_TOPIC", &topic), ("KAFKA_GROUP", &topic)];
    let _logger = Logger::start(&[&env[..], &kafka[..]].concat());
    let producer = Producer::new(&brokers);
    let first = clock::wall() - SignedDuration::from_mins(10);
    // Ten lines share an instant, so that pages end within one.
    let time = |number: u64| first + SignedDuration::from_millis(i64::try_from(number / 10).unwrap());
    let send = |pod: &str, text: &str, timestamp: Timestamp| {
        producer
            .send(&topic, &serde_json::json!({"pod": pod, "text": text, "timestamp": timestamp}).to_string());
    };
    for number in 0..LINES {
        send(if number % 2 == 0 { "tcp-0" } else { "udp-0" }, &format!("line {number}"), time(number));
    }
    let all = Question { pods: Pods::Service("tcp".into()), ..Question::default() };
    let count =
        |question: &Question| reader(&reader_env).last(question, 100_000).map_or(0, |lines| lines.len());
    eventually("all lines can be found", DEADLINE, || count(&all) as u64 == LINES / 2);

    let reader_of_all = reader(&reader_env);
    let texts = |question: &Question, last: usize| -> Vec<String> {
        let lines = reader_of_all.last(question, last).unwrap();
        lines.into_iter().map(|line| line.text).collect()
    };
    let mut every = texts(&Question { before: Some(time(LINES)), ..Question::default() }, 100_000);
    assert_eq!(every.len() as u64, LINES, "over three pages, each once");
    every.sort_unstable();
    every.dedup();
    assert_eq!(every.len() as u64, LINES);
    let in_the_middle = Question {
        pods: Pods::Pod("tcp-0".into()),
        since: Some(time(1000)),
        before: Some(time(1020)),
        text: Some("line 101".into()),
    };
    let mut found = texts(&in_the_middle, 10);
    found.sort_unstable();
    assert_eq!(found, ["line 1010", "line 1012", "line 1014", "line 1016", "line 1018"]);
    assert_eq!(texts(&all, 3).len(), 3);

    // More than a page within the seconds that are searched again.
    let from_the_first = Question { since: Some(first), before: Some(time(LINES)), ..Question::default() };
    let followed = reader(&reader_env).follow(from_the_first).take(LINES as usize);
    let mut followed: Vec<String> = followed.map(|line| line.unwrap().text).collect();
    followed.sort_unstable();
    assert_eq!(followed, every);

    let question = Question { pods: Pods::Pod("new-0".into()), ..Question::default() };
    let mut new = reader(&reader_env).follow(question);
    send("new-0", "comes later", clock::wall());
    assert_eq!(new.next().unwrap().unwrap().text, "comes later");
}
