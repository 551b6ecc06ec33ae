//! Scrapes, windows, and the autoscalers' loop.

use std::time::Duration;

use controller::{Input, MetricAnswer, Sample, Usage};

use crate::bench::{Bench, strings};

const SCALED: &str = "kafka.enabled=false,memcached.enabled=false";
const PROMETHEUS: &str = "metrics.source=prometheus,prometheus.enabled=true,prometheus.url=http://p:9090";

fn sample(connections: u64) -> Sample {
    let usage = Usage { cpu: Duration::ZERO, memory_bytes: 1_000_000 };
    Sample { connections: Some(connections), packets: None, sessions: None, usage: Some(usage) }
}

fn load(bench: &mut Bench, connections: &[u64]) {
    let named = connections.iter().enumerate();
    bench.samples = named.map(|(ordinal, count)| (format!("tcp-{ordinal}"), sample(*count))).collect();
}

#[test]
fn scrapes_and_syncs_begin_when_the_platform_is_up_and_keep_their_intervals() {
    let mut bench = Bench::new();
    bench.sick.insert("tcp-0".to_owned());
    bench.begin_apply(&[SCALED], 1);
    bench.seconds(20);
    assert_eq!(bench.controller.counts().scrapes, 0);
    assert_eq!(bench.snapshot().next_sync, None);
    assert!(!bench.controller.came_up());
    bench.sick.clear();
    bench.seconds(1);
    let up = bench.now;
    let first = bench.snapshot().next_sync.unwrap();
    assert!(bench.controller.came_up());
    bench.lines();
    let mut scrapes = Vec::new();
    while bench.now.since(up) < Duration::from_secs(40) {
        bench.pass(Duration::from_millis(500));
        if !bench.lines_with(&["scrape"]).is_empty() {
            scrapes.push(bench.now.since(up).as_secs());
        }
    }
    assert_eq!(scrapes.len(), 5, "{scrapes:?}");
    assert!(scrapes.windows(2).all(|pair| pair[1] - pair[0] == 7), "{scrapes:?}");
    assert_eq!(bench.controller.counts().syncs, 2);
    let third = bench.snapshot().next_sync.unwrap();
    assert_eq!(third.duration_since(first).as_secs(), 30);
}

#[test]
fn replicas_that_drain_do_not_count_towards_a_crossing() {
    let mut bench = Bench::up(&[SCALED, "tcp.autoscaling.minReplicas=2"]);
    bench.seconds(20);
    assert_eq!(bench.names("tcp").len(), 2);
    bench.stubborn.insert("tcp-1".to_owned());
    bench.drain("tcp/tcp-1").unwrap();
    load(&mut bench, &[1_000, 20_000]);
    bench.lines();
    bench.seconds(7);
    assert_eq!(bench.lines_with(&["MetricCrossed"]), [""; 0]);
}

#[test]
fn too_many_connections_add_a_replica_at_the_next_sync_and_never_beyond_the_maximum() {
    let mut bench = Bench::up(&[SCALED, "tcp.autoscaling.maxReplicas=3"]);
    load(&mut bench, &[7_000, 7_000, 7_000, 7_000]);
    bench.seconds(7);
    let crossed = bench.lines_with(&["MetricCrossed"]);
    assert!(crossed[0].contains("average_milli: 7000000, target_milli: 5000000, above: true"), "{crossed:?}");
    bench.seconds(120);
    let desired = bench.lines_with(&["desired"]);
    assert_eq!(desired, ["tcp desired 1 → 2", "tcp desired 2 → 3"]);
    let autoscaler = bench.service("tcp").autoscaler.unwrap();
    assert_eq!((autoscaler.min, autoscaler.max, autoscaler.current), (1, 3, 3));
}

#[test]
fn fewer_connections_remove_replicas_down_to_the_minimum_once_nothing_holds_them() {
    let mut bench = Bench::up(&[SCALED]);
    bench.scale("tcp", 3).unwrap();
    load(&mut bench, &[0, 0, 0]);
    bench.seconds(400);
    assert_eq!(bench.lines_with(&["desired"]), ["tcp desired 3 → 2", "tcp desired 2 → 1"]);
    assert!(!bench.service("tcp").set_by_hand, "the autoscaler has changed it");
}

#[test]
fn the_window_remembers_the_most_connections_of_a_minute() {
    let mut bench = Bench::up(&[SCALED, "metrics.syncPeriod=1h"]);
    load(&mut bench, &[9_000]);
    bench.seconds(7);
    load(&mut bench, &[10]);
    bench.seconds(59);
    let crossed = bench.lines_with(&["MetricCrossed"]);
    assert_eq!(crossed.len(), 1, "{crossed:?}");
    bench.seconds(5);
    let crossed = bench.lines_with(&["MetricCrossed"]);
    assert!(crossed.len() == 1 && crossed[0].contains("above: false"), "{crossed:?}");
    // A shorter window forgets sooner.
    load(&mut bench, &[9_000]);
    bench.seconds(7);
    load(&mut bench, &[10]);
    bench.apply(&[SCALED, "metrics.syncPeriod=1h,metrics.window=10s"], 1).unwrap();
    bench.seconds(14);
    assert_eq!(bench.lines_with(&["MetricCrossed"]).len(), 2);
}

#[test]
fn a_scrape_is_reported_for_each_replica_with_a_value() {
    let mut bench = Bench::up(&[SCALED, "tcp.autoscaling=null,tcp.replicas=2"]);
    load(&mut bench, &[3]);
    bench.seconds(7);
    let told = bench.lines_with(&["MetricScraped"]);
    let line = |metric: &str, value: i64| {
        format!(
            "MetricScraped {{ service: \"tcp\", metric: \"{metric}\", values_milli: {{\"tcp-0\": {value}}} }}"
        )
    };
    assert_eq!(told, [line("tcp_state_established", 3_000), line("memory", 1_000_000_000)]);
    assert_eq!(bench.service("tcp").replicas[0].connections, Some(3));
    assert_eq!(bench.service("tcp").replicas[1].connections, None);
    // CPU is a rate, so only the second scrape has it.
    let used = Usage { cpu: Duration::from_millis(2_800), memory_bytes: 1_000_000 };
    bench.samples.insert("tcp-0".to_owned(), Sample { usage: Some(used), ..sample(3) });
    bench.seconds(7);
    assert!(bench.lines_with(&["MetricScraped"]).contains(&line("cpu", 400)));
    assert_eq!(bench.service("tcp").replicas[0].cpu_cores, Some(0.4));
    // A dead replica has no values until its next run is scraped.
    bench.samples.clear();
    bench.dies("tcp-0");
    assert_eq!(bench.service("tcp").replicas[0].memory_bytes, None);
}

#[test]
fn a_repeated_scrape_counts_once_and_a_late_one_is_not_made_up_for() {
    let mut bench = Bench::up(&[SCALED]);
    bench.seconds(7);
    assert_eq!(bench.controller.counts().scrapes, 1);
    bench.tell(Input::Scraped { samples: Vec::new() });
    assert_eq!(bench.controller.counts().scrapes, 1);
    // The whole machine sleeps for a minute.
    bench.now = bench.now + Duration::from_mins(1);
    bench.lines();
    bench.tell(Input::Tick);
    bench.seconds(6);
    assert!(bench.lines_with(&["scrape"]).len() <= 2);
}

#[test]
fn packets_are_a_rate_over_the_window() {
    let mut bench = Bench::up(&[
        "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false,udp.enabled=true",
        "udp.autoscaling.maxReplicas=2",
    ]);
    let mut lines = Vec::new();
    for second in (7..70).step_by(7) {
        let packets = Some((bench.now + Duration::from_secs(7), second * 6_000));
        let sample = Sample { connections: None, packets, sessions: None, usage: None };
        bench.samples.insert("udp-0".to_owned(), sample);
        bench.seconds(7);
        lines.extend(bench.lines());
    }
    let rate = bench.service("udp").replicas[0].packets_per_second.unwrap();
    assert!((rate - 6_000.0).abs() < 700.0, "{rate}");
    assert_eq!(bench.service("udp").replicas[0].packets_received, Some(63 * 6_000));
    let told = lines.iter().rfind(|line| line.starts_with("MetricScraped")).unwrap();
    let milli = format!("values_milli: {{\"udp-0\": {}}}", (rate * 1000.0).round());
    assert!(told.contains("udp_packets_received") && told.contains(&milli), "{told}");
    let desired: Vec<&String> = lines.iter().filter(|line| line.contains("desired 1 →")).collect();
    assert_eq!(desired, ["udp desired 1 → 2"]);
}

#[test]
fn sessions_come_from_the_last_scrape_and_not_from_the_windows_maximum() {
    let mut bench = Bench::up(&[
        "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false,ws.enabled=true",
        "ws.autoscaling.maxReplicas=2",
    ]);
    let scrape = |bench: &mut Bench, sessions| {
        let sample = Sample { connections: Some(100), packets: None, sessions, usage: None };
        bench.samples.insert("ws-0".to_owned(), sample);
        bench.seconds(7);
    };
    // There are many at the scrape before the sync, and few at the sync.
    scrape(&mut bench, Some(90));
    scrape(&mut bench, Some(5));
    let scraped = bench.lines_with(&["MetricScraped"]);
    assert!(scraped.iter().any(|line| line.contains("ws_sessions") && line.contains("5000")), "{scraped:?}");
    bench.seconds(1);
    assert_eq!(bench.lines_with(&["desired"]), strings(&[]), "connections do not count, nor does the past");
    scrape(&mut bench, Some(8));
    scrape(&mut bench, Some(8));
    bench.seconds(1);
    assert_eq!(bench.lines_with(&["desired"]), ["ws desired 1 → 2"]);
    // A replica that no longer answers has no known sessions.
    scrape(&mut bench, None);
    assert!(!bench.lines_with(&["MetricScraped"]).iter().any(|line| line.contains("ws_sessions")));
}

#[test]
fn prometheus_is_asked_about_every_replica_and_its_answer_decides() {
    let mut bench = Bench::up(&[SCALED, PROMETHEUS]);
    bench.answers = None;
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    load(&mut bench, &[9_000, 9_000]);
    bench.seconds(15);
    let asked = bench.lines_with(&["ask"]);
    assert_eq!(asked, [r#"ask tcp tcp_state_established ["tcp-0", "tcp-1"]"#], "those that drain too");
    bench.seconds(60);
    assert_eq!(bench.lines_with(&["ask", "desired"]), Vec::<String>::new(), "one question at a time");
    let answer = |value| MetricAnswer {
        service: "tcp".to_owned(),
        metric: "tcp_state_established".to_owned(),
        values: Ok([("tcp-1".to_owned(), value)].into()),
    };
    bench.answers = Some(vec![answer(6_000_000)]);
    bench.tell(Input::MetricsAnswered { answers: vec![answer(7_000_000)] });
    assert_eq!(bench.lines_with(&["desired"]), ["tcp desired 1 → 2"]);
    // An answer without a query changes nothing.
    let syncs = bench.controller.counts().syncs;
    bench.tell(Input::MetricsAnswered { answers: Vec::new() });
    assert_eq!(bench.controller.counts().syncs, syncs);
}

#[test]
fn a_missing_value_of_prometheus_and_its_return_are_reported_once_each() {
    let mut bench = Bench::up(&[SCALED, PROMETHEUS]);
    let answer = |values| MetricAnswer {
        service: "tcp".to_owned(),
        metric: "tcp_state_established".to_owned(),
        values,
    };
    bench.answers = Some(vec![answer(Err("connection refused".to_owned()))]);
    bench.seconds(45);
    let warning = "! tcp: tcp_state_established is unavailable: connection refused";
    assert_eq!(bench.lines_with(&["!"]), [warning]);
    assert!(bench.controller.counts().metric_failures >= 3);
    bench.answers = Some(vec![answer(Ok([("tcp-0".to_owned(), 1_000)].into()))]);
    bench.seconds(30);
    assert_eq!(bench.lines_with(&["!"]), ["! tcp: tcp_state_established is available again"]);
}

#[test]
fn a_failure_of_one_source_says_nothing_about_another() {
    let mut bench = Bench::up(&[SCALED, PROMETHEUS]);
    let answer = |values| MetricAnswer {
        service: "tcp".to_owned(),
        metric: "tcp_state_established".to_owned(),
        values,
    };
    let refused = || Some(vec![answer(Err("connection refused".to_owned()))]);
    let warning = "! tcp: tcp_state_established is unavailable: connection refused";
    bench.answers = refused();
    bench.seconds(45);
    assert_eq!(bench.lines_with(&["!"]), [warning]);
    // The kernel is the source meanwhile; a failure after the return of Prometheus counts as a new one.
    bench.apply(&[SCALED], 1).unwrap();
    bench.seconds(45);
    bench.apply(&[SCALED, PROMETHEUS], 1).unwrap();
    bench.seconds(45);
    assert_eq!(bench.lines_with(&["!"]), [warning]);
    // Another Prometheus also has its own failures.
    let other = PROMETHEUS.replace("//p:", "//q:");
    bench.apply(&[SCALED, &other], 1).unwrap();
    bench.seconds(45);
    assert_eq!(bench.lines_with(&["!"]), [warning]);
    // A metric that could not be queried before has not come back.
    bench.apply(&[SCALED], 1).unwrap();
    bench.seconds(45);
    bench.answers = Some(vec![answer(Ok([("tcp-0".to_owned(), 1_000)].into()))]);
    bench.apply(&[SCALED, PROMETHEUS], 1).unwrap();
    bench.seconds(45);
    assert_eq!(bench.lines_with(&["!"]), [""; 0]);
}

#[test]
fn a_stopped_service_is_left_alone_by_its_autoscaler() {
    let mut bench = Bench::up(&[SCALED]);
    bench.scale("tcp", 3).unwrap();
    bench.stop("tcp").unwrap();
    bench.seconds(300);
    assert_eq!(bench.lines_with(&["desired"]), Vec::<String>::new());
    bench.start("tcp").unwrap();
    assert_eq!(bench.names("tcp").len(), 3);
}

#[test]
fn new_intervals_apply_at_once() {
    let mut bench = Bench::up(&[SCALED, "metrics.syncPeriod=1h,metrics.scrapeInterval=60s"]);
    bench.seconds(1);
    bench.apply(&[SCALED, "metrics.syncPeriod=5s,metrics.scrapeInterval=2s"], 1).unwrap();
    let before = bench.controller.counts();
    bench.seconds(10);
    let after = bench.controller.counts();
    assert_eq!((after.scrapes - before.scrapes, after.syncs - before.syncs), (5, 2));
    let next = bench.snapshot().next_sync.unwrap();
    assert!(next.as_millisecond() > 0);
}

#[test]
fn the_autoscalers_state_can_be_inspected() {
    let mut bench = Bench::up(&[SCALED]);
    load(&mut bench, &[10]);
    let error = bench.controller.autoscaler("tcp").unwrap_err().to_string();
    assert!(error.starts_with("the autoscaler of tcp has not run yet;"), "{error}");
    bench.seconds(20);
    let case = bench.controller.autoscaler("tcp").unwrap();
    let pods: Vec<&str> = case.observed.pods.iter().map(|pod| &*pod.name).collect();
    assert_eq!(pods, ["tcp-0"]);
    let mut fixed = Bench::up(&[SCALED, "tcp.autoscaling=null"]);
    let error = fixed.controller.autoscaler("tcp").unwrap_err().to_string();
    assert_eq!(error, "tcp is not autoscaled");
    fixed.seconds(1);
    assert_eq!(fixed.names("tcp"), strings(&["tcp-0"]));
}
