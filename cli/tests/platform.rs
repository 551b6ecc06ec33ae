//! The platform on this machine: users bring it up, inspect it and take it down.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{ErrorKind, Read as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use support::{Lab, QUICK, both, echo, eventually, lossy};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(2);

#[test]
fn a_second_up_changes_nothing_and_down_leaves_nothing_behind() {
    let lab = Lab::new("twice");
    lab.up(&[]);
    let before = lab.status();
    assert_eq!(echo(lab.endpoint(), "hello").expect("an answer"), "hello");

    let mut again = vec!["up"];
    again.extend(QUICK);
    let said = lab.ok(&again);
    assert!(said.contains("nothing changed"), "{said}");
    let after = lab.status();
    assert_eq!(before["services"][0]["replicas"][0]["pid"], after["services"][0]["replicas"][0]["pid"]);

    let mut client = TcpStream::connect(lab.endpoint()).expect("a connection");
    client.set_read_timeout(Some(SOON)).expect("a socket");
    assert!(lab.ok(&["down"]).contains("nothing is left"));
    assert!(lab.processes().is_empty());
    // A new connection would prove nothing: another platform may have the addresses by now.
    let ended = client.read_to_end(&mut Vec::new());
    let is_over = ended.as_ref().map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true);
    assert!(is_over, "{ended:?}");
    assert!(lab.ok(&["down"]).contains("was not up"), "down is idempotent");
}

#[test]
fn up_again_applies_what_changed() {
    let lab = Lab::new("apply");
    lab.up(&[]);
    let said = lab.ok(&[&["up"], &QUICK[..], &["--set", "tcp.env.BUFF_SIZE=64"]].concat());
    assert!(said.contains("  tcp.env.BUFF_SIZE  512 → 64\n"), "{said}");
    assert!(!said.contains("back to the default"), "{said}");
    eventually(SOON, || {
        let answer = echo(lab.endpoint(), &"x".repeat(100)).unwrap_or_default();
        if answer.starts_with("error: packet too long") { Ok(()) } else { Err(answer) }
    })
    .expect("the replica was replaced by one with the new setting");

    let secret = ["up", "--nodes", "2", "--set", "tcp.env.MY_PASSWORD=hunter2"];
    let said = lab.ok(&[&secret[..], &QUICK[2..]].concat());
    assert!(said.contains("  nodes  1 → 2\n"), "what is stated is not taken back: {said}");
    assert!(said.contains("  tcp.env.BUFF_SIZE  64 → 512  (back to the default)\n"), "{said}");
    assert!(said.contains("every up starts from the defaults"), "{said}");
    assert!(said.contains("MY_PASSWORD") && !said.contains("hunter2"), "{said}");
    let applied = lab.json(&[&["up"], &QUICK[..]].concat());
    assert_eq!(applied["applied"]["settings"][0], serde_json::json!({ "key": "nodes", "old": 2, "new": 1 }));
    assert!(applied["applied"]["took_ms"].is_u64() && !applied.to_string().contains("hunter2"), "{applied}");
}

const HPA: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: tcp}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tcp}
  maxReplicas: 5
  metrics:
  - {type: Pods, pods: {metric: {name: open}, target: {type: AverageValue, averageValue: 5k}}}
";

#[test]
fn results_are_what_their_schema_says() {
    let lab = Lab::new("schema");
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../docs/results.schema.json")).expect("JSON");
    let check = |name: &str, result: &serde_json::Value| {
        let mut of_one = schema.clone();
        of_one["required"] = serde_json::json!([name]);
        let validator = jsonschema::validator_for(&of_one).expect("a schema");
        let document = serde_json::json!({ name: result });
        let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}\n{result}");
        assert!(!validator.is_valid(&serde_json::json!({ name: 7 })), "{name}: the schema says nothing");
    };
    check(
        "up",
        &lab.json(
            &[&["up"], &QUICK[..], &["--set", "tcp.replicas=1", "--set", "tcp.autoscaling=null"]].concat(),
        ),
    );
    check("status", &lab.status());
    let scaled = lab.json(&["scale", "tcp", "2"]);
    check("scale", &scaled);
    assert_eq!((&scaled["from"], &scaled["to"], &scaled["pending"]), (&1.into(), &2.into(), &0.into()));
    let all = eventually(SOON, || if lab.ready() == 2 { Ok(()) } else { Err(lab.replicas()) });
    assert_eq!(all, Ok(()));
    check("drain", &lab.json(&["drain", "tcp/tcp-1"]));
    let killed = lab.json(&["kill", "tcp/tcp-0", "--no-restart"]);
    check("kill", &killed);
    assert_eq!(killed["restart_in_ms"], serde_json::Value::Null);
    check("start", &lab.json(&["start", "tcp/tcp-0"]));
    check("stop", &lab.json(&["stop", "kafka"]));
    check("logs", &lab.json(&["logs", "--tail", "5"]));
    check("load", &lab.json(&["load", "--conns", "2", "--rate", "1ms", "--for", "1s"]));
    let (hpa, state) = (lab.home().join("hpa.yaml"), lab.home().join("state.yaml"));
    fs::write(&hpa, HPA).expect("written");
    fs::write(&state, "{replicas: 1, pods: [{name: a}], metrics: [{pods: {a: 7000}}]}").expect("written");
    let (hpa, state) = (hpa.to_str().expect("UTF-8"), state.to_str().expect("UTF-8"));
    check("explain", &lab.json(&["explain", "--hpa", hpa, "--state", state]));
    check("explain", &lab.json(&["explain", "--hpa", hpa, "--print-state"]));
    let doctor = lab.run(&["doctor", "--output", "json"]);
    check("doctor", &serde_json::from_slice(&doctor.stdout).expect("JSON"));
    let doctor = lab.run(&["doctor", "--output", "jsonl"]);
    let lines = lossy(&doctor.stdout);
    let checks = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.lines().count() > 1 && lines.lines().all(|line| line.starts_with('{')), "{lines}");
    check("doctor", &serde_json::Value::Array(checks));
    let failed = lab.run(&["scale", "tpc", "2", "--output", "json"]);
    check("failure", &serde_json::from_slice(&failed.stdout).expect("JSON"));
    check("down", &lab.json(&["down"]));
}

#[test]
fn scale_says_what_the_autoscaler_will_do() {
    let lab = Lab::new("bounds");
    lab.up(&["--set", "tcp.autoscaling.maxReplicas=2"]);
    let said = lab.ok(&["scale", "tcp", "3"]);
    assert!(said.contains("allows at most 2: back to 2 at its next sync, in "), "{said}");
    assert!(lab.ok(&["status"]).contains("set by hand"), "status says so");
    let said = lab.ok(&["scale", "tcp", "0"]);
    assert!(said.contains(&format!("playctl --platform {} scale tcp 1", lab.platform)), "{said}");
    assert!(lab.ok(&["status"]).contains("the autoscaler is off at 0"), "status says so");
}

#[test]
fn up_during_down_leaves_nothing_behind_and_reports_no_failure() {
    let lab = Lab::new("beside");
    for round in 0..12 {
        let up = lab.spawn(&["up", "--nodes", "1", "--quiet"]);
        let down = lab.run(&["down"]);
        // up reports obstacles; down does not report a platform that is up again as left over.
        let up = up.finish(SOON);
        assert_eq!(down.status.code(), Some(0), "{round}: {}", both(&down));
        assert!(matches!(up.status.code(), Some(0 | 1 | 4)), "{round}: {}", both(&up));
    }
    lab.ok(&["down"]);
    lab.wait_for_no_process(SOON);
    let state = lab.home().join("state/playctl");
    let left: Vec<_> = fs::read_dir(state).expect("a folder").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_platform_is_the_same_from_every_session_of_its_user() {
    let lab = Lab::new("sessions");
    lab.up(&[]);
    // Like a cron job or another login: the same home, another runtime folder.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let from_there = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        let output = command.env("XDG_RUNTIME_DIR", elsewhere.path()).output().expect("playctl starts");
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        both(&output)
    };
    let said = from_there(&[&["up"], &QUICK[..]].concat());
    assert!(said.contains("nothing changed"), "{said}");
    assert!(from_there(&["status"]).contains("tcp-0"));
    assert!(from_there(&["down"]).contains("nothing is left"));
    assert!(lab.processes().is_empty());
}

#[test]
fn two_platforms_never_meet() {
    let (one, two) = (Lab::new("one"), Lab::new("two"));
    std::thread::scope(|scope| {
        scope.spawn(|| one.up(&[]));
        scope.spawn(|| two.up(&[]));
    });
    assert_ne!(one.endpoint().ip(), two.endpoint().ip());
    one.ok(&["down"]);
    assert_eq!(echo(two.endpoint(), "still").expect("an answer"), "still");
}

#[test]
fn a_taken_port_is_named_with_the_process_that_holds_it() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("bound").port();
    // Only the platform with this name also listens on 127.0.0.1; its folders are the test's own.
    let lab = Lab::named("playground");
    let listeners =
        format!(r#"gateway.listeners=[{{"name":"tcp","protocol":"TCP","service":"tcp","port":{port}}}]"#);
    let output = lab.run(&[&["up"], &QUICK[..], &["--set-json", &listeners]].concat());
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
    assert!(said.contains(&std::process::id().to_string()), "the holder's pid is missing: {said}");
    lab.wait_for_no_process(SOON);
}

#[test]
fn a_killed_supervisor_leaves_nothing_behind_and_up_starts_clean() {
    let lab = Lab::new("killed");
    lab.up(&["--set", "tcp.autoscaling.minReplicas=2"]);
    let endpoint = lab.endpoint().to_string();
    let load =
        lab.spawn(&["load", "--conns", "200", "--rate", "2ms", "--for", "10m", "--no-reconnect", &endpoint]);
    eventually(SOON, || {
        let held: u64 = established(&lab);
        if held >= 200 { Ok(()) } else { Err(held) }
    })
    .expect("the platform is under load");

    let supervisor = supervisor_pid(&lab);
    kill_process(supervisor, Signal::KILL).expect("it runs");
    let load_pid = load.pid().as_raw_nonzero().get().cast_unsigned();
    // The kernel kills them, without a drain, which would take longer.
    let left = eventually(Duration::from_secs(10), || {
        let left: Vec<u32> = lab.processes().into_iter().filter(|pid| *pid != load_pid).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    assert_eq!(left, Ok(()), "processes left after the supervisor was killed");

    load.signal(Signal::INT);
    load.finish(SOON);
    lab.up(&[]);
    assert_eq!(echo(lab.endpoint(), "again").expect("an answer"), "again");
}

#[test]
fn a_killed_replica_comes_back_in_place() {
    let lab = Lab::new("kill");
    lab.up(&[]);
    let before = lab.status()["services"][0]["replicas"][0].clone();
    let said = lab.ok(&["kill", "tcp"]);
    assert!(said.contains("killed tcp-0"), "{said}");
    eventually(SOON, || {
        let replica = lab.status()["services"][0]["replicas"][0].clone();
        if replica["phase"] == "ready" && replica["pid"] != before["pid"] { Ok(()) } else { Err(replica) }
    })
    .expect("started again");
    let after = lab.status()["services"][0]["replicas"][0].clone();
    assert_eq!(after["restarts"], 1);
    assert_eq!(after["address"], before["address"], "in place");

    lab.ok(&["kill", "tcp/tcp-0", "--no-restart"]);
    eventually(SOON, || {
        let phase = lab.status()["services"][0]["replicas"][0]["phase"].clone();
        if phase == "stopped" { Ok(()) } else { Err(phase) }
    })
    .expect("stays dead");
}

#[test]
fn unknown_services_and_replicas_are_named_with_the_known_ones() {
    let lab = Lab::new("unknown");
    lab.up(&[]);
    for (arguments, known) in
        [(&["scale", "tpc", "2"][..], "tcp"), (&["kill", "tcp/tcp-7"], "tcp-0"), (&["logs", "tpc"], "tcp")]
    {
        let output = lab.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(known), "{arguments:?}: {}", both(&output));
    }
}

#[test]
fn scale_says_that_the_autoscaler_stays_active() {
    let lab = Lab::new("scale");
    // At its next look, the autoscaler would remove the replica again.
    lab.up(&["--set", "metrics.syncPeriod=600s"]);
    let said = lab.ok(&["scale", "tcp", "2"]);
    assert!(said.contains("tcp 1 → 2") && said.contains("autoscaler"), "{said}");
    eventually(SOON, || if lab.ready() == 2 { Ok(()) } else { Err(lab.replicas()) }).expect("two are ready");
    let names: BTreeSet<String> = lab.replicas().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn explain_says_what_the_autoscaler_decided_and_what_would_change_it() {
    let lab = Lab::new("explain");
    lab.up(&["--set", "metrics.scrapeInterval=1s", "--set", "metrics.syncPeriod=1s"]);
    let text = eventually(SOON, || {
        let output = lab.run(&["explain", "tcp"]);
        let text = lossy(&output.stdout);
        // The first look may come before the first scrape.
        if text.contains("counted: tcp-0") { Ok(text) } else { Err(both(&output)) }
    })
    .expect("it has looked after a second, at values after another");
    assert!(text.starts_with("tcp keeps 1 replica"), "{text}");
    assert!(text.contains("scales up to 2 when the average of tcp_state_established passes 5,500"), "{text}");
    let json = lab.json(&["explain", "tcp"]);
    assert_eq!(
        (&json["name"], &json["current"], &json["desired"]),
        (&"tcp".into(), &1.into(), &1.into()),
        "{json}"
    );
    assert_eq!(json["metrics"][0]["pods"][0]["name"], "tcp-0", "{json}");
}

#[test]
fn logs_show_what_replicas_wrote() {
    let lab = Lab::new("logs");
    lab.up(&[]);
    let lines = eventually(SOON, || {
        let text = lab.ok(&["logs", "tcp"]);
        if text.lines().count() > 0 { Ok(text) } else { Err(text) }
    })
    .expect("a replica says that it started");
    assert!(lines.lines().all(|line| line.starts_with("tcp-0")), "{lines}");
    let json = lab.json(&["logs", "tcp", "--tail", "1"]);
    assert_eq!(json.as_array().map(Vec::len), Some(1), "{json}");
    // A reader that got every line may go.
    assert_eq!(lab.spawn(&["logs", "tcp", "--tail", "1"]).finish_unread(SOON), Some(0));
    assert_eq!(lab.spawn(&["logs", "tcp", "--follow"]).finish_unread(SOON), Some(141));
}

#[test]
fn watch_that_is_interrupted_says_so() {
    let lab = Lab::new("watch-interrupted");
    lab.up(&[]);
    let watch = lab.spawn(&["watch", "--from-start"]);
    let watch = watch.after_first_line();
    watch.signal(Signal::INT);
    let output = watch.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let lab = Lab::new("full");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = lab.command(&["doctor"]).stdout(full).output().expect("playctl starts");
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("could not write to standard output"), "{}", both(&output));
}

#[test]
fn a_load_begins_with_the_platforms_present_state() {
    let lab = Lab::new("present");
    lab.up(&["--set", "metrics.syncPeriod=600s"]);
    lab.ok(&["scale", "tcp", "2"]);
    let out = lab.ok(&["load", "--conns", "2", "--every", "100ms", "--for", "1s", "--output", "jsonl"]);
    let events: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let started = events.iter().find(|event| event["type"] == "PlatformStarted").expect("said first");
    assert_eq!(started["services"][0]["replicas"], 2, "{started}");
}

#[test]
fn watch_ends_when_its_output_is_closed() {
    let lab = Lab::new("pipe");
    lab.up(&["--set", "metrics.syncPeriod=600s"]);
    let watch = lab.spawn(&["watch", "--from-start"]);
    // No more events happen on this platform, so only the closed pipe can end it.
    assert_eq!(watch.finish_unread(SOON), Some(141));
}

#[test]
fn down_graceful_drains_first() {
    let lab = Lab::new("graceful");
    lab.up(&[]);
    let mut client = TcpStream::connect(lab.endpoint()).expect("connects");
    client.set_read_timeout(Some(SOON)).expect("set");
    std::io::Write::write_all(&mut client, b"msg:here").expect("sent");
    let mut answer = [0; 64];
    let n = std::io::Read::read(&mut client, &mut answer).expect("answered");
    assert_eq!(&answer[..n], b"here");
    let down = lab.spawn(&["down", "--graceful"]);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut client, &mut rest).expect("ends in order");
    assert_eq!(lossy(&rest), "reconnect");
    assert_eq!(down.finish(SOON).status.code(), Some(0));
}

fn established(lab: &Lab) -> u64 {
    // From the kernel's table, so it does not depend on the platform's scrape interval.
    let port = format!(":{:04X}", lab.endpoint().port());
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let ip = match lab.endpoint().ip() {
        std::net::IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
        std::net::IpAddr::V6(_) => return 0,
    };
    let local = format!("{ip:08X}{port}");
    let row = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(local.as_str()) && fields.nth(1) == Some("01")
    };
    table.lines().filter(|line| row(line)).count() as u64
}

fn supervisor_pid(lab: &Lab) -> Pid {
    let found = lab.processes().into_iter().find(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"supervisor")
    });
    found.and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("a supervisor runs")
}
