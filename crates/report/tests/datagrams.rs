//! A datagram load in the time line and the picture.

use jiff::Timestamp;
use platform::{
    Event, EventKind,
    event::{Counters, LatencySummary, LoadPlan, LoadStage, LoadSummary, LoadTick, Source, Stamper},
};
use report::{Recording, Style, Timeline, delays, svg};
use uuid::Uuid;

fn at(t_ms: u64, kind: EventKind) -> Event {
    let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
    stamper.stamp(t_ms, kind)
}

fn plan() -> LoadPlan {
    LoadPlan {
        name: "udp-burst".to_owned(),
        protocol: "udp".to_owned(),
        service: None,
        target: "127.0.0.1:10001".to_owned(),
        connections: 64,
        joining: 0,
        connect_interval_us: 5_000,
        message_interval_ms: None,
        payload: "msg:12345".to_owned(),
        duration_ms: 10_000,
        duration_from_ramp: false,
        window: Some(8),
        sequence: false,
        stages: vec![
            LoadStage { from_milli_per_s: 1_000_000, to_milli_per_s: 30_000_000, ms: 5_000 },
            LoadStage { from_milli_per_s: 30_000_000, to_milli_per_s: 30_000_000, ms: 5_000 },
        ],
    }
}

fn latency() -> LatencySummary {
    LatencySummary {
        count: 9,
        min_us: 50,
        mean_us: 200,
        p50_us: 180,
        p90_us: 400,
        p99_us: 900,
        p999_us: 900,
        max_us: 950,
    }
}

fn totals() -> Counters {
    Counters {
        attempted: 64,
        connected: 64,
        connected_first: 64,
        closed: 64,
        messages_sent: 227_500,
        messages_answered: 227_480,
        message_timeouts: 20,
        messages_unanswered: 20,
        messages_cut_off: 0,
        messages_duplicated: 3,
        messages_reordered: 5,
        receive_drops: 12,
        ..Counters::default()
    }
}

fn tick(second: u64) -> EventKind {
    EventKind::LoadTick(LoadTick {
        open: 64,
        connecting: 0,
        // 1,000 a second, then 7,000, then 13,000: the second of them passes 5,500.
        totals: Counters { messages_sent: [0, 1_000, 8_000, 21_000][second as usize], ..totals() },
        connect: LatencySummary::default(),
        first_byte: LatencySummary::default(),
        message: latency(),
        by_replica: [].into(),
        skew: None,
    })
}

fn events() -> Vec<Event> {
    let udp = || "udp".to_owned();
    let summary = LoadSummary {
        plan: plan(),
        took_ms: 10_000,
        totals: totals(),
        connect: LatencySummary::default(),
        first_byte: LatencySummary::default(),
        message: latency(),
        lateness: latency(),
        reconnect: LatencySummary::default(),
        broadcast: LatencySummary::default(),
        message_histogram: Vec::new(),
        open_max: 64,
        busiest_second: 0,
        shares: Vec::new(),
        skew: None,
        scale_up: None,
        scale_down: None,
        expectations: Vec::new(),
        interrupted: false,
        first_error: None,
        first_wrong_answer: None,
        ended_early: None,
        gap: LatencySummary::default(),
        gap_without_delay: LatencySummary::default(),
        event_gap: LatencySummary::default(),
        endings: Vec::new(),
    };
    vec![
        at(0, EventKind::LoadStarted { plan: plan() }),
        at(10, EventKind::RampDone { open: 64, refused: 0, lost: 0, after_ms: 10 }),
        at(10, EventKind::PhaseStarted { phase: "stage".to_owned(), detail: "1000/s for 5s".to_owned() }),
        at(1_000, tick(0)),
        at(2_000, tick(1)),
        at(3_000, tick(2)),
        at(
            3_500,
            EventKind::MetricCrossed {
                service: udp(),
                metric: "udp_packets_received".to_owned(),
                average_milli: 7_000_000,
                target_milli: 5_000_000,
                above: true,
                next_sync_ms: 4_000,
                not_before_ms: None,
            },
        ),
        at(
            3_900,
            EventKind::DesiredChanged {
                service: udp(),
                from: 1,
                to: 2,
                reason: "New size: 2".to_owned(),
                explanation: "wants 2".to_owned(),
                metrics: Vec::new(),
            },
        ),
        at(4_000, tick(3)),
        at(10_000, EventKind::LoadClosed { closed: 64 }),
        at(10_001, EventKind::LoadFinished { summary: Box::new(summary) }),
    ]
}

fn rendered(width: usize) -> String {
    let mut timeline = Timeline::new(Style { color: false, width });
    let mut lines: Vec<String> = events().iter().flat_map(|event| timeline.feed(event)).collect();
    lines.push(timeline.finish());
    lines.join("\n")
}

#[test]
fn datagrams_are_reported_as_peers_and_messages() {
    let text = rendered(200);
    for expected in [
        "udp-burst: 64 udp peers to 127.0.0.1:10001, together sending msg:12345 at 1,000/s → 30,000/s in 5 s, then 30,000/s \
         for 5 s, at most 8 of each without an answer",
        "64 peers open",
        "stage: 1000/s for 5s",
        "64 peers closed",
        "messages per second and target × replicas",
        "peers        64 of 64 open",
        "datagrams    227,500 sent · 227,480 answered · 8 lost (< 0.01 %) · 3 duplicated · 5 reordered · 0 late · \
         12 dropped at our own sockets",
        "message     p50 0.18",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(!text.contains("connections"), "{text}");
}

#[test]
fn no_line_is_wider_than_asked_for() {
    for width in [60, 72, 80, 100, 132] {
        for line in rendered(width).lines() {
            assert!(line.chars().count() <= width, "{width}: {line:?}");
        }
    }
}

/// 5,500 a second lies three quarters of the way from 1,000 to 7,000.
#[test]
fn the_scale_up_counts_from_the_rate_passing_the_line() {
    let up = delays(&events()).up.unwrap();
    assert_eq!(up.parts, [("scrape".to_owned(), 750), ("sync".to_owned(), 400)]);
}

#[test]
fn the_picture_has_labels_and_totals() {
    let recording: Recording = events().iter().collect();
    let picture = svg(&recording);
    assert!(picture.contains(">messages per second<"), "{picture}");
    assert!(picture.contains("227,500 sent, 8 lost"), "{picture}");
}
