//! `playctl logs`: replicas' output, and the lines that the logger wrote to the index.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use serde_json::Value;
use support::{Lab, QUICK, both, eventually};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);

/// Lines in the format of `--output jsonl`.
fn lines(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    let printed = lab.ok(&[&["logs", "--output", "jsonl"], arguments].concat());
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The same, after waiting for the first line: a process's output is read slightly later.
fn some_lines(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    eventually(SOON, || {
        let lines = lines(lab, arguments);
        if lines.is_empty() { Err(format!("no lines by {arguments:?}")) } else { Ok(lines) }
    })
    .expect("something is written")
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
        let started = |line: &Value| line["text"].as_str().is_some_and(|text| text.contains("started"));
        let of = |pod: &str| indexed.iter().any(|line| line["replica"] == pod);
        let is_there = indexed.iter().any(|line| line["replica"] == "tcp-0" && started(line));
        if is_there && of("gateway-node-0") && of("logger-0") { Ok(()) } else { Err(indexed) }
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
    // The supervisor's lines begin with the platform: nothing is shown twice.
    assert_eq!(lines(&lab, &["tcp", "--grep", "started"]).len(), 1);
}

/// A window's title, a forged line, a cleared screen, and a change of direction.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}fine\r\nplayctl: all is well\u{1b}[2J\u{202e}";
const SHOWN: &str = r"\x1b]0;owned\x07fine\r\nplayctl: all is well\x1b[2J\u{202e}";

fn is_harmless(text: &str) -> bool {
    let steers = |character: char| character == '\u{202e}' || (character.is_control() && character != '\n');
    !text.contains(steers) && !text.lines().any(|line| line.starts_with("playctl: all is well"))
}

#[test]
fn records_of_the_index_cannot_steer_a_terminal() {
    let lab = Lab::new("hostile-index");
    lab.up(&["--set", "logger.enabled=true"]);
    let status = lab.status();
    let parts = status["parts"].as_array().expect("parts");
    let index = parts.iter().find(|part| part["name"] == "elasticsearch").expect("a part");
    let address =
        index["address"].as_str().expect("an address").trim_start_matches("http://").trim_end_matches('/');
    let record = serde_json::json!({ "pod": HOSTILE, "text": HOSTILE, "timestamp": "2026-11-28T00:00:00Z" });
    let body = format!("{{\"create\":{{\"_index\":\"general-logs-2026.11.28\",\"_id\":\"1\"}}}}\n{record}\n");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "POST /_bulk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("\"errors\":false"), "{answer}");

    let arguments = ["--from", "index", "--grep", "owned"];
    let printed = lab.ok(&[&["logs", "--color", "always"], &arguments[..]].concat());
    assert!(is_harmless(&printed), "{printed:?}");
    assert_eq!(printed.lines().count(), 1, "one record, one line: {printed:?}");
    assert_eq!(printed.matches(SHOWN).count(), 2, "its name and its text: {printed:?}");
    let exact = lines(&lab, &arguments);
    assert_eq!(
        (&exact[0]["text"], &exact[0]["replica"]),
        (&HOSTILE.into(), &HOSTILE.into()),
        "JSON is exact"
    );
}

#[test]
fn output_of_a_process_cannot_steer_a_terminal() {
    let lab = Lab::new("hostile-output");
    lab.up(&[]);
    let programs = tempfile::tempdir().expect("a temporary folder");
    let script = programs.path().join("memcached");
    let said = HOSTILE
        .replace('\u{1b}', "\\033")
        .replace('\u{7}', "\\007")
        .replace('\r', "\\r")
        .replace('\n', "\\n");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in -V) echo memcached 1.6.18;; *) printf '{said}\\n' >&2; exit 1;; esac\n"
    );
    std::fs::write(&script, text).expect("written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("its own file");
    let path = std::env::join_paths(
        std::iter::once(programs.path().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .expect("a path");
    let arguments = [&["up", "--color", "always"], &QUICK[..], &["--with", "memcached"]].concat();
    // The supervisor searches programs on its own PATH, so it must be started with this one.
    lab.ok(&["down"]);
    let output = lab.command(&arguments).env("PATH", &path).output().expect("starts");
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let shown = both(&output).replace("\u{1b}[0m", "");
    assert!(shown.contains(r"\x1b]0;owned\x07fine"), "its words are shown: {shown:?}");
    assert!(
        !shown.contains("\u{1b}]") && !shown.contains('\u{7}') && !shown.contains('\u{202e}'),
        "{shown:?}"
    );
    assert!(!shown.lines().any(|line| line.starts_with("playctl: all is well")), "{shown:?}");

    // Then with a running platform, whose log keeps the process's output.
    let up = [&["up"], &QUICK[..]].concat();
    let output = lab.command(&up).env("PATH", &path).output().expect("starts");
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let output = lab.command(&arguments).env("PATH", &path).output().expect("starts");
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let printed = lab.ok(&["logs", "--color", "always", "--grep", "all is well"]);
    assert!(is_harmless(&printed) && printed.contains(r"\x1b[2J\u{202e}"), "{printed:?}");
    let exact = lines(&lab, &["--grep", "all is well"]);
    assert_eq!(exact[0]["text"], "playctl: all is well\u{1b}[2J\u{202e}", "JSON is exact");
    let all = lab.ok(&["logs", "--color", "never", "--tail", "100000"]);
    assert!(is_harmless(&all), "{all:?}");
}

#[test]
fn logs_reject_an_unknown_replica_but_accept_a_past_one() {
    let lab = Lab::new("unknown-replica");
    lab.up(&["--set", "tcp.replicas=1", "--set", "tcp.autoscaling=null"]);
    for name in ["tcp/tcp-77", "gateway/node-77"] {
        let output = lab.run(&["logs", name]);
        assert_eq!(output.status.code(), Some(2), "{}", both(&output));
        assert!(both(&output).contains("has no replica"), "{}", both(&output));
    }
    for name in ["tcp-0", "gateway/node-0", "gateway-node-0"] {
        some_lines(&lab, &[name]);
    }
    lab.ok(&["scale", "tcp", "0"]);
    let gone = eventually(SOON, || if lab.replicas().is_empty() { Ok(()) } else { Err(lab.replicas()) });
    assert_eq!(gone, Ok(()));
    assert!(!lines(&lab, &["tcp/tcp-0"]).is_empty(), "what it wrote is still there");
    assert!(lines(&lab, &["tcp/tcp-0", "--grep", "nobody wrote that"]).is_empty(), "no match is no error");
}

#[test]
fn without_a_logger_there_is_no_index_and_mistakes_are_named() {
    let lab = Lab::new("no-logger");
    lab.up(&[]);
    some_lines(&lab, &["tcp"]);
    let output = lab.run(&["logs", "--from", "index"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("up --set logger.enabled=true"), "{}", both(&output));
    let output = lab.run(&["logs", "--since", "yesterday"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));

    // Switched on later, it reads the lines that are already in Kafka.
    lab.ok(&[&["up"], &QUICK[..], &["--set", "logger.enabled=true"]].concat());
    eventually(SOON, || {
        let indexed = lines(&lab, &["tcp", "--from", "index", "--grep", "started"]);
        if indexed.is_empty() { Err(()) } else { Ok(()) }
    })
    .expect("the line from before is there");
}
