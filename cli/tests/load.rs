//! `playctl load` against the platform: what it counts, what it expects, and how it ends.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::{Lab, both, eventually, lossy};

const SOON: Duration = Duration::from_mins(1);

fn events(stdout: &[u8]) -> Vec<Value> {
    lossy(stdout).lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn summary(events: &[Value]) -> &Value {
    &of_type(events, "LoadFinished").last().expect("a summary")["summary"]
}

#[test]
fn the_stream_has_the_load_and_the_platform_in_one_order() {
    let lab = Lab::new("stream");
    lab.up(&["--set", "metrics.scrapeInterval=1s", "--set", "metrics.syncPeriod=2s"]);
    let arguments = ["load", "--conns", "100", "--rate", "1ms", "--every", "100ms", "--for", "5s"];
    let output = lab.run(&[&arguments[..], &["--output", "jsonl"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let events = events(&output.stdout);
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>(), "numbered without a gap");
    for (kind, source) in
        [("LoadStarted", "load"), ("RampDone", "load"), ("HpaSynced", "local"), ("MetricScraped", "local")]
    {
        let found = of_type(&events, kind);
        assert!(found.iter().any(|event| event["source"] == source), "no {kind} from {source}");
    }
    let summary = summary(&events);
    assert_eq!(summary["totals"]["connected_first"], 100, "{summary}");
    assert_eq!(summary["totals"]["lost"], 0, "{summary}");
    assert!(summary["totals"]["messages_answered"].as_u64() > Some(1000), "{summary}");
    assert_eq!(summary["totals"]["messages_wrong"], 0, "{summary}");
    assert_eq!(summary["shares"][0]["replica"], "tcp-0", "the replica is known by name: {summary}");
    // The kernel's count, by way of the platform's own scrape.
    let seen = of_type(&events, "MetricScraped").iter().any(|event| {
        event["metric"] == "tcp_state_established" && event["values_milli"]["tcp-0"].as_i64() >= Some(100_000)
    });
    assert!(seen, "no scrape saw the 100 connections");
}

#[test]
fn expectations_decide_the_exit_status() {
    let lab = Lab::new("expect");
    lab.up(&[]);
    let base = ["load", "--conns", "20", "--rate", "1ms", "--for", "2s"];
    let met = lab.run(&[&base[..], &["--expect-lost", "0", "--expect-connected", "20"]].concat());
    assert_eq!(met.status.code(), Some(0), "{}", both(&met));
    assert!(lossy(&met.stdout).contains('✓'), "{}", both(&met));
    let unmet = lab.run(&[&base[..], &["--expect-connected", "21"]].concat());
    assert_eq!(unmet.status.code(), Some(3), "{}", both(&unmet));
    assert!(lossy(&unmet.stdout).contains('✗'), "{}", both(&unmet));
}

#[test]
fn nobody_listening_is_a_failure_with_the_address() {
    let lab = Lab::new("nobody");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a port").to_string();
    for target in [address.clone(), format!("udp://{address}")] {
        let output =
            lab.run(&["load", "--conns", "5", "--rate", "1ms", "--every", "100ms", "--for", "1s", &target]);
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        let said = lossy(&output.stderr);
        assert!(said.contains(&address) && said.contains("does a server listen there?"), "{said}");
    }
}

#[test]
fn colours_only_where_asked_for() {
    let lab = Lab::new("colour");
    lab.up(&[]);
    let base = ["load", "--conns", "2", "--rate", "1ms", "--for", "1s"];
    assert!(!lab.ok(&base).contains('\u{1b}'));
    assert!(lab.ok(&[&base[..], &["--color", "always"]].concat()).contains('\u{1b}'));
}

#[test]
fn ctrl_c_ends_a_load_with_what_was_seen() {
    let lab = Lab::new("ctrlcload");
    lab.up(&[]);
    let load = lab.spawn(&["load", "--conns", "50", "--rate", "1ms", "--for", "300s", "--output", "jsonl"]);
    eventually(SOON, || {
        let status = lab.status();
        let text = status.to_string();
        let clients = std::net::TcpStream::connect(lab.endpoint()).map_or(0, |mut stream| who(&mut stream));
        if clients > 50 { Ok(()) } else { Err(text) }
    })
    .expect("the load runs");
    load.signal(Signal::INT);
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    let events = events(&output.stdout);
    assert_eq!(summary(&events)["interrupted"], true);
    assert_eq!(summary(&events)["totals"]["connected_first"], 50);
}

#[test]
fn ctrl_c_or_a_closed_terminal_in_up_and_demo_leaves_nothing() {
    for (arguments, signal) in
        [(&["up"][..], Signal::INT), (&["demo"], Signal::INT), (&["demo"], Signal::HUP)]
    {
        let lab = Lab::new("ctrlcup");
        let child = lab.spawn(arguments);
        eventually(SOON, || {
            // As soon as there is anything to clean up.
            let others = lab.processes().len();
            if others > 1 { Ok(()) } else { Err(others) }
        })
        .expect("bring-up began");
        child.signal(signal);
        let output = child.finish(SOON);
        // An `up` that was done before the signal came has done its work.
        let code = output.status.code();
        assert!(
            code == Some(130) || (code == Some(0) && arguments == ["up"]),
            "{arguments:?}, {signal:?}: {}",
            both(&output)
        );
        if code == Some(130) {
            lab.wait_for_no_process(Duration::from_secs(5));
        }
    }
}

#[test]
fn scaling_under_load_loses_nothing() {
    let lab = Lab::new("scaleload");
    lab.up(&["--set", "tcp.autoscaling.maxReplicas=5", "--set", "metrics.syncPeriod=600s"]);
    lab.ok(&["scale", "tcp", "3"]);
    eventually(SOON, || if lab.ready() == 3 { Ok(()) } else { Err(lab.replicas()) })
        .expect("three are ready");
    let load = lab.spawn(&[
        "load",
        "--conns",
        "2000",
        "--rate",
        "1ms",
        "--every",
        "500ms",
        "--hold",
        "20s",
        "--output",
        "jsonl",
        "--expect-lost",
        "0",
    ]);
    eventually(SOON, || {
        let clients = std::net::TcpStream::connect(lab.endpoint()).map_or(0, |mut stream| who(&mut stream));
        // Least request over three replicas: each of them has its third once the ramp is done.
        if clients > 630 { Ok(()) } else { Err(clients) }
    })
    .expect("the ramp is nearly done");
    lab.ok(&["scale", "tcp", "1"]);
    let output = load.finish(Duration::from_mins(2));
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let events = events(&output.stdout);
    let totals = &summary(&events)["totals"];
    let count = |name: &str| totals[name].as_u64().expect("a number");
    assert_eq!(count("connected_first"), 2000, "{totals}");
    assert!(count("notices") > 900, "two of three replicas went, with notices: {totals}");
    assert_eq!(
        count("reconnected"),
        count("notices"),
        "every client of a removed replica came back: {totals}"
    );
    for none in
        ["lost", "eof", "reset", "refused", "messages_unanswered", "messages_wrong", "message_timeouts"]
    {
        assert_eq!(count(none), 0, "{none}: {totals}");
    }
    assert_eq!(lab.replicas().len(), 1);
}

/// Datagrams through the gateways, while a replica comes and another goes: none is lost, doubled or overtaken.
#[test]
fn datagrams_survive_a_drain() {
    let lab = Lab::new("datagrams");
    let two = ["--set", "udp.enabled=true", "--set", "udp.autoscaling=null", "--set", "udp.replicas=2"];
    lab.up(&two);
    let load = lab.spawn(&[
        "load",
        "--protocol",
        "udp",
        "--conns",
        "32",
        "--send",
        "2000/s",
        "--window",
        "16",
        "--for",
        "6s",
        // Of a busy machine; a lost datagram is not answered at all.
        "--timeout",
        "5s",
        "--output",
        "jsonl",
        "--expect-lost",
        "0",
    ]);
    let replicas = |count: usize| {
        eventually(SOON, || {
            let status = lab.status();
            let services = status["services"].as_array().expect("services");
            let udp = services.iter().find(|service| service["name"] == "udp").expect("the service");
            let replicas = udp["replicas"].as_array().expect("replicas");
            let ready = replicas.iter().filter(|replica| replica["phase"] == "ready").count();
            if ready == count { Ok(()) } else { Err(status.to_string()) }
        })
    };
    replicas(2).expect("two are ready");
    lab.ok(&["scale", "udp", "3"]);
    replicas(3).expect("three are ready");
    lab.ok(&["scale", "udp", "2"]);
    replicas(2).expect("one drains");
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let events = events(&output.stdout);
    let summary = summary(&events);
    let totals = &summary["totals"];
    assert!(totals["messages_sent"].as_u64() > Some(11_000), "{totals}");
    assert_eq!(totals["messages_answered"], totals["messages_sent"], "{totals}");
    for none in ["message_timeouts", "messages_duplicated", "messages_wrong", "messages_stray", "refused"] {
        assert_eq!(totals[none], 0, "{none}: {totals}");
    }
    assert_eq!(summary["plan"]["protocol"], "udp");
    let drained = of_type(&events, "PodDraining").iter().any(|event| event["service"] == "udp");
    assert!(drained, "a replica drained under the load");
}

/// How many clients the replica that this connection got says it has.
fn who(stream: &mut std::net::TcpStream) -> u64 {
    use std::io::{Read, Write};
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    stream.write_all(b"WHO").expect("sent");
    let mut text = String::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let n = stream.read(&mut buffer).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if let Some((_, count)) = text.split_once("connected clients: ") {
            return count.trim().parse().unwrap_or(0);
        }
        if n == 0 {
            return 0;
        }
    }
}
