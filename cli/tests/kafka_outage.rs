//! A real Kafka is down for half a minute while clients talk: commands that do not need it are unaffected, and those
//! that do must report it.
//!
//! `infrastructure/testbed/test outage` runs it, and prints the change of the echo's p99. `OUTAGE_CONNECTIONS` is the
//! number of held connections (2,000; the scenario `tcp-10k` has 10,000), `OUTAGE_PROFILE` the build profile (`release`
//! for figures).

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use support::{ANSWER, Lab, Running, both, eventually};

/// Longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);
const AWAY: Duration = Duration::from_secs(30);
/// The durations of a load before, and of one during Kafka's outage, whose p99s are printed.
const PROBE: [&str; 8] = ["load", "--conns", "200", "--rate", "2ms", "--every", "100ms", "--for"];
const BEFORE: &str = "8s";
const DURING: &str = "28s";

#[test]
fn half_a_minute_without_kafka_loses_no_connection_and_no_log_line() {
    let (kafka, connections) = (variable("KAFKA_BROKERS"), held_connections());
    let lab = Lab::new("outage");
    let with = format!("kafka={kafka}");
    let settings = [
        ["--set", "tcp.autoscaling=null"],
        ["--set", "tcp.replicas=2"],
        ["--set", "tcp.env.SIGTERM_TIMEOUT=1"],
        ["--set", "tcp.env.DRAIN_SPREAD=1"],
        ["--set", "logger.enabled=true"],
    ]
    .concat();
    // Two gateways: a single one lacks open files for ten thousand clients and as many connections to replicas.
    lab.ok(&[&["up", "--nodes", "2", "--with", &with], &settings[..]].concat());
    let mut client = Client::connect(lab.endpoint());
    // Not while others wait for their echo, because every client gets it.
    eventually(SOON, || client.broadcast()).expect("broadcasts work");
    eventually(SOON, || {
        let received: Vec<u64> = admin_ports(&lab)
            .iter()
            .map(|(_, admin)| metric(&page(*admin), "tcp_broadcasts_total"))
            .collect();
        if received[0] > 0 && received.iter().all(|count| *count == received[0]) {
            Ok(())
        } else {
            Err(received)
        }
    })
    .expect("every replica has received it");

    let held = hold(&lab, connections);
    let before = probe(&lab, BEFORE, || {});

    testbed(&["kill", "kafka"]);
    let back = clock::now() + AWAY;
    let during = probe(&lab, DURING, || {
        assert_eq!(client.broadcast(), Err("error: broadcast unavailable".to_owned()));
        assert_eq!(client.ask("msg:still here"), "still here", "the same connection keeps working");
        // Replicas' log lines about it cannot be shipped now.
        lab.ok(&["scale", "tcp", "3"]);
    });
    while clock::now() < back {
        support::pause();
    }
    testbed(&["up", "kafka"]);
    held.signal(Signal::INT);
    let output = held.finish(SOON);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)));
    let totals = &report["summary"]["totals"];
    let count = |name: &str| totals[name].as_u64().unwrap_or_else(|| panic!("{name}: {totals}"));
    assert_eq!(count("connected_first"), connections, "{totals}");
    for never in ["lost", "eof", "reset", "refused", "given_up", "message_timeouts", "messages_wrong"] {
        assert_eq!(count(never), 0, "{never}: {totals}");
    }
    assert_eq!(count("messages_answered"), count("messages_sent"), "{totals}");

    // Not while others wait for their echo.
    eventually(SOON, || client.broadcast()).expect("broadcasts work again");
    let lines = every_line_is_accounted_for(&lab);
    println!(
        "{connections} connections held, none lost; echo p99 {:.2} ms before, {:.2} ms while Kafka was away, ratio {:.2}; \
         log lines of the replicas: {lines}",
        before as f64 / 1000.0,
        during as f64 / 1000.0,
        during as f64 / before as f64,
    );
}

/// Waits until no log line of a replica is in flight: each was shipped, and is in the index, or was dropped.
fn every_line_is_accounted_for(lab: &Lab) -> String {
    let (mut lines, mut dropped) = (0, 0);
    for (replica, admin) in admin_ports(lab) {
        let counts = eventually(SOON, || {
            let page = page(admin);
            let count = |name: &str| metric(&page, &format!("tcp_log_lines{name}_total"));
            let counts = [count(""), count("_shipped"), count("_dropped")];
            if counts[0] == counts[1] + counts[2] { Ok(counts) } else { Err(counts) }
        });
        let [logged, shipped, lost] = counts.unwrap_or_else(|counts| panic!("{replica}: {counts:?}"));
        assert!(logged > 0, "{replica} logged nothing");
        // A line that was given up may still have arrived if its acknowledgement was lost.
        eventually(SOON, || {
            let printed = lab.ok(&[
                "logs",
                &format!("tcp/{replica}"),
                "--from",
                "index",
                "--tail",
                "10000",
                "--output",
                "jsonl",
            ]);
            let own = printed.lines().filter(|line| !line.contains("WARN logs: ")).count() as u64;
            if (shipped..=logged).contains(&own) { Ok(()) } else { Err((own, shipped, logged)) }
        })
        .unwrap_or_else(|counts| panic!("{replica}: in the index, shipped, logged: {counts:?}"));
        (lines, dropped) = (lines + logged, dropped + lost);
    }
    format!("{lines}, of these {dropped} counted as dropped, the others in the index")
}

/// Starts the connections that are held throughout, each with a message per second, and waits for them.
fn hold(lab: &Lab, connections: u64) -> Running {
    let count = connections.to_string();
    let held = lab.spawn(&[
        "load",
        "--conns",
        &count,
        "--rate",
        "2ms",
        "--every",
        "1s",
        "--timeout",
        "30s",
        "--hold",
        "1h",
        "--output",
        "json",
    ]);
    eventually(SOON + Duration::from_millis(2 * connections), || {
        let status = lab.status();
        let replicas = status["services"][0]["replicas"].as_array().expect("replicas");
        let open: u64 = replicas.iter().filter_map(|replica| replica["connections"].as_u64()).sum();
        if open >= connections { Ok(()) } else { Err(open) }
    })
    .expect("all are connected");
    held
}

/// Runs a load for this long, and `meanwhile`; returns the echo's p99 in µs.
fn probe(lab: &Lab, lasts: &str, meanwhile: impl FnOnce()) -> u64 {
    let load = lab.spawn(&[&PROBE[..], &[lasts, "--output", "json"]].concat());
    meanwhile();
    let report = finish(load, SOON);
    report["summary"]["message"]["p99_us"].as_u64().unwrap_or_else(|| panic!("{report}"))
}

fn finish(load: Running, within: Duration) -> Value {
    let output = load.finish(within);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A client with a token, in line mode.
struct Client {
    stream: TcpStream,
    token: String,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(ANSWER)).expect("set");
        let mut client = Self { stream, token: String::new() };
        client.token = client.ask("token");
        assert_eq!(client.token.len(), 36, "{}", client.token);
        client
    }

    fn ask(&mut self, command: &str) -> String {
        self.stream.write_all(format!("{command}\n").as_bytes()).expect("written");
        let mut answer = Vec::new();
        let mut byte = [0];
        while byte != *b"\n" {
            self.stream.read_exact(&mut byte).expect("an answer in time");
            answer.extend(byte);
        }
        String::from_utf8_lossy(&answer).trim_end().to_owned()
    }

    /// Sends a broadcast and waits for it, or for the error.
    fn broadcast(&mut self) -> Result<(), String> {
        let text = "hello all";
        match self.ask(&format!("brd:{}:{text}", self.token)) {
            answer if answer == text => Ok(()),
            answer => Err(answer),
        }
    }
}

fn admin_ports(lab: &Lab) -> Vec<(String, SocketAddr)> {
    const ADMIN_PORT: u16 = 9100;
    let status = lab.status();
    let replicas = status["services"][0]["replicas"].as_array().expect("replicas").clone();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let address = |value: &Value| text(value).parse::<SocketAddr>().expect("an address").ip();
    replicas
        .iter()
        .map(|replica| (text(&replica["name"]), SocketAddr::new(address(&replica["address"]), ADMIN_PORT)))
        .collect()
}

fn page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(ANSWER)).expect("set");
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n").expect("written");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}

fn metric(page: &str, name: &str) -> u64 {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {page}"))
}

fn testbed(arguments: &[&str]) {
    let output = Command::new(variable("TESTBED")).args(arguments).output().expect("testbed can be run");
    assert!(output.status.success(), "testbed {arguments:?}: {}", both(&output));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name}: see the head of this file"))
}

fn held_connections() -> u64 {
    const DEFAULT: u64 = 2000;
    std::env::var("OUTAGE_CONNECTIONS").map_or(DEFAULT, |text| text.parse().expect("a number"))
}
