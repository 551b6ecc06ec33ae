//! The platform with real servers in place of its embedded parts, and with Envoy and HAProxy as its gateway.
//!
//! Needs them installed: `infrastructure/testbed/test parts`, which also runs a Kafka and a memcached to be given.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Lab, both, eventually};

/// Far longer than anything here takes; reached only when something is wrong.
const SOON: Duration = Duration::from_secs(60);
const CONNECTIONS: u64 = 500;

/// A fixed number of replicas that drain within some seconds.
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

/// Replicas 3 → 5 → 2 while connections come and talk: none ends but after its notice, and no answer is missing.
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
    for never in ["lost", "eof", "reset", "refused", "connect_timeouts", "connect_errors", "given_up"] {
        assert_eq!(count(never), 0, "{never}: {totals}");
    }
    assert_eq!(count("messages_answered"), count("messages_sent"), "{totals}");
    assert!(count("notices") > 0, "{totals}");
    assert_eq!(count("reconnected"), count("notices"), "{totals}");
    assert_eq!(pids(lab, "gateway-"), before, "no gateway was restarted");
}

#[test]
fn services_use_the_servers_that_were_found_and_those_die_with_the_supervisor() {
    let lab = Lab::new("found");
    lab.ok(&[&["up", "--with", "kafka,memcached", "--set", "tcp.replicas=2"], &FIXED[..]].concat());
    for name in ["kafka", "memcached"] {
        let part = part(&lab, name);
        assert_eq!((&part["origin"], &part["healthy"]), (&"found".into(), &true.into()), "{part}");
        assert!(part["detail"].as_str().expect("text").starts_with(|c: char| c.is_ascii_digit()), "{part}");
    }
    tokens_and_broadcasts_work(lab.endpoint());

    // One that dies is started again in its place, with kubelet's back-off.
    kill(pids(&lab, "memcached")[0]);
    eventually(SOON, || {
        let part = part(&lab, "memcached");
        let back =
            part["healthy"] == true && part["detail"].as_str().is_some_and(|text| text.contains("1 restart"));
        if back { Ok(()) } else { Err(part) }
    })
    .expect("memcached comes back");
    tokens_and_broadcasts_work(lab.endpoint());

    let supervisor = lab.processes().into_iter().find(|pid| command_line(*pid).contains("supervisor"));
    kill(supervisor.expect("a supervisor"));
    lab.wait_for_no_process(Duration::from_secs(10));
}

#[test]
fn services_use_the_servers_that_were_given_and_those_outlive_the_platform() {
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
fn haproxy_shows_its_statistics_to_those_who_know_the_password() {
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
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
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

/// The status of an answer over HTTP.
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

/// The processes of the parts whose name begins so.
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

/// Waits until the replicas hold so many connections.
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
