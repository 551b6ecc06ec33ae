//! `docs/events.schema.json` matches the types, and every kind of event is valid against it.
//!
//! After a change of the types: `UPDATE_SCHEMA=1 cargo test -p platform --test event_schema`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use jiff::Timestamp;
use platform::event::{
    self, Counters, Ending, Event, EventKind, ExpectationResult, GatewayInfo, HistogramBucket,
    LatencySummary, LoadPlan, LoadStage, LoadSummary, LoadTick, MetricProposal, NodeState, ReplicaShare,
    ScaleDelays, ServiceInfo, Skew, Source, Stamper,
};
use platform::target::Traffic;
use serde_json::{Value, json};
use uuid::Uuid;

fn schema_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.schema.json")
}

#[test]
fn the_file_is_up_to_date() {
    let wanted = serde_json::to_string_pretty(&event::schema()).unwrap() + "\n";
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(schema_file(), &wanted).unwrap();
    }
    let found = fs::read_to_string(schema_file()).unwrap_or_default();
    assert!(found == wanted, "docs/events.schema.json is out of date; rewrite it with UPDATE_SCHEMA=1");
}

fn plan() -> LoadPlan {
    LoadPlan {
        name: "tcp-10k".to_owned(),
        protocol: "tcp".to_owned(),
        service: None,
        target: "127.0.0.1:10000".to_owned(),
        connections: 10_000,
        joining: 0,
        connect_interval_us: 5_000,
        message_interval_ms: Some(1_000),
        payload: "msg:12345".to_owned(),
        duration_ms: 30_000,
        duration_from_ramp: true,
        window: Some(8),
        sequence: false,
        stages: vec![LoadStage { from_milli_per_s: 1_000_000, to_milli_per_s: 30_000_000, ms: 120_000 }],
    }
}

fn proposal() -> MetricProposal {
    MetricProposal {
        metric: "tcp_state_established".to_owned(),
        value_milli: Some(7_012_000),
        target_milli: 5_000_000,
        utilization: false,
        proposal: Some(2),
        words: "7,012 per pod of 5k: wants 2".to_owned(),
    }
}

fn expectation() -> ExpectationResult {
    ExpectationResult { expectation: "lost = 0".to_owned(), seen: "0".to_owned(), met: true }
}

fn summary() -> LoadSummary {
    let latency = LatencySummary {
        count: 1,
        min_us: 1,
        mean_us: 1,
        p50_us: 1,
        p90_us: 1,
        p99_us: 1,
        p999_us: 1,
        max_us: 1,
    };
    let delays = ScaleDelays {
        total_ms: 8_300,
        parts: vec![("scrape".to_owned(), 2_400), ("sync".to_owned(), 5_900)],
    };
    LoadSummary {
        plan: plan(),
        took_ms: 80_000,
        totals: Counters::default(),
        connect: latency,
        first_byte: latency,
        message: latency,
        lateness: latency,
        reconnect: latency,
        broadcast: latency,
        message_histogram: vec![HistogramBucket { up_to_us: 100, count: 1 }],
        open_max: 10_000,
        busiest_second: 200,
        shares: vec![ReplicaShare { replica: "tcp-0".to_owned(), connections: 10_000, share: 1.0 }],
        skew: Skew::of([10_000]),
        scale_up: Some(delays.clone()),
        scale_down: Some(delays),
        expectations: vec![expectation()],
        interrupted: false,
        first_error: Some("connection refused".to_owned()),
        first_wrong_answer: Some("`HTTP/1.1 400`: this port speaks HTTP".to_owned()),
        ended_early: Some("nobody could connect".to_owned()),
        gap: latency,
        gap_without_delay: latency,
        event_gap: latency,
        endings: vec![Ending { code: 4001, reason: "Server Rebalancing".to_owned(), count: 3 }],
    }
}

fn service() -> ServiceInfo {
    ServiceInfo {
        name: "tcp".to_owned(),
        replicas: 1,
        endpoint: Some("lb.example.org:10000".parse().unwrap()),
        autoscaled: Some([1, 5]),
        targets_milli: [("tcp_state_established".to_owned(), 5_000_000)].into(),
        policy: Some("least request of all".to_owned()),
    }
}

/// One of each kind. A kind that is missing here makes [`every_kind_has_a_sample`] fail.
fn samples() -> Vec<EventKind> {
    let tcp = || "tcp".to_owned();
    let pod = || "tcp-0".to_owned();
    vec![
        EventKind::PlatformStarted {
            platform: "playground".to_owned(),
            target: "this machine".to_owned(),
            nodes: 2,
            gateway: GatewayInfo { kind: "playctl".to_owned(), policy: "least request".to_owned() },
            services: vec![service()],
        },
        EventKind::PartReady { part: "kafka".to_owned(), detail: "embedded".to_owned(), after_ms: 12 },
        EventKind::PartStopped { part: "kafka".to_owned(), after_ms: 3 },
        EventKind::PlatformReady { platform: "playground".to_owned(), after_ms: 700 },
        EventKind::PlatformStopping { platform: "playground".to_owned(), grace: true },
        EventKind::PlatformStopped { platform: "playground".to_owned() },
        EventKind::PodStarting { service: tcp(), pod: pod(), node: "node-0".to_owned(), restarts: 0 },
        EventKind::PodReady { service: tcp(), pod: pod(), after_ms: 40 },
        EventKind::PodUnready { service: tcp(), pod: pod(), reason: "503".to_owned() },
        EventKind::PodDraining { service: tcp(), pod: pod(), connections: Some(10) },
        EventKind::PodGone { service: tcp(), pod: pod(), after_ms: 100, forced: false },
        EventKind::PodCrashed {
            service: tcp(),
            pod: pod(),
            exit: "signal 9".to_owned(),
            restart_in_ms: Some(10_000),
        },
        EventKind::EndpointsChanged { service: tcp(), ready: vec![pod()], draining: vec![] },
        EventKind::TrafficChanged { service: tcp(), pod: pod(), traffic: Traffic::Inactive },
        EventKind::Balanced { service: tcp(), orders: vec![pod()], reason: "full".to_owned() },
        EventKind::NodeChanged { node: pod(), state: NodeState::Gone, reason: "gone".to_owned() },
        EventKind::MetricScraped {
            service: tcp(),
            metric: "tcp_state_established".to_owned(),
            values_milli: [(pod(), 5_000_000)].into(),
        },
        EventKind::MetricCrossed {
            service: tcp(),
            metric: "tcp_state_established".to_owned(),
            average_milli: 5_504_000,
            target_milli: 5_000_000,
            above: true,
            next_sync_ms: 8_300,
            not_before_ms: Some(1_300),
        },
        EventKind::HpaSynced {
            service: tcp(),
            current: 1,
            desired: 2,
            metrics: vec![proposal()],
            reason: "above target".to_owned(),
            conditions: [("AbleToScale".to_owned(), ["True".to_owned(), "SucceededRescale".to_owned()])]
                .into(),
        },
        EventKind::DesiredChanged {
            service: tcp(),
            from: 1,
            to: 2,
            reason: "New size: 2; reason: pods metric tcp_state_established above target".to_owned(),
            explanation: "limit 1 pod / 30 s allows 2".to_owned(),
            metrics: vec![proposal()],
        },
        EventKind::ScaleDownHeld { service: tcp(), recommended: 1, held_at: 2, until_ms: 45_000 },
        EventKind::ReplicasSet { service: tcp(), from: 1, to: 3 },
        EventKind::LoadStarted { plan: plan() },
        EventKind::PhaseStarted { phase: "ramp".to_owned(), detail: "10,000 connections".to_owned() },
        EventKind::LoadTick(LoadTick {
            open: 10,
            connecting: 1,
            totals: Counters::default(),
            connect: LatencySummary::default(),
            first_byte: LatencySummary::default(),
            message: LatencySummary::default(),
            by_replica: [(pod(), 10)].into(),
            skew: Skew::of([10]),
        }),
        EventKind::RampDone { open: 10_000, refused: 0, lost: 0, after_ms: 50_000 },
        EventKind::LoadClosed { closed: 10_000 },
        EventKind::LoadFinished { summary: Box::new(summary()) },
        EventKind::ExpectationChecked(expectation()),
        EventKind::ActionTaken {
            action: "stop kafka".to_owned(),
            because: "at 30s".to_owned(),
            outcome: "stopped".to_owned(),
            failed: false,
        },
        EventKind::LogLinesCounted { service: tcp(), written: 3, shipped: 2, dropped: 1 },
        EventKind::ConnectionOpened {
            id: 1,
            local: "127.77.2.1:40000".parse().unwrap(),
            connect_us: 120,
            replica: Some(pod()),
        },
        EventKind::ConnectionClosed { id: 1, reason: "closed".to_owned() },
        EventKind::Warning { message: "something".to_owned() },
    ]
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&event::schema()).expect("the schema is a schema")
}

fn events() -> Vec<Event> {
    let began = Timestamp::UNIX_EPOCH;
    let mut stamper = Stamper::new(Uuid::nil(), Source::Local, began);
    samples().into_iter().map(|kind| stamper.stamp(0, kind)).collect()
}

#[test]
fn every_sample_is_valid_and_survives_serialization() {
    let validator = validator();
    for event in events() {
        let json = serde_json::to_value(&event).unwrap();
        let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{json}\n{errors:?}");
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}

#[test]
fn every_kind_has_a_sample() {
    let schema = event::schema();
    let kinds = schema["oneOf"].as_array().expect("kinds are alternatives");
    let named: BTreeSet<_> =
        kinds.iter().map(|kind| kind["properties"]["type"]["const"].as_str().unwrap()).collect();
    let events: Vec<_> = events().iter().map(|event| serde_json::to_value(event).unwrap()).collect();
    let sampled: BTreeSet<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(sampled, named);
}

#[test]
fn invalid_events_are_refused() {
    let validator = validator();
    let good = serde_json::to_value(&events()[1]).unwrap();
    let without = |key: &str| {
        let mut event = good.clone();
        event.as_object_mut().unwrap().remove(key);
        event
    };
    let with = |key: &str, value: Value| {
        let mut event = good.clone();
        event[key] = value;
        event
    };
    for bad in [
        without("seq"),
        without("part"),
        without("type"),
        with("type", json!("SomethingElse")),
        with("source", json!("elsewhere")),
        with("t_ms", json!(-1)),
        with("after_ms", json!("soon")),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}
