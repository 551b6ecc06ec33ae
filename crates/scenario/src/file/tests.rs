use std::{fs, time::Duration};

use super::*;
use crate::{Every, LoadDuration, Protocol};

#[test]
fn every_built_in_scenario_is_valid() {
    for (name, text) in EMBEDDED {
        let scenario = Scenario::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.name, name, "the name is the file's");
        assert!(!scenario.about.is_empty());
        // A server that never answers, or answers nonsense, must not pass.
        let texts: Vec<String> = scenario.expectations.iter().map(ToString::to_string).collect();
        let (came, exact) = match scenario.protocol {
            // A client that leaves and returns later has missed the messages sent meanwhile.
            Protocol::Sse if scenario.stay.is_some() => ("events >= ", "pairs-held-twice = 0"),
            Protocol::Sse => ("events >= ", "events-missed = 0"),
            _ => ("answered >= ", "wrong = 0"),
        };
        assert!(texts.iter().any(|text| text.starts_with(came)), "{name}: {texts:?}");
        assert!(texts.iter().any(|text| text == exact), "{name}: {texts:?}");
    }
    assert_eq!(names().count(), EMBEDDED.len());
}

#[test]
fn tcp_10k_is_the_client_everybody_starts_with() {
    let scenario = find("tcp-10k").unwrap();
    assert_eq!(scenario.phases.ramp.connections, 10_000);
    assert_eq!(scenario.phases.ramp.rate.interval(), Duration::from_millis(5));
    assert_eq!(scenario.every(), Some(Duration::from_secs(1)));
    assert_eq!(scenario.messages.payload.bytes(), b"msg:12345");
    assert_eq!(scenario.duration(), LoadDuration::FromFirstConnect(Duration::from_mins(4)));
    let expected = ["lost = 0", "connected >= 10000", "tcp 1 → 2", "tcp 2 → 1"];
    for expected in expected {
        assert!(
            scenario.expectations.iter().any(|expectation| expectation.to_string().starts_with(expected)),
            "{expected}"
        );
    }
}

#[test]
fn the_documented_example_is_valid() {
    let page = include_str!("../../../../docs/scenarios.md");
    let example = page.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let scenario = Scenario::parse(example, "scenarios.md").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scenario.phases.ramp.connections, 8_000, "laid over the anchor");
    assert_eq!((scenario.actions.len(), scenario.broadcasts().next()), (2, Some("is anybody there?")));
    for (name, _) in names() {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

fn message(text: &str) -> String {
    Scenario::parse(text, "my.yaml").unwrap_err().to_string()
}

#[test]
fn unknown_keys_are_errors_with_line_and_nearest_key() {
    assert_eq!(
        message("name: x\nphases: {ramp: {conections: 5}}"),
        "my.yaml:2:17: phases.ramp.conections: unknown key; did you mean connections?"
    );
    let unlike = message("name: x\nwatch: 5");
    assert!(unlike.starts_with("my.yaml:2:1: watch: unknown key; known here: about, actions, "), "{unlike}");
    let action = message("name: x\nactions: [{ at: 1s, do: stop, wht: kafka }]");
    assert!(action.starts_with("my.yaml:2:31: actions[0].wht: unknown key; did you mean what?"), "{action}");
    let stage = message("name: x\nprotocol: udp\nphases: {send: [{ form: 1/s, for: 1s }]}");
    assert!(
        stage.starts_with("my.yaml:3:19: phases.send[0].form: unknown key; did you mean for?"),
        "{stage}"
    );
}

#[test]
fn wrong_values_are_errors_with_line_and_value() {
    for (text, expected) in [
        ("name: x\nphases: {ramp: {rate: fast}}", "phases.ramp.rate: `fast` is not a rate"),
        (
            "name: x\nphases: {ramp: {connections: many}}",
            "phases.ramp.connections: `many` is not a whole number",
        ),
        ("name: x\nphases: {ramp: {connections: 1.5}}", "phases.ramp.connections: `1.5` is not"),
        ("name: x\nphases: {hold: {for: 5}}", "phases.hold.for: `5` has no unit; write it as 5s"),
        ("name: x\nphases: {hold: {for: 5s, after-ramp: 3s}}", "has both `for` and `after-ramp`"),
        ("name: x\nmessages: {every: sometimes}", "messages.every: `sometimes` is not a duration"),
        ("name: x\nmessages: {payload: '\\q'}", "messages.payload: `\\q` is not an escape"),
        ("name: x\nexpectations: [lots = 0]", "expectations[0]: expectation `lots = 0`"),
        (
            "name: x\nprotocol: udp\nphases: {send: [{ at: 1/s, to: 2/s, for: 1s }]}",
            "phases.send[0]: a stage has",
        ),
        ("name: x\nvalues: [tcp.size=3]", "values[0]: `tcp.size=3`"),
        ("about: nameless", "name: must not be empty"),
        ("name: ' '", "name: must not be empty"),
        ("- name", "expected a mapping of keys to values, got a list"),
        (
            "name: x\nphases: {ramp: {rate: 200}}",
            "phases.ramp.rate: expected an interval such as 5ms or a frequency",
        ),
        (
            "name: x\nphases: {ramp: {connections: 0}}",
            "my.yaml:2:17: phases.ramp.connections: 0: expected between",
        ),
        ("name: x\nname: y", "my.yaml:2:1: "),
        ("[", "not YAML"),
        ("name: x\n\tabout: y", "my.yaml:2:1: a tab indents this line"),
    ] {
        let message = message(text);
        assert!(message.starts_with("my.yaml:") && message.contains(expected), "{message}");
    }
}

#[test]
fn anchors_merge_keys_and_numbers_are_read() {
    let text = "x-ramp: &ramp { connections: 10k, rate: 1k/s }
name: x
phases: { ramp: { <<: *ramp, rate: 5ms } }
messages: { every: never }";
    let scenario = Scenario::parse(text, "x").unwrap();
    assert_eq!(scenario.phases.ramp.connections, 10_000);
    let octal = Scenario::parse("name: x\nphases: { ramp: { connections: 010 } }", "x").unwrap();
    assert_eq!(octal.phases.ramp.connections, 8, "as in values.yaml");
    assert_eq!(scenario.phases.ramp.rate.interval(), Duration::from_millis(5));
    assert_eq!((scenario.messages.every, scenario.every()), (Some(Every::Never), None));
}

#[test]
fn files_are_found_by_path_and_names_by_likeness() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.yaml");
    fs::write(&path, "name: mine\nphases: {ramp: {connections: 3}}\n").unwrap();
    assert_eq!(find(path.to_str().unwrap()).unwrap().phases.ramp.connections, 3);
    fs::write(&path, b"name: m\xe4in").unwrap();
    let error = find(path.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("mine.yaml:1:8: the byte 0xe4 is not UTF-8"), "{error}");
    let error = find("tcp-1k").unwrap_err();
    assert!(error.to_string().contains("did you mean `tcp-10k`?"), "{error}");
    assert_eq!(error.exit_code(), exit::USAGE);
    assert!(find("./missing.yaml").unwrap_err().to_string().starts_with("./missing.yaml: "));
    assert!(find("/dev/").unwrap_err().to_string().contains("is a directory"));
}
