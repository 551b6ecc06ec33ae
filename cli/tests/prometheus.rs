//! With a real Prometheus: it scrapes everything, and the autoscaler uses its values.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{ANSWER, Lab, eventually};

/// Time for Prometheus to start, scrape and answer.
const SOON: Duration = Duration::from_mins(1);

/// A cluster's pipeline at seven times its speed. Only 80 connections of one replica are above the target and its
/// tolerance: fewer, as during the ramp, cause no decision.
const QUICK_PIPELINE: [&str; 6] = [
    "--set",
    "metrics.scrapeInterval=1s,metrics.syncPeriod=2s",
    "--set-json",
    r#"tcp.autoscaling.metrics=[{"type":"Pods","pods":{"metric":{"name":"tcp_state_established"},
       "target":{"type":"AverageValue","averageValue":"72"}}}]"#,
    "--metrics",
    "prometheus",
];

fn folder(lab: &Lab) -> PathBuf {
    lab.home().join("state/playctl").join(&lab.platform).join("parts/prometheus")
}

fn events(lab: &Lab) -> Vec<Value> {
    let path = lab.home().join("state/playctl").join(&lab.platform).join("events.jsonl");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn part(lab: &Lab, name: &str) -> Value {
    let parts = lab.status()["parts"].as_array().expect("parts").clone();
    parts.into_iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("no part {name}"))
}

fn prometheus(lab: &Lab) -> SocketAddr {
    let address = part(lab, "prometheus")["address"].as_str().expect("an address").to_owned();
    address.trim_start_matches("http://").parse().expect("an address")
}

/// Values of an instant query by the label `by`.
fn query(address: SocketAddr, query: &str, by: &str) -> Result<BTreeMap<String, f64>, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let body = answer.split_once("\r\n\r\n").ok_or("no body")?.1;
    let reply: Value = serde_json::from_str(body).map_err(|_| answer.clone())?;
    let result = reply["data"]["result"].as_array().ok_or(answer.clone())?;
    let value = |series: &Value| {
        let value = series["value"][1].as_str()?.parse().ok()?;
        Some((series["metric"][by].as_str()?.to_owned(), value))
    };
    result.iter().map(value).collect::<Option<_>>().ok_or(answer.clone())
}

fn promtool(arguments: [&str; 2], file: &Path) {
    let checked = Command::new("promtool").args(arguments).arg(file).output().expect("promtool");
    assert!(checked.status.success(), "{}", support::both(&checked));
}

#[test]
fn prometheus_understands_the_dashboards_queries() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm-chart/files/dashboard.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    // In the form of rules, which promtool can parse.
    let rules: Vec<Value> = queries
        .enumerate()
        .map(|(index, target)| json!({ "record": format!("query_{index}"), "expr": target["expr"] }))
        .collect();
    assert!(rules.len() > 20, "{}", rules.len());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rules.yaml");
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(&file, groups.to_string()).expect("written");
    promtool(["check", "rules"], &file);
}

#[test]
fn the_autoscaler_uses_values_from_prometheus() {
    let lab = Lab::new("prometheus");
    lab.up(&QUICK_PIPELINE);
    let prometheus = prometheus(&lab);

    promtool(["check", "config"], &folder(&lab).join("prometheus.yml"));

    // Every target of the platform is up: replica, gateway, supervisor.
    eventually(SOON, || {
        let up = query(prometheus, "up", "job");
        let expected = ["gateways", "services", "supervisor"].map(|job| (job.to_owned(), 1.0));
        if up == Ok(expected.into()) { Ok(()) } else { Err(up) }
    })
    .expect("all targets are scraped");

    let endpoint = lab.endpoint().to_string();
    let load =
        lab.spawn(&["load", "--conns", "80", "--rate", "2ms", "--for", "10m", "--every", "1s", &endpoint]);
    eventually(SOON, || if lab.ready() >= 2 { Ok(()) } else { Err(lab.replicas()) }).expect("1 → 2");
    let changed = events(&lab).into_iter().find(|event| event["type"] == "DesiredChanged").expect("an event");
    assert_eq!((changed["from"].as_u64(), changed["to"].as_u64()), (Some(1), Some(2)), "{changed}");
    let reason = changed["reason"].as_str().expect("words");
    assert!(reason.contains("pods metric tcp_state_established above target"), "{reason}");
    assert_eq!(changed["metrics"][0]["value_milli"], 80_000, "{changed}");

    // The recorded value is the one that decided, and the supervisor exposes the outcome.
    eventually(SOON, || {
        let recorded = query(prometheus, "tcp_state_established", "pod");
        match &recorded {
            Ok(pods) if pods.get("tcp-0") == Some(&80.0) && pods.contains_key("tcp-1") => Ok(()),
            _ => Err(recorded),
        }
    })
    .expect("both replicas have a value");
    eventually(SOON, || {
        let name = "kube_horizontalpodautoscaler_status_desired_replicas";
        let desired = query(prometheus, name, "horizontalpodautoscaler");
        if desired == Ok([("tcp".to_owned(), 2.0)].into()) { Ok(()) } else { Err(desired) }
    })
    .expect("the decision is a metric too");
    load.signal(Signal::INT);
    load.finish(SOON);
}

#[test]
fn the_autoscaler_uses_packet_rates_from_prometheus() {
    let lab = Lab::new("packets");
    lab.up(&[
        "--set",
        "tcp.enabled=false,udp.enabled=true,metrics.scrapeInterval=1s,metrics.syncPeriod=2s",
        "--set-json",
        r#"udp.autoscaling.metrics=[{"type":"Pods","pods":{"metric":{"name":"udp_packets_received"},
           "target":{"type":"AverageValue","averageValue":"5"}}}]"#,
        "--metrics",
        "prometheus",
    ]);
    let service = || {
        let services = lab.status()["services"].as_array().expect("services").clone();
        services.into_iter().find(|service| service["name"] == "udp").expect("udp")
    };
    let endpoint: SocketAddr = service()["endpoint"].as_str().expect("an endpoint").parse().expect("one");
    let client = UdpSocket::bind((endpoint.ip(), 0)).expect("a socket");
    eventually(SOON, || {
        for _ in 0..50 {
            client.send_to(b"msg:hello", endpoint).map_err(|error| error.to_string())?;
        }
        let udp = service();
        let replicas = udp["replicas"].as_array().expect("replicas");
        let ready = replicas.iter().filter(|replica| replica["phase"] == "ready").count();
        if ready >= 2 { Ok(()) } else { Err(udp.to_string()) }
    })
    .expect("1 → 2");
    let changed = events(&lab).into_iter().find(|event| event["type"] == "DesiredChanged").expect("an event");
    assert_eq!((changed["from"].as_u64(), changed["to"].as_u64()), (Some(1), Some(2)), "{changed}");
    assert_eq!(changed["metrics"][0]["metric"], "udp_packets_received", "{changed}");

    // The autoscaler queries the rule's expression; the recorded series follows at the rule's next evaluation, and only
    // while packets arrive.
    let prometheus = prometheus(&lab);
    eventually(SOON, || {
        for _ in 0..50 {
            client.send_to(b"msg:hello", endpoint).map_err(|error| error.to_string())?;
        }
        let recorded = query(prometheus, "udp_packets_received", "pod")?;
        if recorded.get("udp-0").is_some_and(|rate| *rate > 5.0) {
            Ok(())
        } else {
            Err(format!("{recorded:?}"))
        }
    })
    .expect("the rule recorded udp-0's packets");
}

#[test]
fn without_prometheus_the_metric_is_unavailable_and_says_so_once() {
    let lab = Lab::new("unavailable");
    lab.up(&QUICK_PIPELINE);
    let warnings = |with: &str| {
        let events = events(&lab);
        let told = events.iter().filter(|event| event["type"] == "Warning");
        told.filter(|event| event["message"].as_str().is_some_and(|text| text.contains(with))).count()
    };
    let syncs = || events(&lab).iter().filter(|event| event["type"] == "HpaSynced").count();
    let last_value = || {
        let events = events(&lab);
        let synced = events.iter().rfind(|event| event["type"] == "HpaSynced");
        synced.map_or(Value::Null, |event| event["metrics"][0]["value_milli"].clone())
    };
    eventually(SOON, || if last_value().is_i64() { Ok(()) } else { Err(last_value()) }).expect("it is read");

    let pid = part(&lab, "prometheus")["pid"].as_u64().and_then(|pid| i32::try_from(pid).ok());
    let before = warnings("unavailable");
    // A stopped process accepts connections without answering; a killed one would be back within seconds.
    let process = pid.and_then(Pid::from_raw).expect("it runs");
    kill_process(process, Signal::STOP).expect("it runs");
    eventually(SOON, || if warnings("unavailable") > before { Ok(()) } else { Err(syncs()) })
        .expect("a warning");
    let then = syncs();
    eventually(SOON, || if syncs() >= then + 2 { Ok(()) } else { Err(syncs()) }).expect("syncs go on");
    assert_eq!(warnings("unavailable"), before + 1, "once");
    assert!(last_value().is_null(), "no value is better than an old one: {}", last_value());
    assert_eq!(lab.ready(), 1);

    let again = warnings("available again");
    kill_process(process, Signal::CONT).expect("it is there");
    eventually(SOON, || if warnings("available again") > again { Ok(()) } else { Err(()) })
        .expect("it is back");
    eventually(SOON, || if last_value().is_i64() { Ok(()) } else { Err(last_value()) })
        .expect("it is read again");
}
