//! Streams of events on this machine's platform: users and profiles, replicas, gateway, locks, and the metric of
//! streams.

#[path = "support/services.rs"]
mod services;
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use services::{address, ask, ready, service};
use support::{Lab, eventually, lossy};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);

/// Only the preset, with short locks, quick drains, and an autoscaler that looks every two seconds.
const STREAMS: [&str; 9] = [
    "-f",
    "streams",
    "--set",
    "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false",
    "--set",
    "stream.env.SIGTERM_TIMEOUT=1,stream.env.DRAIN_SPREAD=1,stream.terminationGracePeriodSeconds=20",
    "--set",
    "stream.env.LOCK_TTL=6,stream.env.LOCK_REFRESH=1,metrics.scrapeInterval=1s,metrics.syncPeriod=2s",
    "--set=metrics.window=5s",
];

/// The same with two replicas, as the scenario needs.
const CHURN: [&str; 7] = [
    "-f",
    "streams",
    "--set",
    "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false,directory.enabled=false",
    "--set",
    "stream.autoscaling=null,stream.replicas=2,stream.env.LOCK_TTL=6,stream.env.LOCK_REFRESH=1",
    "--set=stream.env.SIGTERM_TIMEOUT=0,stream.env.DRAIN_SPREAD=0,stream.terminationGracePeriodSeconds=20",
];

/// The balancer owns the number of replicas, looks every second, and rebalances every three.
const BALANCED: [&str; 9] = [
    "-f",
    "streams",
    "--set",
    "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false,directory.enabled=false",
    "--set",
    "stream.autoscaling=null,stream.env.RETRY_AFTER=1,stream.env.SIGTERM_TIMEOUT=0,stream.env.DRAIN_SPREAD=0",
    "--set=stream.terminationGracePeriodSeconds=20",
    "--set",
    "balancer.enabled=true,balancer.env.KUBERNETES_APP_LABEL=stream,balancer.env.UTILIZATION_INTERVAL=1,balancer.env.BALANCE_INTERVAL=3",
];

/// A user and a profile that belong together.
fn bind(profiles: SocketAddr, number: u8) -> (String, String) {
    let id = |kind: u8| format!("0000000{kind}-0000-4000-8000-0000000000{number:02}");
    let (user, profile) = (id(1), id(2));
    let body = format!(r#"{{"users":["{user}"]}}"#);
    let answer = ask(profiles, "PUT", &format!("/profiles/{profile}"), &body).expect("profiles answers");
    assert_eq!(answer.0, 200, "{}", answer.1);
    (user, profile)
}

/// The start of a stream: its comment, and the beginning of the first event.
fn first_words(
    gateway: SocketAddr,
    (user, profile): &(String, String),
) -> std::io::Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect_timeout(&gateway, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET /stream/{user}/{profile} HTTP/1.1\r\nHost: {gateway}\r\n\r\n")?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut text = String::new();
    while !text.contains("\ndata:") {
        let mut line = Vec::new();
        // The megabyte after it is not read.
        if reader.by_ref().take(200).read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(&String::from_utf8_lossy(&line));
    }
    Ok((stream, text))
}

fn is_refused(text: &str) -> bool {
    text.contains("Unable to acquire lock")
}

#[test]
fn streams_scale_their_service_and_a_killed_replica_frees_its_pairs() {
    let lab = Lab::new("streams");
    lab.up(&STREAMS);
    let gateway = address(&service(&lab, "stream")["endpoint"]);
    let profiles = address(&service(&lab, "profiles")["endpoint"]);
    assert_eq!(gateway.port(), 8090);
    assert_eq!(ask(gateway, "GET", "/", "").expect("an answer").1, "Use /index/userId/profileId/");

    // The scenario on this quick platform: a second replica for six streams, and the seventh gets no lock.
    let result = lab.json(&["load", "stream-6", "--rate", "100ms", "--hold", "12s"]);
    let run = &result["summary"];
    let totals = &run["totals"];
    assert_eq!((&totals["streams_refused"], &totals["lost"]), (&Value::from(1), &Value::from(0)), "{run}");
    let judged = run["expectations"].as_array().expect("expectations");
    assert!(!judged.is_empty() && judged.iter().all(|one| one["met"] == true), "{judged:#?}");
    assert!(!ready(&lab, "stream").is_empty());

    // An open pair is refused, and free again within its lock's TTL when its replica is killed.
    let pair = bind(profiles, 7);
    let (_open, words) = first_words(gateway, &pair).expect("a stream");
    assert!(!is_refused(&words), "{words}");
    assert!(is_refused(&first_words(gateway, &pair).expect("an answer").1));
    // The same port lists what is open.
    let open = ask(gateway, "GET", &format!("/main/login/{}", pair.0), "").expect("directory answers");
    assert_eq!(open, (200, pair.1.clone()));
    let short = lab.run(&["drain", "stream-0"]);
    assert_eq!(short.status.code(), Some(2));
    assert!(
        lossy(&short.stderr).contains("the replica is written stream/stream-0"),
        "{}",
        lossy(&short.stderr)
    );
    lab.ok(&["kill", "stream/fullest"]);
    eventually(SOON, || match first_words(gateway, &pair) {
        Ok((_, words)) if !is_refused(&words) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("the pair is free again");

    let status = lab.status();
    let redis = status["parts"].as_array().expect("parts").iter().find(|part| part["name"] == "redis");
    assert_eq!(redis.expect("a Redis")["origin"], "embedded");
}

#[test]
fn pairs_that_open_and_close_at_random_are_never_held_by_two() {
    let lab = Lab::new("stream-churn");
    lab.up(&CHURN);
    eventually(SOON, || match ready(&lab, "stream").len() {
        2 => Ok(()),
        other => Err(other),
    })
    .expect("two replicas");
    let result = lab.json(&["load", "stream-churn", "--conns", "80", "--hold", "30s"]);
    let run = &result["summary"];
    let judged = run["expectations"].as_array().expect("expectations");
    assert!(judged.iter().all(|one| one["met"] == true), "{judged:#?}");
    assert!(judged.iter().any(|one| one["expectation"] == "pairs-held-twice = 0"), "{judged:#?}");
    // Forty pairs, each of which was opened repeatedly.
    assert!(run["totals"]["connected"].as_u64() > Some(60), "{run}");
    for replica in ready(&lab, "stream") {
        let port = u16::try_from(replica["admin_port"].as_u64().expect("a port")).expect("a port");
        let admin = SocketAddr::new(address(&replica["address"]).ip(), port);
        assert!(fixtures::metric(admin, "stream_opened_total") > 0, "both take part: {replica}");
    }
}

#[test]
fn the_balancer_brings_a_second_replica_and_moves_streams_to_it() {
    let lab = Lab::new("stream-balancer");
    lab.up(&BALANCED);
    // It shows all events, however late it starts.
    let watch = lab.spawn(&["watch", "--from-start"]);
    let file = lab.home().join("nine.yaml");
    // Clients that are sent away return when the server says.
    let scenario = "name: nine\nservice: stream\nprotocol: sse\n\
                    phases: { ramp: { connections: 9, rate: 1ms }, hold: { for: 10m } }\n";
    std::fs::write(&file, scenario).expect("written");
    let load = lab.spawn(&["load", file.to_str().expect("UTF-8")]);
    let open = || -> Result<Vec<u64>, String> {
        let of = |replica: &Value| {
            let (_, text) = ask(address(&replica["address"]), "GET", "/metrics", "")
                .map_err(|error| error.to_string())?;
            let users = text.trim().strip_prefix("users ").and_then(|users| users.parse().ok());
            users.ok_or(text)
        };
        let mut users = ready(&lab, "stream").iter().map(of).collect::<Result<Vec<u64>, String>>()?;
        users.sort_unstable();
        Ok(users)
    };
    // 9 of 10 are 90 %: a second replica. Then 9 of 20 are 45 %, and a replica above 55 % sheds down to 5.
    eventually(2 * SOON, || match open()? {
        users if users == [4, 5] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("two replicas have four and five");
    load.signal(rustix::process::Signal::INT);
    let _ = load.finish(SOON);
    watch.signal(rustix::process::Signal::INT);
    let seen = lossy(&watch.finish(SOON).stdout);
    for part in ["9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers", "% overall + 10 %: sheds"]
    {
        assert!(seen.contains(part), "{part}: {seen}");
    }
}
