//! UDP on this machine's platform: replicas, gateway, the metric of packets, and the service on its own.

#[path = "support/admin.rs"]
mod admin;
mod support;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use admin::{metric, ports};
use serde_json::Value;
use support::{BINARY, Lab, both, eventually, lossy};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);

/// Only UDP, with quick drains.
const UDP: [&str; 8] = [
    "--set",
    "tcp.enabled=false",
    "--set",
    "udp.enabled=true",
    "--set",
    "udp.env.SIGTERM_TIMEOUT=1",
    "--set",
    "udp.terminationGracePeriodSeconds=20",
];

/// A client that retries without an answer, as UDP clients do.
struct Client(UdpSocket);

/// Even on a busy machine, only a lost packet is not answered by then.
const AGAIN: Duration = Duration::from_secs(5);

impl Client {
    fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).expect("a port");
        socket.connect(server).expect("an address of this machine");
        socket.set_read_timeout(Some(AGAIN)).expect("set");
        Self(socket)
    }

    fn ask(&self, packet: &str) -> Result<String, String> {
        eventually(SOON, || self.ask_once(packet).map_err(|error| error.to_string()))
    }

    fn ask_once(&self, packet: &str) -> std::io::Result<String> {
        self.0.send(packet.as_bytes())?;
        let mut answer = [0; 1024];
        let length = self.0.recv(&mut answer)?;
        Ok(lossy(&answer[..length]))
    }
}

fn service(lab: &Lab) -> Value {
    let status = lab.status();
    let services = status["services"].as_array().expect("services").clone();
    services.into_iter().find(|service| service["name"] == "udp").expect("udp runs")
}

fn endpoint(lab: &Lab) -> SocketAddr {
    service(lab)["endpoint"].as_str().expect("an endpoint").parse().expect("an address")
}

fn ready(lab: &Lab) -> Vec<Value> {
    let replicas = service(lab)["replicas"].as_array().expect("replicas").clone();
    replicas.into_iter().filter(|replica| replica["phase"] == "ready").collect()
}

fn gateway(lab: &Lab, name: &str) -> Value {
    let parts = lab.status()["parts"].as_array().expect("parts").clone();
    parts.into_iter().find(|part| part["name"] == name).unwrap_or(Value::Null)
}

#[test]
fn packets_go_through_the_gateway_and_come_back() {
    let lab = Lab::new("udp-echo");
    lab.up(&UDP);
    let endpoint = endpoint(&lab);
    assert_eq!(endpoint.port(), 10_001);
    assert_eq!(Client::of(endpoint).ask("msg:through").as_deref(), Ok("through"));
    assert_eq!(ready(&lab).len(), 1);
    // The embedded memcached is available, but this token was never issued.
    let token = "0".repeat(36);
    let answer = Client::of(endpoint).ask(&format!("mcget:{token}:k"));
    assert_eq!(answer.as_deref(), Ok("error: token not valid"));

    let before = ready(&lab)[0].clone();
    lab.ok(&["kill", "udp"]);
    eventually(SOON, || match &ready(&lab)[..] {
        [replica] if replica["pid"] != before["pid"] => Ok(()),
        other => Err(other.to_vec()),
    })
    .expect("started again in place");
    assert_eq!(ready(&lab)[0]["address"], before["address"]);
    assert_eq!(Client::of(endpoint).ask("msg:again").as_deref(), Ok("again"));
}

#[test]
fn a_token_from_tcp_is_valid_for_udp() {
    let lab = Lab::new("udp-token");
    lab.up(&["--set", "udp.enabled=true", "--set", "udp.env.SIGTERM_TIMEOUT=1"]);
    let mut tcp = std::net::TcpStream::connect(lab.endpoint()).expect("connects");
    tcp.set_read_timeout(Some(SOON)).expect("set");
    std::io::Write::write_all(&mut tcp, b"login").expect("sent");
    let mut token = [0; 36];
    std::io::Read::read_exact(&mut tcp, &mut token).expect("a token");
    let client = Client::of(endpoint(&lab));
    let token = lossy(&token);
    assert_eq!(client.ask(&format!("mcset:{token}:colour:blue")).as_deref(), Ok("success"));
    assert_eq!(client.ask(&format!("mcget:{token}:colour")).as_deref(), Ok("blue"));
}

#[test]
fn switching_udp_on_leaves_the_gateway_of_tcp_alone() {
    let lab = Lab::new("udp-later");
    lab.up(&[]);
    let before = gateway(&lab, "gateway-node-0");
    lab.up(&["--set", "udp.enabled=true", "--set", "udp.env.SIGTERM_TIMEOUT=1"]);
    assert_eq!(gateway(&lab, "gateway-node-0")["pid"], before["pid"]);
    assert_eq!(gateway(&lab, "gateway-udp-node-0")["healthy"], true);
    assert_eq!(Client::of(endpoint(&lab)).ask("msg:later").as_deref(), Ok("later"));
    lab.up(&[]);
    eventually(SOON, || match gateway(&lab, "gateway-udp-node-0") {
        Value::Null => Ok(()),
        part => Err(part),
    })
    .expect("it goes with the service");
    assert_eq!(gateway(&lab, "gateway-node-0")["pid"], before["pid"]);
}

#[test]
fn udp_scales_by_packets() {
    let lab = Lab::new("udp-scale");
    let metrics = r#"udp.autoscaling.metrics=[{"type":"Pods","pods":{"metric":{"name":"udp_packets_received"},
        "target":{"type":"AverageValue","averageValue":1}}}]"#;
    let quick =
        "metrics.scrapeInterval=500ms,metrics.syncPeriod=1s,metrics.window=5s,udp.autoscaling.maxReplicas=2";
    lab.up(&[&UDP[..], &["--set-json", metrics, "--set", quick]].concat());
    let client = Client::of(endpoint(&lab));
    eventually(SOON, || {
        for number in 0..20 {
            client.ask(&format!("msg:{number}"))?;
        }
        let replicas = ready(&lab);
        if replicas.len() == 2 { Ok(()) } else { Err(format!("{replicas:?}")) }
    })
    .expect("more packets than the target add a replica");
    let status = service(&lab);
    let metrics = status["autoscaler"]["metrics"].to_string();
    assert!(metrics.contains("udp_packets_received"), "{metrics}");
    assert!(status["replicas"][0]["packets_per_second"].as_f64().is_some(), "{status}");
    assert_eq!(status["replicas"][0]["connections"], Value::Null);
    let table = lab.ok(&["status"]);
    assert!(table.contains("PACKETS") && table.contains("/s"), "{table}");
}

/// The replica that answers `client`: the one whose packet count grows. No other client may send meanwhile, and all
/// replicas must run: a repeated packet would be counted late, as another client's.
fn replica_of(lab: &Lab, client: &Client) -> String {
    let replicas = ports(lab, "services");
    let counts = || replicas.iter().map(|(_, admin)| metric(*admin, "udp_packets_received_total"));
    let before: Vec<_> = counts().collect();
    client.0.set_read_timeout(Some(SOON)).expect("set");
    client.ask_once("msg:who").expect("an answer");
    // It is counted right after the answer is sent.
    let counted =
        || counts().zip(&before).position(|(now, before)| now > *before).ok_or("no count has changed");
    let replica = eventually(SOON, counted).expect("somebody answered");
    replicas[replica].0.clone()
}

#[test]
fn sessions_keep_their_replica_when_gateways_are_killed_and_started_again() {
    let lab = Lab::new("udp-gateways");
    lab.ok(&[&["up"], &UDP[..], &["--set", "udp.autoscaling=null", "--set", "udp.replicas=3"]].concat());
    let endpoint = endpoint(&lab);
    let clients: Vec<Client> = (0..24).map(|_| Client::of(endpoint)).collect();
    let replicas = || clients.iter().map(|client| replica_of(&lab, client)).collect::<Vec<_>>();
    let before = replicas();
    assert!(before.iter().collect::<BTreeSet<_>>().len() > 1, "one has all sessions: {before:?}");

    for name in ["gateway-udp-node-0", "gateway-udp-node-1"] {
        let killed = gateway(&lab, name)["pid"].as_u64().expect("a pid");
        let pid = rustix::process::Pid::from_raw(i32::try_from(killed).expect("a pid")).expect("not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        eventually(SOON, || match gateway(&lab, name) {
            part if part["healthy"] == true && part["pid"] != killed => Ok(()),
            part => Err(part),
        })
        .expect("it has a successor");
    }
    assert_eq!(replicas(), before);
}

#[test]
fn every_client_is_answered_while_a_replica_drains() {
    let lab = Lab::new("udp-drain");
    lab.up(&[&UDP[..], &["--set", "udp.autoscaling=null", "--set", "udp.replicas=2"]].concat());
    let endpoint = endpoint(&lab);
    let clients: Vec<Client> = (0..8).map(|_| Client::of(endpoint)).collect();
    let all_answer = || clients.iter().for_each(|client| drop(client.ask("msg:here").expect("an answer")));
    all_answer();
    lab.ok(&["scale", "udp", "1"]);
    eventually(SOON, || {
        all_answer();
        let replicas = service(&lab)["replicas"].as_array().map_or(0, Vec::len);
        if replicas == 1 { Ok(()) } else { Err(replicas) }
    })
    .expect("one is gone");
    all_answer();
}

#[test]
fn a_taken_port_is_named_with_the_process_that_holds_it() {
    let holder = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("bound").port();
    // Only the platform with this name also listens on 127.0.0.1; its folders are the test's own.
    let lab = Lab::named("playground");
    let listeners =
        format!(r#"gateway.listeners=[{{"name":"udp","protocol":"UDP","service":"udp","port":{port}}}]"#);
    let output = lab.run(&[&["up", "--nodes", "1"], &UDP[..], &["--set-json", &listeners]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    assert!(said.contains(&std::process::id().to_string()), "the holder's pid is missing: {said}");
}

#[test]
fn the_service_runs_on_its_own() {
    let mut child = std::process::Command::new(BINARY)
        .args(["serve", "udp", "-H", "127.0.0.1", "-p", "0"])
        .envs([("ADMIN_PORT", "0"), ("SIGTERM_TIMEOUT", "0"), ("POD_NAME", "udp-0")])
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("playctl starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let started = lines
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .find(|line| line["message"] == "started")
        .expect("it says that it started");
    let address = started["address"].as_str().expect("its address").parse().expect("an address");
    assert_eq!(Client::of(address).ask("msg:alone").as_deref(), Ok("alone"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn bad_settings_are_named() {
    let lab = Lab::new("udp-settings");
    let output =
        lab.command(&["serve", "udp"]).env("BUFF_SIZE", "many").env("PORT", "x").output().expect("starts");
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains(r#"BUFF_SIZE="many""#) && said.contains(r#"PORT="x""#), "{said}");
}
