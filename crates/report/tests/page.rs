//! A run as a page.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;
use platform::{
    Event, EventKind,
    event::{
        Counters, Ending, ExpectationResult, LatencySummary, LoadTick, MetricProposal, Skew, Source, Stamper,
    },
};
use report::{Story, Style, Timeline, html};
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
fn a_cut_off_run_is_not_shown_as_one_without_expectations() {
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
fn a_page_has_all_data_of_its_run() {
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
fn hostile_texts_cannot_escape_their_element() {
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

/// Every count of the terminal's summary is among the figures, too, whatever was spoken.
#[test]
fn a_page_has_every_figure_that_the_terminal_has() {
    let summary = events().into_iter().find_map(|event| match event.kind {
        EventKind::LoadFinished { summary } => Some(*summary),
        _ => None,
    });
    let mut totals = serde_json::to_value(Counters::default()).unwrap();
    for (index, count) in totals.as_object_mut().unwrap().values_mut().enumerate() {
        *count = (100_001 + 7_001 * index).into();
    }
    let latency = |ms: u64| LatencySummary {
        count: 1,
        p50_us: ms * 1_000,
        p90_us: ms * 1_000,
        p99_us: (ms + 1) * 1_000,
        max_us: (ms + 2) * 1_000,
        ..LatencySummary::default()
    };
    for (protocol, sequence, few) in
        [("tcp", false, 15), ("ws", true, 25), ("sse", false, 17), ("udp", false, 12)]
    {
        let mut summary = summary.clone().unwrap();
        (summary.plan.protocol, summary.plan.sequence) = (protocol.to_owned(), sequence);
        summary.totals = serde_json::from_value(totals.clone()).unwrap();
        summary.endings =
            vec![Ending { code: 4001, reason: "Server Rebalancing".to_owned(), count: 987_654 }];
        (summary.lateness, summary.reconnect, summary.gap) = (latency(1_100), latency(1_200), latency(1_300));
        (summary.gap_without_delay, summary.event_gap) = (latency(1_400), latency(1_500));
        let mut stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
        let finished = stamper.stamp(1, EventKind::LoadFinished { summary: Box::new(summary) });
        let (mut story, mut timeline) =
            (Story::new("run"), Timeline::new(Style { color: false, width: 4_000 }));
        story.push(&finished);
        timeline.feed(&finished);
        let data = data(&html(&story, None).unwrap());
        let figures = data["runs"][0]["figures"].as_array().unwrap();
        let has = |value: f64| figures.iter().any(|figure| figure["value"] == value);
        let text = timeline.finish();
        let words = text.split(|character: char| !(character.is_ascii_digit() || character == ','));
        let counts: Vec<u64> = words
            .filter(|word| word.len() == 7)
            .filter_map(|word| word.replace(',', "").parse().ok())
            .filter(|count| *count > 100_000)
            .collect();
        assert!(counts.len() >= few, "{protocol}: {counts:?}\n{text}");
        for count in counts {
            assert!(has(count as f64), "{protocol}: {count} is not among {figures:#?}\n{text}");
        }
        for ms in [1_100, 1_200, 1_300, 1_400, 1_500] {
            assert!([0, 1, 2].iter().all(|more| has(f64::from(ms + more))), "{protocol}: {ms} ms\n{text}");
        }
        let names: Vec<_> = figures.iter().map(|figure| figure["name"].as_str().unwrap()).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "two runs are compared by name: {names:?}");
    }
}

#[test]
fn holds_on_scaling_are_in_the_page_for_their_whole_duration() {
    let data = data(&html(&recorded(), None).unwrap());
    let run = &data["runs"][0];
    let holds = run["services"][0]["holds"].as_array().unwrap();
    let [hold] = holds.as_slice() else { panic!("{holds:?}") };
    assert_eq!((&hold["kind"], &hold["at"], &hold["wanted"]), (&"window".into(), &2.into(), &1.into()));
    assert_eq!((&hold["from_ms"], &hold["until_ms"]), (&150_000.into(), &180_000.into()));
    assert!(hold["to_ms"].as_u64().unwrap() >= 180_000, "{hold}");
    // 06:43:21.701 by the clock of the machine.
    assert_eq!(run["began_ms"], 1_795_243_401_701_i64, "{}", run["about"]);
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
            open,
            connecting: 0,
            totals: Counters::default(),
            connect: message,
            first_byte: message,
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
