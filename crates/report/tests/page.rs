//! A run as a page.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;
use platform::{
    Event, EventKind,
    event::{ExpectationResult, LatencySummary, LoadTick, MetricProposal, Skew, Source, Stamper},
};
use report::{Story, html};
use serde_json::Value;
use uuid::Uuid;

const PAGE_BYTES_MAX: usize = 5 * 1024 * 1024;

fn events() -> Vec<Event> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tcp-10k.jsonl");
    let lines = fs::read_to_string(path).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn recorded() -> Story {
    let mut story = Story::new("tcp-10k.jsonl");
    for event in &events() {
        story.push(event);
    }
    story
}

/// What the script reads.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn times(column: &Value) -> Vec<u64> {
    column.as_array().unwrap().iter().map(|entry| entry[0].as_u64().unwrap()).collect()
}

#[test]
fn a_run_that_was_cut_off_is_not_one_of_which_nothing_was_expected() {
    let is_end = |event: &&Event| {
        matches!(event.kind, EventKind::LoadFinished { .. } | EventKind::ExpectationChecked(_))
    };
    let mut story = Story::new("cut.jsonl");
    for event in events().iter().filter(|event| !is_end(event)) {
        story.push(event);
    }
    for (story, is_unfinished) in [(story, true), (recorded(), false), (Story::new("empty"), false)] {
        let run = &data(&html(&story, None).unwrap())["runs"][0];
        assert_eq!(run["is_unfinished"], is_unfinished, "{}", run["name"]);
    }
}

#[test]
fn a_page_has_what_the_run_had() {
    let page = html(&recorded(), None).unwrap();
    let data = data(&page);
    let run = &data["runs"][0];
    assert_eq!(run["title"], "tcp-10k: 10,000 connections");
    let service = &run["services"][0];
    assert_eq!((&service["name"], &service["metric"]["target_milli"]), (&"tcp".into(), &5_000_000.into()));
    let desired: Vec<_> = service["desired"].as_array().unwrap().iter().map(|step| &step[1]).collect();
    assert_eq!(desired, [1, 2, 1]);
    let ready: Vec<_> = service["ready"].as_array().unwrap().iter().map(|step| &step[1]).collect();
    assert_eq!(ready, [1, 2], "the recording ends before the second is gone");
    let open = run["open"].as_array().unwrap();
    assert!(open.iter().any(|sample| sample[1] == 10_000.0), "the most that were open");
    assert!(times(&run["open"]).is_sorted() && times(&run["message"]).is_sorted());
    let verdicts = run["verdicts"].as_array().unwrap();
    assert!(!verdicts.is_empty() && verdicts.iter().all(|verdict| verdict["met"] == true));
    let replicas = run["replicas"].as_array().unwrap();
    assert!(
        replicas.iter().any(|replica| replica["name"] == "tcp-1" && replica["states"][0][1] == "starting")
    );
    let marked = run["events"].as_array().unwrap().iter().filter(|event| event["mark"] == true);
    assert!(marked.clone().any(|event| event["what"] == "tcp 1 → 2"), "{:?}", marked.collect::<Vec<_>>());
    assert!(service["syncs"].as_array().unwrap().iter().all(|sync| !sync[3].as_str().unwrap().is_empty()));
}

#[test]
fn nothing_from_outside_gets_out_of_its_text() {
    let hostile =
        "</script><script>alert(1)</script><!-- \u{2028}\u{2029}\u{202e}\u{0} ' \" & <img onerror=x>";
    let mut story = Story::new(hostile);
    story.note(hostile);
    let mut stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
    let result = ExpectationResult { expectation: hostile.to_owned(), seen: hostile.to_owned(), met: false };
    let pod = EventKind::PodStarting {
        service: hostile.to_owned(),
        pod: hostile.to_owned(),
        node: hostile.to_owned(),
        restarts: 0,
    };
    let (action, because) = (hostile.to_owned(), hostile.to_owned());
    for kind in [
        EventKind::Warning { message: hostile.to_owned() },
        EventKind::ExpectationChecked(result),
        EventKind::ReplicasSet { service: hostile.to_owned(), from: 1, to: 2 },
        pod,
        EventKind::ActionTaken { action, because, outcome: hostile.to_owned(), failed: true },
    ] {
        story.push(&stamper.stamp(1, kind));
    }
    let page = html(&story, Some(&story)).unwrap();
    // The page's own: its policy, title, style, data and script.
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<!--") && !page.contains("<img") && !page.contains("\u{2028}"));
    let before_script = page.rsplit_once("<script>").unwrap().0;
    assert!(
        !before_script.contains(['\u{202e}', '\0']),
        "marks of direction and control characters are written out"
    );
    let read = data(&page);
    assert!(
        read["runs"][0]["services"][0]["name"].as_str().unwrap().contains("<img onerror=x>"),
        "as text it is whole"
    );
    assert_eq!(read["runs"][1]["verdicts"].as_array().unwrap().len(), 2);
    let (head, _) = page.split_once("</head>").unwrap();
    assert!(head.contains("default-src 'none'; script-src 'sha256-") && !head.contains("unsafe"));
}

/// A tick a second, scrapes and syncs as on the platform, 100 replicas, a warning every second: for an hour, twice.
#[test]
fn an_hour_of_a_hundred_replicas_stays_below_five_mebibytes_and_keeps_the_worst_moment() {
    let mut stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
    let mut story = Story::new("hour.jsonl");
    let names: Vec<String> = (0..100).map(|number| format!("service-with-a-long-name-{number}")).collect();
    for second in 0..3_600_u64 {
        let mut push = |kind| story.push(&stamper.stamp(second * 1_000, kind));
        let count = |number: usize| 1_000 + (second * 7 + number as u64) % 97;
        let by_replica: BTreeMap<String, u64> =
            names.iter().enumerate().map(|(number, name)| (name.clone(), count(number))).collect();
        let max_us = if second == 1_777 { 9_000_000 } else { 900 + second % 50 };
        let message = LatencySummary {
            count: 10,
            p50_us: 300,
            p90_us: 500,
            p99_us: 800,
            max_us,
            ..LatencySummary::default()
        };
        let open = by_replica.values().sum();
        let values_milli =
            by_replica.iter().map(|(name, count)| (name.clone(), *count as i64 * 1_000)).collect();
        let tick = LoadTick {
            first_byte: LatencySummary::default(),
            open,
            connecting: 0,
            totals: platform::event::Counters::default(),
            connect: message,
            message,
            skew: Skew::of(by_replica.values().copied()),
            by_replica,
        };
        push(EventKind::LoadTick(tick));
        push(EventKind::Warning { message: format!("{second}: <{}>", "what goes wrong ".repeat(20)) });
        let (service, metric) = ("service".to_owned(), "connections".to_owned());
        if second % 7 == 0 {
            push(EventKind::MetricScraped { service: service.clone(), metric: metric.clone(), values_milli });
        }
        if second % 15 == 0 {
            let proposal = MetricProposal {
                metric,
                value_milli: Some(second as i64 * 1_000),
                target_milli: 5_000_000,
                utilization: false,
                proposal: Some(100),
                words: String::new(),
            };
            push(EventKind::HpaSynced {
                service,
                current: 100,
                desired: 100,
                metrics: vec![proposal],
                reason: format!("connections {second} per pod of 5k: wants 100; {}", "and so on ".repeat(30)),
                conditions: BTreeMap::new(),
            });
        }
    }
    let page = html(&story, Some(&story)).unwrap();
    assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
    let data = data(&page);
    let run = &data["runs"][0];
    let worst = run["message"].as_array().unwrap().iter().filter(|band| band[4] == 9_000.0);
    assert_eq!(worst.map(|band| band[0].as_u64().unwrap()).collect::<Vec<_>>(), [1_777_000]);
    let moments = run["moments"].as_array().unwrap().len();
    assert!(moments > 300, "{moments}");
    let shown = run["events"].as_array().unwrap().len() as u64;
    assert_eq!(shown + run["left_out"].as_u64().unwrap(), 3_600);
    assert!(shown > 1_000, "{shown}");
}
