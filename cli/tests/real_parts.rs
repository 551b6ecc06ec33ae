//! The platform with real servers in place of its embedded parts, and with Envoy and HAProxy as its gateway.
//!
//! Needs them installed: `infrastructure/testbed/test parts`, which also runs a Kafka and a memcached to be given.

#[path = "support/entrance.rs"]
mod entrance;
#[path = "support/services.rs"]
mod services;
mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{ANSWER, Lab, both, eventually, lossy};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);
const CONNECTIONS: u64 = 500;
/// The counters that show failures of a load.
const FAILURES: [&str; 7] =
    ["lost", "eof", "reset", "refused", "connect_timeouts", "connect_errors", "given_up"];

/// A fixed number of replicas that drain within a few seconds.
const FIXED: [&str; 8] = [
    "--set",
    "tcp.autoscaling=null",
    "--set",
    "tcp.env.SIGTERM_TIMEOUT=2",
    "--set",
    "tcp.env.DRAIN_SPREAD=2",
    "--set",
    "tcp.terminationGracePeriodSeconds=30",
];

#[test]
fn no_connection_is_lost_behind_envoy() {
    scaled_under_load(&Lab::new("behind-envoy"), "envoy");
}

#[test]
fn no_connection_is_lost_behind_haproxy() {
    scaled_under_load(&Lab::new("behind-haproxy"), "haproxy");
}

#[test]
fn no_connection_is_lost_behind_our_own_gateway() {
    scaled_under_load(&Lab::new("behind-ours"), "playctl");
}

/// Replicas 3 → 5 → 2 while connections open and send: each ends only after its notice, and no answer is missing.
fn scaled_under_load(lab: &Lab, gateway: &str) {
    lab.ok(&[&["up", "--gateway", gateway, "--set", "tcp.replicas=3"], &FIXED[..]].concat());
    let before = pids(lab, "gateway-");
    let conns = CONNECTIONS.to_string();
    let load = lab.spawn(&[
        "load", "--conns", &conns, "--rate", "8ms", "--every", "200ms", "--for", "18s", "--output", "json",
    ]);
    held(lab, CONNECTIONS / 4);
    lab.ok(&["scale", "tcp", "5"]);
    eventually(SOON, || if lab.ready() == 5 { Ok(()) } else { Err(lab.replicas()) }).expect("five replicas");
    held(lab, CONNECTIONS);
    let shares = connections(lab);
    assert!(shares.iter().all(|share| *share > 0), "a replica that came gets connections: {shares:?}");

    lab.ok(&["scale", "tcp", "2"]);
    eventually(SOON, || {
        let left = lab.replicas();
        if left.len() == 2 { Ok(()) } else { Err(left) }
    })
    .expect("three replicas drain and go");

    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let totals = &report["summary"]["totals"];
    let count = |name: &str| totals[name].as_u64().unwrap_or_else(|| panic!("{name}: {totals}"));
    assert_eq!(count("connected_first"), CONNECTIONS, "{totals}");
    for never in FAILURES {
        assert_eq!(count(never), 0, "{never}: {totals}");
    }
    assert_eq!(count("messages_answered"), count("messages_sent"), "{totals}");
    assert!(count("notices") > 0, "{totals}");
    assert_eq!(count("reconnected"), count("notices"), "{totals}");
    assert_eq!(pids(lab, "gateway-"), before, "no gateway was restarted");
}

#[test]
fn paths_and_cookies_lead_through_envoys() {
    entrance::works(&Lab::new("entrance-envoy"), "envoy");
}

#[test]
fn paths_and_cookies_lead_through_haproxies() {
    entrance::works(&Lab::new("entrance-haproxy"), "haproxy");
}

#[test]
fn a_drain_and_a_kafka_outage_lose_no_connection_behind_real_proxies() {
    std::thread::scope(|scope| {
        for gateway in ["envoy", "haproxy"] {
            scope.spawn(move || {
                let lab = Lab::new(&format!("faults-{gateway}"));
                lab.ok(&[&["up", "--gateway", gateway, "--set", "tcp.replicas=2"], &FIXED[..]].concat());
                lab.survives_faults();
            });
        }
    });
}

#[test]
fn no_connection_is_lost_when_haproxies_are_replaced() {
    replaced_under_load(&Lab::new("haproxy-replaced"), &["--gateway", "haproxy"], CONNECTIONS);
}

#[test]
fn no_connection_is_lost_when_envoys_are_replaced() {
    // Its listeners are its own, and connections in their queues end with them, so nobody connects meanwhile.
    replaced_under_load(&Lab::new("envoy-replaced"), &["--gateway", "envoy"], 2 * CONNECTIONS);
}

#[test]
fn no_connection_is_lost_when_haproxies_replace_our_gateways() {
    replaced_under_load(&Lab::new("ours-replaced"), &[], CONNECTIONS);
}

/// Every gateway is replaced after the first connections; all connections last longer than that.
fn replaced_under_load(lab: &Lab, before: &[&str], first: u64) {
    lab.ok(&[&["up", "--set", "tcp.replicas=3"], before, &FIXED[..]].concat());
    let old = pids(lab, "gateway-");
    let load = lab.spawn(&[
        "load", "--conns", "1000", "--rate", "8ms", "--every", "200ms", "--for", "14s", "--output", "json",
    ]);
    held(lab, first);
    let after = if before.is_empty() { &["--gateway", "haproxy"] } else { before };
    let change = ["--set", "tcp.replicas=3", "--set", "gateway.policy=round-robin"];
    lab.ok(&[&["up"], &change[..], after, &FIXED[..]].concat());
    let new = pids(lab, "gateway-");
    assert!(old.iter().all(|pid| new.contains(pid)), "the old ones still have connections: {old:?} {new:?}");
    assert_eq!(new.len(), 2 * old.len(), "there are others beside them: {old:?} {new:?}");

    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let totals = &report["summary"]["totals"];
    for never in FAILURES {
        assert_eq!(totals[never], 0, "{never}: {totals}");
    }
    assert_eq!((&totals["attempted"], &totals["connected_first"]), (&1000.into(), &1000.into()), "{totals}");
    assert_eq!(totals["messages_answered"], totals["messages_sent"], "{totals}");
    // The old gateways have no clients left, and end.
    eventually(SOON, || {
        let left = pids(lab, "gateway-");
        if left.iter().any(|pid| old.contains(pid)) { Err(left) } else { Ok(()) }
    })
    .expect("the old gateways end");
}

#[test]
fn services_use_servers_found_here_which_end_with_the_supervisor() {
    let lab = Lab::new("found");
    lab.ok(&[&["up", "--with", "kafka,memcached", "--set", "tcp.replicas=2"], &FIXED[..]].concat());
    for name in ["kafka", "memcached"] {
        let part = part(&lab, name);
        assert_eq!((&part["origin"], &part["healthy"]), (&"found".into(), &true.into()), "{part}");
        assert!(part["version"].as_str().expect("text").starts_with(|c: char| c.is_ascii_digit()), "{part}");
    }
    tokens_and_broadcasts_work(lab.endpoint());

    // A server that dies is restarted in its place, with kubelet's back-off.
    kill(pids(&lab, "memcached")[0]);
    eventually(SOON, || {
        let part = part(&lab, "memcached");
        let back =
            part["healthy"] == true && part["detail"].as_str().is_some_and(|text| text.contains("1 restart"));
        if back { Ok(()) } else { Err(part) }
    })
    .expect("memcached comes back");
    tokens_and_broadcasts_work(lab.endpoint());

    kill_the_supervisor(&lab);
}

#[test]
fn logs_and_metrics_go_to_servers_found_here_which_end_with_the_supervisor() {
    let lab = Lab::new("found-too");
    let real = ["--with", "elasticsearch,prometheus", "--gateway", "envoy", "--nodes", "1"];
    lab.ok(&[&["up", "--set", "tcp.replicas=1"], &real[..], &FIXED[..]].concat());
    for name in ["elasticsearch", "prometheus", "gateway-node-0"] {
        let part = part(&lab, name);
        assert_eq!((&part["origin"], &part["healthy"]), (&"found".into(), &true.into()), "{part}");
        assert!(part["version"].as_str().expect("text").starts_with(|c: char| c.is_ascii_digit()), "{part}");
    }
    let document = |part_name: &str, path: &str| {
        let part = part(&lab, part_name);
        let url = part["address"].as_str().expect("an address").to_owned();
        let address: SocketAddr = url.strip_prefix("http://").expect("a URL").parse().expect("an address");
        get(address, path)
    };
    eventually(SOON, || {
        let found = document("elasticsearch", "/_search?q=tcp-0&size=1");
        if found.contains("\"hits\":[{") { Ok(()) } else { Err(found) }
    })
    .expect("the logger writes there");
    eventually(SOON, || {
        let found = document("prometheus", "/api/v1/query?query=up%7Bpod%3D%22tcp-0%22%7D");
        if found.contains(",\"1\"]") { Ok(()) } else { Err(found) }
    })
    .expect("it scrapes the replica");
    kill_the_supervisor(&lab);
}

#[test]
fn a_server_that_does_not_come_up_delays_nothing_else() {
    let lab = Lab::new("held-up");
    let fixed = [&["--nodes", "1", "--set", "tcp.replicas=1"], &FIXED[..]].concat();
    lab.ok(&[&["up"], &fixed[..]].concat());
    let slot = lab.endpoint().ip().to_string().split('.').nth(1).expect("127.S.0.1").to_owned();
    let address = format!("127.{slot}.250.14:11211");
    let holder = TcpListener::bind(&address).expect("nobody has it yet");
    let output = lab.run(&[&["up", "--with", "memcached"], &fixed[..]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let said = lossy(&output.stderr);
    let expected = format!("memcached cannot start: {address} is taken by ");
    assert!(said.contains(&expected) && said.contains(&format!("(pid {})", std::process::id())), "{said}");

    lab.ok(&["scale", "tcp", "2"]);
    let two = || if lab.ready() == 2 { Ok(()) } else { Err(lab.replicas()) };
    assert_eq!(eventually(SOON, two), Ok(()), "replicas come and go without it");
    drop(holder);
    let back = || if part(&lab, "memcached")["healthy"] == true { Ok(()) } else { Err(lab.status()) };
    assert_eq!(eventually(SOON, back), Ok(()), "it is tried again");
    // A replica that found no memcached retries after a while; until then, tokens may come only from the other one.
    let endpoint = lab.endpoint();
    let token = |_| {
        let mut client = TcpStream::connect(endpoint).expect("the gateway listens");
        client.set_read_timeout(Some(ANSWER)).expect("set");
        ask(&mut client, "token")
    };
    let all_issue = || {
        let answers: Vec<String> = (0..16).map(token).collect();
        if answers.iter().all(|answer| answer.len() == 36) { Ok(()) } else { Err(answers) }
    };
    assert_eq!(eventually(SOON, all_issue), Ok(()), "replicas use it again");
    tokens_and_broadcasts_work(endpoint);
}

/// SIGKILL: everything that it started is gone soon after.
fn kill_the_supervisor(lab: &Lab) {
    let supervisor = lab.processes().into_iter().find(|pid| command_line(*pid).contains("supervisor"));
    kill(supervisor.expect("a supervisor"));
    lab.wait_for_no_process(SOON);
}

/// An HTTP answer, including its head.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("set");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

#[test]
fn services_use_given_servers_which_outlive_the_platform() {
    let variable =
        |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}: see the head of this file"));
    let kafka = variable("KAFKA_BROKERS");
    let memcached = format!("{}:{}", variable("MEMCACHED_SERVICE"), variable("MEMCACHED_PORT"));
    let with = format!("kafka={kafka},memcached={memcached}");
    let lab = Lab::new("given");
    lab.ok(&[&["up", "--with", &with, "--set", "tcp.replicas=2"], &FIXED[..]].concat());
    for (name, address) in [("kafka", &kafka), ("memcached", &memcached)] {
        let part = part(&lab, name);
        assert_eq!(
            (&part["origin"], &part["address"]),
            (&"given".into(), &address.as_str().into()),
            "{part}"
        );
        assert!(part["pid"].is_null(), "{part}");
    }
    tokens_and_broadcasts_work(lab.endpoint());
    lab.ok(&["down"]);
    for address in [&kafka, &memcached] {
        drop(TcpStream::connect(address).expect("it is not ours to end"));
    }
}

#[test]
fn haproxy_statistics_need_the_password() {
    let lab = Lab::new("statistics");
    lab.ok(&[&["up", "--gateway", "haproxy", "--nodes", "1", "--set", "tcp.replicas=1"], &FIXED[..]].concat());
    let detail = part(&lab, "gateway-node-0")["detail"].as_str().expect("text").to_owned();
    let between = |from: &str, to: &str| {
        let rest = detail.split_once(from).unwrap_or_else(|| panic!("{detail}")).1;
        rest.split_once(to).unwrap_or_else(|| panic!("{detail}")).0.to_owned()
    };
    let admin: SocketAddr = between("http://", "/stats").parse().expect("an address");
    let password = std::fs::read_to_string(between("password in ", ")")).expect("the password's file");
    let password = password.trim();

    assert_eq!(status(admin, "/stats", None), "401");
    assert_eq!(status(admin, "/stats", Some("playctl:guessed")), "401");
    assert_eq!(status(admin, "/stats", Some(&format!("playctl:{password}"))), "200");
    assert_eq!(status(admin, "/metrics", None), "200");
    for pid in lab.processes() {
        let shown = command_line(pid);
        assert!(!shown.contains(password), "the password is in a process list: {shown}");
    }
    assert!(!lab.ok(&["logs"]).contains(password), "the password is in a log");
}

/// `token`, `mcset`, `mcget` and `brd` over connections to both replicas.
fn tokens_and_broadcasts_work(endpoint: SocketAddr) {
    let mut clients = Vec::new();
    let mut servers = std::collections::BTreeSet::new();
    while servers.len() < 2 {
        assert!(clients.len() < 64, "all on one replica");
        let mut client = TcpStream::connect(endpoint).expect("the gateway listens");
        client.set_read_timeout(Some(ANSWER)).expect("set");
        servers.insert(ask(&mut client, "WHERE"));
        clients.push(client);
    }
    let first = &mut clients[0];
    let token = ask(first, "token");
    assert_eq!(token.len(), 36, "{token}");
    assert_eq!(ask(first, &format!("mcset:{token}:key:value")), "success");
    assert_eq!(ask(first, &format!("mcget:{token}:key")), "value");
    first.write_all(format!("brd:{token}:hello all").as_bytes()).expect("written");
    for client in &mut clients {
        assert_eq!(read(client), "hello all");
    }
}

fn ask(client: &mut TcpStream, command: &str) -> String {
    client.write_all(command.as_bytes()).expect("written");
    read(client)
}

fn read(client: &mut TcpStream) -> String {
    let mut answer = [0; 512];
    let length = client.read(&mut answer).expect("an answer in time");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// The status of an HTTP answer.
fn status(address: SocketAddr, path: &str, login: Option<&str>) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let login = login.map(|login| format!("Authorization: Basic {}\r\n", base64(login.as_bytes())));
    let head = format!("GET {path} HTTP/1.0\r\nHost: x\r\n{}\r\n", login.unwrap_or_default());
    stream.write_all(head.as_bytes()).expect("written");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn part(lab: &Lab, name: &str) -> Value {
    let status = lab.status();
    let parts = status["parts"].as_array().expect("parts");
    parts.iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("{name}: {status}")).clone()
}

/// The processes of the parts whose names have this prefix.
fn pids(lab: &Lab, prefix: &str) -> Vec<u32> {
    let status = lab.status();
    let parts = status["parts"].as_array().expect("parts").clone();
    let named =
        parts.iter().filter(|part| part["name"].as_str().is_some_and(|name| name.starts_with(prefix)));
    named.filter_map(|part| u32::try_from(part["pid"].as_u64()?).ok()).collect()
}

fn connections(lab: &Lab) -> Vec<u64> {
    let status = lab.status();
    let replicas = status["services"][0]["replicas"].as_array().expect("replicas").clone();
    replicas.iter().filter_map(|replica| replica["connections"].as_u64()).collect()
}

/// Waits until the replicas hold this many connections.
fn held(lab: &Lab, wanted: u64) {
    eventually(SOON, || {
        let held: u64 = connections(lab).iter().sum();
        if held >= wanted { Ok(()) } else { Err(held) }
    })
    .expect("the platform is under load");
}

fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::KILL).expect("it runs");
}
