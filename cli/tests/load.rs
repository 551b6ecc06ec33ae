//! `playctl load` against the platform: its counts, its expectations, and its end.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

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
    let arguments = ["load", "--conns", "100", "--rate", "1ms", "--every", "100ms", "--for", "10m"];
    let load = lab.spawn(&[&arguments[..], &["--output", "jsonl"]].concat());
    // The kernel's count, through the platform's own scrape.
    let load = load.until_type("RampDone").until("a scrape that saw the 100 connections", |event| {
        event["type"] == "MetricScraped"
            && event["metric"] == "tcp_state_established"
            && event["values_milli"]["tcp-0"].as_i64() >= Some(100_000)
    });
    let load = load.until_type("HpaSynced");
    load.signal(Signal::INT);
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
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
    assert!(summary["totals"]["messages_answered"].as_u64() >= Some(100), "{summary}");
    assert_eq!(summary["totals"]["messages_wrong"], 0, "{summary}");
    assert_eq!(summary["shares"][0]["replica"], "tcp-0", "the replica is known by name: {summary}");
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

/// `load | head -1`: a reader that stops after the first lines gets no verdict, which is not a success.
#[test]
fn a_load_whose_output_is_closed_ends_quietly_and_its_test_cases_say_why() {
    let lab = Lab::new("unread");
    let address = foreign(|request| Some(request.to_vec())).to_string();
    let xml = lab.home().join("unread.xml");
    let xml_path = xml.to_str().expect("UTF-8");
    for format in ["human", "jsonl"] {
        let words = ["load", &address, "--conns", "3", "--for", "10m", "--expect-connected", "4", "--quiet"];
        let mut command = lab.command(&[&words[..], &["--junit", xml_path, "--output", format]].concat());
        let command = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut out, &mut String::new()).expect("a line");
        drop(out);
        let ended = eventually(SOON, || child.try_wait().expect("can be waited for").ok_or(()));
        if ended.is_err() {
            child.kill().expect("can be killed");
        }
        let output = child.wait_with_output().expect("ends");
        assert_eq!((output.status.code(), lossy(&output.stderr).as_str()), (Some(141), ""), "{format}");
        let xml = fs::read_to_string(&xml).expect("written");
        assert!(xml.contains("nobody read its output any longer") && xml.contains(r#"errors="1""#), "{xml}");
    }
}

/// A server on its own port that sends the result of `answer` for each request, if any.
fn foreign(answer: fn(&[u8]) -> Option<Vec<u8>>) -> SocketAddr {
    serve(move |mut stream| {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            if let Some(bytes) = answer(&buffer[..read]) {
                let _ = stream.write_all(&bytes);
            }
        }
    })
}

/// A server on its own port, with a thread for each connection.
fn serve(session: impl Fn(TcpStream) + Copy + Send + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || session(stream));
        }
    });
    address
}

/// `lost = 0` holds for a server that never answers, and for one that answers nonsense; the load still fails.
#[test]
fn a_server_that_does_not_answer_or_answers_wrongly_fails_the_run() {
    let lab = Lab::new("foreign");
    let file = lab.home().join("like.yaml");
    let text = "name: like-10k
service: tcp
phases:
  ramp: { connections: 50, rate: 5ms }
  hold: { for: 2s }
messages: { every: 500ms, payload: \"msg:12345\", expect: echo, timeout: 1s }
reconnect: { delay: 1s }
expectations: [connected >= 50, refused = 0, lost = 0";
    let scenario = |more: &str| fs::write(&file, format!("{text}{more}]\n")).expect("written");
    let file = file.to_str().expect("UTF-8");
    let silent = foreign(|_| None).to_string();
    let capitals = foreign(|request| Some(request.to_ascii_uppercase())).to_string();
    scenario("");
    let output = lab.run(&["load", file, &silent]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(lossy(&output.stderr).contains(r"--payload 'msg:12345\n'"), "{}", both(&output));
    let output = lab.run(&["load", file, &capitals]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("the first answer was `MSG:12345`"), "{}", both(&output));
    // An expectation about it takes precedence.
    scenario(", answered >= 99%");
    for address in [&silent, &capitals] {
        let output = lab.run(&["load", file, address]);
        assert_eq!(output.status.code(), Some(3), "{}", both(&output));
    }
    // A server that reads lines, with a line end in the payload, by its host name.
    let lines = foreign(|request| request.ends_with(b"\n").then(|| request.to_vec()));
    let name = format!("localhost:{}", lines.port());
    let output =
        lab.run(&["load", "--conns", "1_0", "--rate", "1k/s", "--for", "1s", "--payload", r"hello\n", &name]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
}

/// The message fits the server's behaviour: only silence suggests a missing line end.
#[test]
fn a_load_reports_what_a_server_did_instead_of_answering() {
    let lab = Lab::new("instead");
    let closes_at_once = serve(|_| {});
    let closes_when_asked = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    // Closing a socket with unread input resets the connection.
    let resets = serve(|mut stream| {
        let _ = stream.read_exact(&mut [0; 1]);
    });
    let half = foreign(|request| (request == b"msg:12345").then(|| b"123".to_vec()));
    let silent = foreign(|_| None);
    for (address, expected) in [
        (closes_at_once, vec!["the server ", " of 5 connections"]),
        (
            closes_when_asked,
            vec!["none of 5 messages to ", "the server closed 5 of 5 connections; is this its"],
        ),
        (
            resets,
            vec!["none of 5 messages to ", "the server reset 5 of 5 connections; is this its protocol?"],
        ),
        (half, vec!["none of 5 messages to ", " was answered in full; 15 bytes came"]),
        (silent, vec!["none of 5 messages to ", "waits for a line end"]),
    ] {
        let arguments = ["load", "--conns", "5", "--rate", "1ms", "--for", "1s", "--timeout", "500ms"];
        let output = lab.run(&[&arguments[..], &["--no-reconnect", &address.to_string()]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        let text = lossy(&output.stderr);
        assert!(expected.iter().all(|expected| text.contains(expected)), "{expected:?}: {}", both(&output));
        // Half an answer, too, may be a greeting before a line that is never read.
        let may_wait = [half, silent].contains(&address);
        assert_eq!(text.contains("line end"), may_wait, "{}", both(&output));
    }
}

/// `any` takes an error for an answer; the text that an answer begins with does not.
#[test]
fn an_answer_is_judged_by_its_beginning() {
    let lab = Lab::new("answer");
    let redis = foreign(|asked| {
        let answer: &[u8] = if asked == b"PING\r\n" { b"+PONG\r\n" } else { b"-NOAUTH log in first\r\n" };
        Some(answer.to_vec())
    });
    let address = redis.to_string();
    let load = |payload: &str, answer: &[&str]| {
        let base = ["load", "--conns", "2", "--for", "2s", "--every", "200ms", "--payload", payload];
        lab.run(&[&base[..], answer, &[&address]].concat())
    };
    for (payload, answer, code) in [
        (r"PING\r\n", &["--answer", "+PONG"][..], 0),
        (r"GET x\r\n", &["--answer", "+PONG"], 1),
        (r"GET x\r\n", &["--expect", "any"], 0),
    ] {
        let output = load(payload, answer);
        assert_eq!(output.status.code(), Some(code), "{payload} {answer:?}: {}", both(&output));
        let is_quoted = lossy(&output.stderr).contains("the first answer was `-NOAUTH log in first");
        assert_eq!(is_quoted, code == 1, "{}", both(&output));
        assert!(
            !lossy(&output.stderr).contains("--expect any"),
            "no advice that was taken: {}",
            both(&output)
        );
    }
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = format!("udp://{}", datagrams.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = datagrams.recv_from(&mut buffer) {
            let _ = datagrams.send_to(b"ack 1", from);
        }
    });
    for (answer, code) in [("ack", 0), ("nack", 1)] {
        let output = lab
            .run(&["load", "--conns", "2", "--for", "2s", "--every", "200ms", "--answer", answer, &address]);
        assert_eq!(output.status.code(), Some(code), "{answer}: {}", both(&output));
    }
}

/// The answer of a server that refuses an upgrade quotes what it got, and the load quotes that.
#[test]
fn an_upgrade_has_the_path_the_name_and_the_headers_that_were_asked_for() {
    let lab = Lab::new("headers");
    let address = serve(|mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let told = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or("?").trim().to_owned()
        };
        let body =
            [told("GET "), told("Host:"), told("Authorization:"), told("Sec-WebSocket-Protocol:")].join("|");
        let answer = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes());
    });
    let url = format!("ws://localhost:{}/room/{{user}}", address.port());
    let more = ["--header", "Authorization: Bearer {n}", "--subprotocol", "chat.v2,chat.v1"];
    let output = lab.run(&[&["load", "--conns", "1", "--for", "3s", &url][..], &more].concat());
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = lossy(&output.stderr);
    let host = format!("localhost:{}", address.port());
    let quoted = format!("`/room/user-1 HTTP/1.1|{host}|Bearer 1|chat.v2, chat.v1`");
    assert!(said.contains(&quoted) && said.contains("does it expect a --header"), "{}", both(&output));
    assert!(said.contains("succeeded (1 refused); the first: "), "counts of nothing are left out: {said}");

    let file = lab.home().join("mine.yaml");
    fs::write(&file, "name: mine\nprotocol: ws\npath: /\nheaders: { host: chat.example }").expect("written");
    let file = file.to_str().expect("UTF-8");
    let output = lab.run(&["load", file, "--conns", "1", "--for", "3s", &host]);
    assert!(lossy(&output.stderr).contains("|chat.example|"), "the scenario's own host: {}", both(&output));
}

#[test]
fn a_load_of_somebody_elses_server_shows_nothing_that_nobody_knows() {
    let lab = Lab::new("nameless");
    let echo = foreign(|asked| Some(asked.to_vec()));
    let junit = lab.home().join("junit.xml");
    let junit = junit.to_str().expect("UTF-8");
    let picture = lab.home().join("run.svg");
    let (address, svg) = (echo.to_string(), picture.to_str().expect("UTF-8"));
    let arguments = ["load", "--conns", "2", "--for", "1500ms", "--junit", junit, "--svg", svg, &address];
    let output = lab.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(!lossy(&output.stdout).contains("unknown"), "no replica has a name: {}", both(&output));
    let drawn = fs::read_to_string(&picture).expect("a picture");
    assert!(drawn.contains("<svg") && !drawn.contains("unknown"), "{drawn}");
    let cases = fs::read_to_string(junit).expect("test cases");
    let long =
        lab.run(&["load", "--conns", "1", "--for", "100ms", "--payload", &"a".repeat(9_000), &address]);
    assert!(both(&long).contains("… (9000 bytes)") && both(&long).len() < 9_000, "{}", both(&long));
    assert!(cases.contains("tests=\"1\"") && cases.contains("name=\"the run\""), "{cases}");
}

#[test]
fn mistakes_are_named_before_the_run() {
    let lab = Lab::new("mistakes");
    let file = lab.home().join("mine.yaml");
    let scenario = |text: &str| fs::write(&file, text).expect("written");
    let path = file.to_str().expect("UTF-8");
    scenario("name: x\nphases: { hold: { for: 10s } }\nactions: [{ at: 11s, do: stop, what: kafka }]");
    let late = lab.run(&["load", path]);
    scenario("name: x\nactions: [{ at: 1s, do: stop, what: kafak }]");
    let unknown = lab.run(&["load", path]);
    scenario("name: x\nactions: [{ at: 1s, do: stop, what: kafka }]");
    let address = lab.run(&["load", path, "127.0.0.1:1"]);
    for (output, expected) in [
        (late, "mine.yaml:3:13: actions[0].at: 11s: expected a time before the load's end, 10s after"),
        (unknown, "did you mean `kafka`?"),
        (address, "acts on a platform, but 127.0.0.1:1 is an address"),
        (lab.run(&["load", "localhost"]), "the port is missing; expected host:port, such as localhost:10000"),
        (lab.run(&["load", "--svg", "/dev/null/x.svg", "127.0.0.1:1"]), "cannot write /dev/null/x.svg"),
        (lab.run(&["load", "--payload", r"\q", "127.0.0.1:1"]), "is not an escape"),
        (lab.run(&["load", "--conns", "many", "127.0.0.1:1"]), "`many` is not a whole number"),
        // A typed flag is named as it was typed, not as the key of a file.
        (lab.run(&["load", "--conns", "0", "127.0.0.1:1"]), "playctl: --conns 0: expected between 1 and"),
        (lab.run(&["load", "--hold", "0s", "127.0.0.1:1"]), "playctl: --hold 0s: expected between 1ms"),
        (
            lab.run(&["load", "--send", "9/s", "127.0.0.1:1"]),
            "playctl: --send 9/s for 30s: expected protocol udp",
        ),
        (
            lab.run(&["load", "--payload", "", "127.0.0.1:1"]),
            "playctl: --payload ``: expected at least one byte",
        ),
        (
            lab.run(&["load", "--header", "Upgrade: x", "ws://127.0.0.1:1"]),
            "playctl: --header Upgrade: expected",
        ),
        (lab.run(&["load", "--header", "X", "ws://127.0.0.1:1"]), "expected NAME: VALUE"),
        (
            lab.run(&["load", "--subprotocol", "x", "127.0.0.1:1"]),
            "playctl: --subprotocol x: expected protocol ws",
        ),
        (lab.run(&["load", "--path", "/a", "ws://127.0.0.1:1/b"]), "its path is /b, and another one is /a"),
        (lab.run(&["load", "wss://127.0.0.1:1/b"]), "does not speak TLS"),
        (lab.run(&["load", "127.0.0.1:99999"]), "`99999` is not a port"),
        (lab.run(&["load", "--svg", "-", "127.0.0.1:1"]), "standard output has the time line"),
    ] {
        assert_eq!(output.status.code(), Some(2), "{}", both(&output));
        assert!(lossy(&output.stderr).contains(expected), "{expected}: {}", both(&output));
    }
}

/// Three replicas and a thousand clients, each of which gets each broadcast once; the verdicts as test cases.
#[test]
fn broadcasts_reach_everybody_once() {
    let lab = Lab::new("broadcast");
    lab.up(&[]);
    let unfit = lab.run(&["load", "broadcast"]);
    assert_eq!(unfit.status.code(), Some(2), "{}", both(&unfit));
    let command =
        format!("playctl --platform {} up --set tcp.autoscaling=null --set tcp.replicas=3", lab.platform);
    assert!(lossy(&unfit.stderr).contains(&command), "{}", both(&unfit));
    lab.up(&["--set", "tcp.autoscaling=null", "--set", "tcp.replicas=3"]);
    eventually(SOON, || if lab.ready() == 3 { Ok(()) } else { Err(lab.replicas()) })
        .expect("three are ready");
    let junit = lab.home().join("junit.xml");
    let junit = junit.to_str().expect("UTF-8");
    // Without figures of this machine.
    let (file, figure) = (lab.home().join("broadcast.yaml"), "  - broadcast max <= 1s\n");
    let scenario = include_str!("../../infrastructure/scenarios/broadcast.yaml");
    assert!(scenario.contains(figure), "{scenario}");
    fs::write(&file, scenario.replace(figure, "")).expect("written");
    let scenario = file.to_str().expect("UTF-8");
    let output = lab.run(&["load", scenario, "--conns", "90", "--junit", junit, "--output", "jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let events = events(&output.stdout);
    let totals = &summary(&events)["totals"];
    assert_eq!(
        (&totals["broadcasts_received"], &totals["broadcasts_due"]),
        (&270.into(), &270.into()),
        "{totals}"
    );
    assert_eq!(of_type(&events, "ActionTaken").len(), 3);
    let xml = fs::read_to_string(junit).expect("written");
    assert!(
        xml.contains("name=\"broadcasts-received &gt;= 270\">") && xml.contains("failures=\"0\""),
        "{xml}"
    );
}

#[test]
fn a_drain_and_a_kafka_outage_lose_no_connection() {
    let lab = Lab::new("faults");
    lab.up(&["--set", "tcp.autoscaling=null", "--set", "tcp.replicas=2"]);
    lab.survives_faults();
}

/// A scenario's actions are carried out and reported as events; an impossible one fails the run.
#[test]
fn a_scenario_acts_on_the_platform() {
    let lab = Lab::new("acts");
    lab.up(&["--set", "tcp.autoscaling=null", "--set", "tcp.replicas=2"]);
    eventually(SOON, || if lab.ready() == 2 { Ok(()) } else { Err(lab.replicas()) }).expect("two are ready");
    let file = lab.home().join("acts.yaml");
    let text = "name: acts
phases: { ramp: { connections: 20, rate: 1ms }, hold: { after-ramp: 10s } }
actions:
  - { when: ramp done, after: 1s, do: kill, what: tcp/fullest }
  - { when: tcp/any crashed, after: 1s, do: scale, what: tcp, to: 3 }
expectations: [connected >= 20, stayed-away = 0";
    fs::write(&file, format!("{text}]\n")).expect("written");
    let output = lab.run(&["load", file.to_str().expect("UTF-8"), "--output", "jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let events = events(&output.stdout);
    let actions: Vec<&str> =
        of_type(&events, "ActionTaken").iter().filter_map(|event| event["action"].as_str()).collect();
    assert_eq!(actions, ["kill tcp/fullest", "scale tcp to 3"]);
    assert!(of_type(&events, "ActionTaken").iter().all(|event| event["failed"] == false), "{actions:?}");
    assert_eq!(of_type(&events, "PodCrashed").len(), 1);
    assert!(summary(&events)["totals"]["lost"].as_u64() > Some(0), "a kill without notice loses connections");
    // The platform is acted on after the load, too.
    let text = "name: afterwards
phases: { ramp: { connections: 1 }, hold: { for: 1s }, wait: { at-most: 5m } }
actions:
  - { when: load closed, after: 1s, do: scale, what: tcp, to: 2 }
  - { when: tcp/any gone, do: scale, what: tcp, to: 3 }";
    fs::write(&file, text).expect("written");
    let output = lab.run(&["load", file.to_str().expect("UTF-8"), "--output", "jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let events = self::events(&output.stdout);
    let outcomes: Vec<&str> =
        of_type(&events, "ActionTaken").iter().filter_map(|event| event["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["tcp 3 → 2", "tcp 2 → 3"]);
    // For an event that never happens, the waiting action is named, and the run fails.
    let text = "name: never
phases: { ramp: { connections: 1 }, hold: { for: 1s } }
actions: [{ when: tcp/any draining, do: kill, what: tcp }]";
    fs::write(&file, text).expect("written");
    let [run, now, later] = ["run.jsonl", "now.xml", "later.xml"].map(|name| lab.home().join(name));
    let [scenario, run_path, now_path, later_path] =
        [&file, &run, &now, &later].map(|path| path.to_str().expect("UTF-8"));
    let output = lab.run(&["load", scenario, "--junit", now_path, "--output", "jsonl"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("never happened"), "{}", both(&output));
    // The recording contains it, too.
    fs::write(&run, &output.stdout).expect("written");
    lab.ok(&["report", run_path, "--junit", later_path]);
    let [now, later] = [now, later].map(|file| fs::read_to_string(file).expect("written"));
    assert!(now.contains("never happened") && now == later, "{now}\n{later}");
}

#[test]
fn a_refused_connection_is_a_failure_with_the_address() {
    let lab = Lab::new("nobody");
    for (protocol, address) in [("", fixtures::nobody()), ("udp://", fixtures::nobody_for_datagrams())] {
        let address = address.to_string();
        let target = format!("{protocol}{address}");
        let output =
            lab.run(&["load", "--conns", "5", "--rate", "1ms", "--every", "100ms", "--for", "1s", &target]);
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        let said = lossy(&output.stderr);
        assert!(said.contains(&address) && said.contains("does a server listen there?"), "{said}");
    }
}

#[test]
fn a_server_that_refuses_all_streams_is_told_from_no_server() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let lab = Lab::new("streams-refused");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let head =
                BufReader::new(&client).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let _ = head.count();
            let event =
                "data:{\"host\":\"h\",\"message\":\"Unable to acquire lock\",\"timestamp\":\"t\"}\n\n";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{event}",
                event.len()
            );
            let _ = (&client).write_all(answer.as_bytes());
        }
    });
    let output = lab.run(&[
        "load",
        "--protocol",
        "sse",
        "--conns",
        "3",
        "--rate",
        "1ms",
        "--for",
        "1s",
        "--no-reconnect",
        &address,
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains(&format!("{address} answers and refused all 3 streams")), "{said}");
    // An earlier load may have left the locks.
    assert!(said.contains("LOCK_TTL (60 s)") && said.contains("wait for a minute"), "{said}");
}

#[test]
fn a_server_that_refuses_all_upgrades_is_told_from_no_server() {
    let lab = Lab::new("upgrades-nothing");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addresses = [&silent, &other].map(|listener| listener.local_addr().expect("an address").to_string());
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    for address in addresses {
        let target = format!("ws://{address}");
        let output = lab.run(&["load", "--conns", "5", "--rate", "1ms", "--for", "1s", &target]);
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        let said = lossy(&output.stderr);
        assert!(said.contains("does a WebSocket server listen there, and is this its --path?"), "{said}");
    }
}

#[test]
fn colours_only_where_asked_for() {
    let lab = Lab::new("colour");
    // The time line of a bring-up is on stderr.
    let up = lab.run(&["up", "--color", "always"]);
    let said = lossy(&up.stderr);
    assert!(said.contains('\u{1b}') && !said.contains("\\x1b"), "colours, not their codes: {said}");
    assert!(!lossy(&lab.run(&["up", "--nodes", "3"]).stderr).contains("x1b"));
    let base = ["load", "--conns", "2", "--rate", "1ms", "--for", "1s"];
    assert!(!lab.ok(&base).contains('\u{1b}'));
    assert!(lab.ok(&[&base[..], &["--color", "always"]].concat()).contains('\u{1b}'));
}

#[test]
fn ctrl_c_ends_a_load_with_its_results_so_far() {
    let lab = Lab::new("ctrlcload");
    lab.up(&[]);
    let load = lab.spawn(&["load", "--conns", "50", "--rate", "1ms", "--for", "300s", "--output", "jsonl"]);
    let load = load.until_type("RampDone");
    load.signal(Signal::INT);
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    let events = events(&output.stdout);
    assert_eq!(summary(&events)["interrupted"], true);
    assert_eq!(summary(&events)["totals"]["connected_first"], 50);
}

#[test]
fn ctrl_c_ends_the_wait_after_a_load() {
    let lab = Lab::new("ctrlcwait");
    lab.up(&[]);
    let file = lab.home().join("waits.yaml");
    let text = "name: waits\nservice: tcp\n\
                phases: { ramp: { connections: 2 }, hold: { for: 1s }, wait: { at-most: 10m } }\n\
                actions: [{ when: \"tcp 1 → 2\", do: kill, what: tcp/fullest }]\n";
    fs::write(&file, text).expect("written");
    let load = lab.spawn(&["load", file.to_str().expect("UTF-8"), "--output", "jsonl"]);
    let load = load.until_type("LoadClosed");
    load.signal(Signal::INT);
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    let events = events(&output.stdout);
    assert_eq!(summary(&events)["interrupted"], true);
    assert_eq!(summary(&events)["totals"]["connected_first"], 2);
}

#[test]
fn ctrl_c_or_a_closed_terminal_during_up_or_demo_leaves_nothing_behind() {
    for (arguments, signal) in
        [(&["up", "--output", "json"][..], Signal::INT), (&["demo"], Signal::INT), (&["demo"], Signal::HUP)]
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
        // An `up` that finished before the signal has done its work.
        let code = output.status.code();
        assert!(
            code == Some(130) || (code == Some(0) && arguments[0] == "up"),
            "{arguments:?}, {signal:?}: {}",
            both(&output)
        );
        if code == Some(130) {
            lab.wait_for_no_process(SOON);
            if arguments[0] == "up" {
                let failure: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
                assert_eq!(failure["kind"], "interrupted", "{failure}");
            }
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
        "10m",
        // Long enough for a busy machine; a lost answer never comes.
        "--timeout",
        "30s",
        "--output",
        "jsonl",
    ]);
    let load = load.until_type("RampDone");
    lab.ok(&["scale", "tcp", "1"]);
    let load = load.until("all on the replica that is left", |event| {
        let on = event["by_replica"].as_object();
        on.is_some_and(|on| on.len() == 1 && on.values().all(|count| *count == 2000))
    });
    load.signal(Signal::INT);
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
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
    let gone = eventually(SOON, || if lab.replicas().len() == 1 { Ok(()) } else { Err(lab.replicas()) });
    assert_eq!(gone, Ok(()));
}

/// Datagrams through the gateways while one replica is added and another is removed: none is lost, duplicated or
/// reordered.
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
        "10m",
        // Long enough for a busy machine; a lost datagram is never answered.
        "--timeout",
        "30s",
        "--output",
        "jsonl",
    ]);
    let load = load.until_type("RampDone");
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
    let load = load
        .until("a replica that drains", |event| event["type"] == "PodDraining" && event["service"] == "udp");
    replicas(2).expect("one drains and goes");
    let load = load.until("datagrams on the way", |event| {
        event["type"] == "LoadTick" && event["totals"]["messages_sent"].as_u64() > Some(1_000)
    });
    load.signal(Signal::INT);
    let output = load.finish(SOON);
    assert_eq!(output.status.code(), Some(130), "{}", both(&output));
    let events = events(&output.stdout);
    let summary = summary(&events);
    let totals = &summary["totals"];
    assert!(totals["messages_sent"].as_u64() > Some(1_000), "{totals}");
    assert_eq!(totals["messages_answered"], totals["messages_sent"], "{totals}");
    for none in ["message_timeouts", "messages_duplicated", "messages_wrong", "messages_stray", "refused"] {
        assert_eq!(totals[none], 0, "{none}: {totals}");
    }
    assert_eq!(summary["plan"]["protocol"], "udp");
}

/// In a pod it is the first process, which the kernel never ends for an unhandled signal.
#[test]
fn an_idle_worker_in_a_pod_ends_cleanly_on_a_signal() {
    let lab = Lab::new("worker");
    let mut command = lab.command(&["load-worker", "--away"]);
    let mut worker = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("playctl starts");
    let mut log = std::io::BufReader::new(worker.stdout.take().expect("a pipe"));
    let mut first = String::new();
    std::io::BufRead::read_line(&mut log, &mut first).expect("a line");
    assert!(first.starts_with("playctl-load 0 0 1 "), "{first}");
    // The end of its input does not end it.
    drop(worker.stdin.take());
    let pid = rustix::process::Pid::from_child(&worker);
    rustix::process::kill_process(pid, Signal::TERM).expect("it is there");
    let ended = eventually(SOON, || worker.try_wait().expect("a state").ok_or("it runs"));
    assert_eq!(ended.expect("it ends").code(), Some(0));
}
