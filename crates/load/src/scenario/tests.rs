use super::*;

#[test]
fn every_built_in_scenario_is_valid_and_makes_a_plan() {
    for (name, text) in EMBEDDED {
        let scenario = Scenario::parse(text, name).unwrap();
        assert_eq!(scenario.name, name, "the name is the file's");
        assert!(!scenario.about.is_empty());
        let target = "127.0.0.1:10000".parse().unwrap();
        let request = crate::plan::Request { scenario: Some(scenario), ..Default::default() };
        assert_eq!(request.resolve(Some(target)).unwrap().name, name);
    }
    assert_eq!(names().count(), EMBEDDED.len());
}

#[test]
fn tcp_10k_is_the_client_everybody_starts_with() {
    let scenario = find("tcp-10k").unwrap();
    assert_eq!(scenario.connections, Some(10_000));
    assert_eq!(scenario.rate.unwrap().interval(), Duration::from_millis(5));
    assert_eq!(scenario.every, Some(Duration::from_secs(1)));
    assert_eq!(scenario.payload.as_deref(), Some("msg:12345"));
    assert_eq!(scenario.duration, Some(LoadDuration::FromFirstConnect(Duration::from_mins(4))));
    let expected = ["lost = 0", "connected >= 10000", "tcp 1 → 2", "tcp 2 → 1"];
    for expected in expected {
        assert!(
            scenario.expectations.iter().any(|expectation| expectation.to_string().starts_with(expected)),
            "{expected}"
        );
    }
}

fn message(text: &str) -> String {
    Scenario::parse(text, "my.yaml").unwrap_err().to_string()
}

#[test]
fn unknown_keys_are_errors_with_place_and_nearest() {
    assert_eq!(
        message("name: x\nphases: {ramp: {conections: 5}}"),
        "my.yaml: unknown key `phases.ramp.conections`; did you mean `connections`? \
         (phases.ramp has: connections, rate)"
    );
    assert!(message("name: x\nwatch: 5").starts_with("my.yaml: unknown key `watch`"));
    assert!(message("5: x").contains("keys must be text"));
}

#[test]
fn wrong_values_are_errors_with_place_and_value() {
    for (text, expected) in [
        ("name: x\nphases: {ramp: {rate: fast}}", "phases.ramp.rate: `fast` is not a rate"),
        ("name: x\nphases: {ramp: {connections: many}}", "phases.ramp.connections: "),
        ("name: x\nphases: {hold: {for: 5}}", "phases.hold.for: "),
        ("name: x\nphases: {hold: {for: 5s, after-ramp: 3s}}", "has both `for` and `after-ramp`"),
        ("name: x\nmessages: {every: sometimes}", "messages.every: `sometimes` is not a duration"),
        ("name: x\nexpectations: [lots = 0]", "expectations[0]: expectation `lots = 0`"),
        ("about: nameless", "missing field `name`"),
        ("name: ' '", "name: must not be empty"),
        ("[", "my.yaml: "),
    ] {
        let message = message(text);
        assert!(message.starts_with("my.yaml: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn silence_can_be_asked_for() {
    let scenario = Scenario::parse("name: x\nmessages: {every: never}", "x").unwrap();
    assert!(scenario.silent);
    assert_eq!(scenario.every, None);
}

#[test]
fn files_are_found_by_path_and_names_by_likeness() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.yaml");
    fs::write(&path, "name: mine\nphases: {ramp: {connections: 3}}\n").unwrap();
    assert_eq!(find(path.to_str().unwrap()).unwrap().connections, Some(3));
    let error = find("tcp-1k").unwrap_err();
    assert!(error.to_string().contains("did you mean `tcp-10k`?"), "{error}");
    assert_eq!(error.exit_code(), exit::USAGE);
    assert!(find("./missing.yaml").unwrap_err().to_string().starts_with("./missing.yaml: "));
}
