//! `playctl logs`: what replicas printed, and what the logger wrote to the index.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Lab, QUICK, both, eventually};

const SOON: Duration = Duration::from_secs(30);

/// Lines as `--output jsonl` has them.
fn lines(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    let printed = lab.ok(&[&["logs", "--output", "jsonl"], arguments].concat());
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn replicas(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["replica"].as_str().expect("a name")).collect()
}

#[test]
fn all_services_log_to_the_index_and_both_sources_are_filtered_alike() {
    let lab = Lab::new("logs");
    lab.up(&["--set", "logger.enabled=true"]);
    let status = lab.status();
    let parts = status["parts"].as_array().expect("parts");
    let index = parts.iter().find(|part| part["name"] == "elasticsearch").expect("a part");
    assert_eq!(index["origin"], "embedded");

    eventually(SOON, || {
        let indexed = lines(&lab, &["--from", "index", "--tail", "1000"]);
        let of = |pod: &str| indexed.iter().any(|line| line["replica"] == pod);
        if of("tcp-0") && of("gateway-node-0") && of("logger-0") { Ok(()) } else { Err(indexed) }
    })
    .expect("every service ships its lines");

    for source in ["index", "output"] {
        let of_tcp = lines(&lab, &["tcp", "--from", source]);
        assert!(!of_tcp.is_empty() && replicas(&of_tcp).iter().all(|name| *name == "tcp-0"), "{of_tcp:?}");
        let started = lines(&lab, &["tcp/tcp-0", "--from", source, "--grep", "started", "--since", "5m"]);
        assert_eq!(started.len(), 1, "{source}: {started:?}");
        assert!(lines(&lab, &["--from", source, "--since", "2100-01-01T00:00:00Z"]).is_empty());
        assert_eq!(lines(&lab, &["--from", source, "--tail", "2"]).len(), 2);
    }
    // What the supervisor keeps begins with the platform: nothing is shown twice.
    assert_eq!(lines(&lab, &["tcp", "--grep", "started"]).len(), 1);
}

#[test]
fn without_a_logger_there_is_no_index_and_mistakes_are_named() {
    let lab = Lab::new("no-logger");
    lab.up(&[]);
    assert!(!lines(&lab, &["tcp"]).is_empty());
    let output = lab.run(&["logs", "--from", "index"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("up --set logger.enabled=true"), "{}", both(&output));
    let output = lab.run(&["logs", "--since", "yesterday"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));

    // Switched on later, it takes what is in Kafka already.
    lab.ok(&[&["up"], &QUICK[..], &["--set", "logger.enabled=true"]].concat());
    eventually(SOON, || {
        let indexed = lines(&lab, &["tcp", "--from", "index", "--grep", "started"]);
        if indexed.is_empty() { Err(()) } else { Ok(()) }
    })
    .expect("the line from before is there");
}
