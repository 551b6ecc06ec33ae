//! A recorded run from somebody else: any lines, and real events of every kind with changed numbers and texts. Its
//! display never controls a terminal, and never ends a script of the page early.
#![no_main]

use std::{collections::BTreeSet, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use platform::Event;
use report::{Recording, Story, Style, Timeline, delays, html, svg, visible};
use serde_json::Value;

/// One event of each kind in a recorded load.
static SAMPLES: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let lines = include_str!("../../crates/report/tests/fixtures/tcp-10k.jsonl").lines();
    let mut samples: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut seen = BTreeSet::new();
    samples.retain(|event| seen.insert(event["type"].to_string()));
    samples
});

/// An event: which sample, and its changed values.
type Changed = (u8, Vec<(u8, i64, String)>);

fuzz_target!(|input: (u8, &str, Vec<Changed>)| {
    let (width, lines, changed) = input;
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    let changed = changed.into_iter().filter_map(|(sample, changes)| {
        let mut event = SAMPLES[usize::from(sample) % SAMPLES.len()].clone();
        for (at, number, text) in changes {
            change(&mut event, &mut usize::from(at), number, &text);
        }
        serde_json::from_value::<Event>(event).ok()
    });
    let events: Vec<Event> = lines.chain(changed).collect();

    let mut timeline = Timeline::new(Style { color: false, width: width.into() });
    let mut story = Story::new("run.jsonl");
    for event in &events {
        for line in timeline.feed(event) {
            assert_eq!(visible(&line), line);
        }
        story.push(event);
    }
    for line in timeline.finish().lines() {
        assert_eq!(visible(line), line);
    }
    let recording = Recording::from_iter(&events);
    let _ = delays(recording.events());
    let _ = svg(&recording);
    let empty = html(&Story::new("run.jsonl"), None).expect("a page");
    let page = html(&story, Some(&story)).expect("a page");
    let scripts = |page: &str| page.to_ascii_lowercase().matches("</script").count();
    assert_eq!(scripts(&page), scripts(&empty));
});

/// Puts the number or the text into the leaf that is `at` leaves away.
fn change(value: &mut Value, at: &mut usize, number: i64, text: &str) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().any(|item| change(item, at, number, text)),
        Value::Object(fields) => fields.values_mut().any(|field| change(field, at, number, text)),
        leaf if *at == 0 => {
            match leaf {
                Value::Number(there) => *there = number.into(),
                Value::String(there) => text.clone_into(there),
                Value::Bool(there) => *there = number > 0,
                _ => *leaf = number.into(),
            }
            true
        }
        _ => {
            *at -= 1;
            false
        }
    }
}
