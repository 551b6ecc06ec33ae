//! A recorded run, read by all readers. Snapshots are beside this file; after a change: `cargo insta review`, or
//! `INSTA_UPDATE=always cargo test -p report`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use platform::{Event, EventKind, event::LoadSummary};
use report::{Recording, Style, Timeline, delays, json, svg};

fn events() -> Vec<Event> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tcp-10k.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // As the command line does: the delays are computed from the run and belong to the summary.
    let computed = delays(&events);
    for event in &mut events {
        if let EventKind::LoadFinished { summary } = &mut event.kind {
            summary.scale_up.clone_from(&computed.up);
            summary.scale_down.clone_from(&computed.down);
        }
    }
    events
}

fn summary(events: &[Event]) -> &LoadSummary {
    let found = events.iter().find_map(|event| match &event.kind {
        EventKind::LoadFinished { summary } => Some(summary.as_ref()),
        _ => None,
    });
    found.unwrap()
}

fn rendered(events: &[Event], style: Style) -> String {
    let mut timeline = Timeline::new(style);
    let mut lines: Vec<String> = events.iter().flat_map(|event| timeline.feed(event)).collect();
    lines.push(timeline.finish());
    lines.join("\n")
}

#[test]
fn time_line_on_a_wide_terminal() {
    insta::assert_snapshot!(rendered(&events(), Style { color: false, width: 120 }));
}

#[test]
fn time_line_on_a_narrow_terminal() {
    insta::assert_snapshot!(rendered(&events(), Style { color: false, width: 72 }));
}

#[test]
fn colours_change_nothing_but_colours() {
    let events = events();
    let coloured = rendered(&events, Style { color: true, width: 100 });
    assert!(coloured.contains("\u{1b}[1;35mdesired"), "decisions stand out");
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, rendered(&events, Style { color: false, width: 100 }));
}

#[test]
fn no_line_is_wider_than_asked_for() {
    for width in [60, 72, 80, 100, 132, 200] {
        for line in rendered(&events(), Style { color: false, width }).lines() {
            assert!(line.chars().count() <= width, "{width}: {line:?}");
        }
    }
}

#[test]
fn delays_add_up() {
    let delays = delays(&events());
    for (delays, names) in
        [(delays.up, ["scrape", "sync", "pod"]), (delays.down, ["metric's minute", "sync", "window"])]
    {
        let delays = delays.unwrap();
        let found: Vec<_> = delays.parts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, names);
        assert_eq!(delays.parts.iter().map(|(_, ms)| ms).sum::<u64>(), delays.total_ms);
    }
}

#[test]
fn json_is_one_object_without_the_regular_events() {
    let events = events();
    let recording: Recording = events.iter().collect();
    let document = serde_json::to_value(json(&recording, summary(&events))).unwrap();
    assert_eq!(document["plan"]["connections"], 10_000);
    assert_eq!(document["summary"]["totals"]["lost"], 0);
    let kinds: Vec<_> = document["timeline"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert!(kinds.iter().any(|kind| *kind == "DesiredChanged"));
    assert!(kinds.iter().all(|kind| *kind != "LoadTick" && *kind != "MetricScraped" && *kind != "HpaSynced"));
    let open: Vec<_> =
        document["connections"].as_array().unwrap().iter().map(|point| &point["open"]).collect();
    assert!(open.contains(&&serde_json::json!(10_000)));
}

#[test]
fn picture() {
    let recording: Recording = events().iter().collect();
    insta::assert_binary_snapshot!("tcp-10k.svg", svg(&recording).into_bytes());
}
