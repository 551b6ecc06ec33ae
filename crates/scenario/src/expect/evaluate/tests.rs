use platform::event::{Counters, LatencySummary, LoadPlan, LoadTick, Source, VERSION};

use super::*;

fn event(t_ms: u64, kind: EventKind) -> Event {
    Event {
        v: VERSION,
        seq: 0,
        run: uuid::Uuid::nil(),
        source: Source::Local,
        t_ms,
        wall: "1970-01-01T00:00:00Z".parse().unwrap(),
        kind,
    }
}

fn plan() -> LoadPlan {
    crate::Scenario::default().describe("127.0.0.1:1".to_owned())
}

fn changed(from: u32, to: u32) -> EventKind {
    EventKind::DesiredChanged {
        service: "tcp".to_owned(),
        from,
        to,
        reason: String::new(),
        explanation: String::new(),
        metrics: Vec::new(),
    }
}

fn crossed() -> EventKind {
    crossed_not_before(None)
}

fn crossed_not_before(not_before_ms: Option<u64>) -> EventKind {
    EventKind::MetricCrossed {
        service: "tcp".to_owned(),
        metric: "connections".to_owned(),
        average_milli: 5_504_000,
        target_milli: 5_000_000,
        above: true,
        next_sync_ms: 2_400,
        not_before_ms,
    }
}

fn finished(totals: &Counters, message: LatencySummary) -> EventKind {
    let summary = LoadSummary {
        plan: plan(),
        took_ms: 0,
        totals: *totals,
        connect: LatencySummary::default(),
        first_byte: LatencySummary::default(),
        message,
        lateness: LatencySummary::default(),
        reconnect: LatencySummary::default(),
        broadcast: LatencySummary::default(),
        message_histogram: Vec::new(),
        open_max: 0,
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
    EventKind::LoadFinished { summary: Box::new(summary) }
}

fn evaluator(texts: &[&str]) -> Evaluator {
    let expectations: Vec<Expectation> = texts.iter().map(|text| text.parse().unwrap()).collect();
    Evaluator::new(&expectations, "tcp")
}

fn verdicts(evaluator: &Evaluator) -> Vec<(String, bool)> {
    evaluator.results().into_iter().map(|result| (result.seen, result.met)).collect()
}

#[test]
fn counts_and_latencies_come_from_the_summary() {
    let mut evaluator = evaluator(&["lost = 0", "connected >= 10", "p99 <= 5ms", "connect p99 <= 1s"]);
    assert!(evaluator.results().iter().all(|result| !result.met));
    let totals = Counters { lost: 1, connected_first: 10, ..Counters::default() };
    let message = LatencySummary { count: 3, p99_us: 4_900, ..LatencySummary::default() };
    evaluator.observe(&event(0, finished(&totals, message)));
    let expected = [("1", false), ("10", true), ("4.9ms", true), ("nothing was measured", false)];
    assert_eq!(verdicts(&evaluator), expected.map(|(seen, met)| (seen.to_owned(), met)));
    assert_eq!(evaluator.pending(), [] as [&str; 0]);
}

#[test]
fn a_change_is_pending_until_it_is_seen() {
    let mut evaluator = evaluator(&["tcp 1 → 2", "tcp 2 → 1"]);
    evaluator.observe(&event(10, changed(1, 2)));
    assert_eq!(evaluator.pending(), ["tcp 2 → 1"]);
    assert_eq!(verdicts(&evaluator), [("1 → 2".to_owned(), true), ("only 1 → 2".to_owned(), false)]);
    evaluator.observe(&event(20, changed(2, 1)));
    assert_eq!(evaluator.pending(), [] as [&str; 0]);
}

#[test]
fn times_count_from_their_anchors() {
    let texts = [
        "tcp 1 → 2 within 30s of crossing",
        "tcp 2 → 1 within 130s of close",
        "tcp 1 → 2 within 5s of start",
    ];
    let mut evaluator = evaluator(&texts);
    evaluator.observe(&event(1_000, EventKind::LoadStarted { plan: plan() }));
    evaluator.observe(&event(27_900, crossed()));
    evaluator.observe(&event(36_200, changed(1, 2)));
    // Too late to be within 5 s of the start, ever.
    assert_eq!(evaluator.pending(), ["tcp 2 → 1 within 2m10s of close"]);
    evaluator.observe(&event(80_000, EventKind::LoadClosed { closed: 10_000 }));
    evaluator.observe(&event(186_300, changed(2, 1)));
    let expected = [("1 → 2 after 8.3s", true), ("2 → 1 after 1m46.3s", true), ("1 → 2 after 35.2s", false)];
    assert_eq!(verdicts(&evaluator), expected.map(|(seen, met)| (seen.to_owned(), met)));
}

#[test]
fn an_unobserved_crossing_counts_from_its_earliest_moment() {
    let mut evaluator = evaluator(&["tcp 1 → 2 within 10s of crossing", "tcp 1 → 2 within 15s of crossing"]);
    evaluator.observe(&event(27_900, crossed_not_before(Some(15_900))));
    evaluator.observe(&event(27_900, changed(1, 2)));
    let expected = [("1 → 2 after at most 12s", false), ("1 → 2 after at most 12s", true)];
    assert_eq!(verdicts(&evaluator), expected.map(|(seen, met)| (seen.to_owned(), met)));
}

#[test]
fn a_change_before_its_anchor_does_not_count() {
    let mut evaluator = evaluator(&["tcp 2 → 1 within 130s of close"]);
    evaluator.observe(&event(10, changed(2, 1)));
    assert_eq!(verdicts(&evaluator), [("2 → 1, but not after close".to_owned(), false)]);
    assert_eq!(evaluator.pending().len(), 1);
    evaluator.observe(&event(1_000, EventKind::LoadClosed { closed: 1 }));
    evaluator.observe(&event(200_000, crossed()));
    assert_eq!(evaluator.pending(), [] as [&str; 0], "130 s after the close are over");
}

#[test]
fn a_message_resent_after_a_move_counts_once() {
    let seen = |answered, resumed| {
        let mut evaluator = evaluator(&["answered >= 99%"]);
        let (messages_sent, messages_answered, messages_resumed) = (246, answered, resumed);
        let totals = Counters { messages_sent, messages_answered, messages_resumed, ..Counters::default() };
        evaluator.observe(&event(0, finished(&totals, LatencySummary::default())));
        verdicts(&evaluator).remove(0)
    };
    assert_eq!(seen(242, 4), ("242 of 242".to_owned(), true));
    assert_eq!(seen(242, 0), ("242 of 246".to_owned(), false));
    assert_eq!(seen(238, 4), ("238 of 242".to_owned(), false));
}

#[test]
fn shares_are_relative_to_the_possible_maximum() {
    let mut evaluator =
        evaluator(&["answered >= 99%", "wrong <= 1%", "connected >= 100%", "broadcasts-received >= 1%"]);
    let totals = Counters {
        messages_sent: 200,
        messages_answered: 198,
        messages_wrong: 3,
        connected_first: 99,
        ..Counters::default()
    };
    evaluator.observe(&event(0, finished(&totals, LatencySummary::default())));
    let expected = [("198 of 200", true), ("3 of 200", false), ("99 of 100", false), ("0 of none", false)];
    assert_eq!(verdicts(&evaluator), expected.map(|(seen, met)| (seen.to_owned(), met)));
}

#[test]
fn log_lines_stay_pending_until_delivered_or_dropped() {
    let mut evaluator = evaluator(&["log-lines-unaccounted = 0"]);
    assert_eq!(verdicts(&evaluator), [("no service reported how many there are".to_owned(), false)]);
    let counted = |service: &str, written, shipped, dropped| EventKind::LogLinesCounted {
        service: service.to_owned(),
        written,
        shipped,
        dropped,
    };
    evaluator.observe(&event(1, counted("udp", 1, 1, 0)));
    evaluator.observe(&event(1, counted("tcp", 9, 4, 2)));
    assert_eq!(evaluator.pending().len(), 1);
    assert_eq!(verdicts(&evaluator), [("3 of 10: 5 delivered, 2 counted as dropped".to_owned(), false)]);
    evaluator.observe(&event(2, counted("tcp", 9, 7, 2)));
    assert_eq!(evaluator.pending().len(), 0);
    assert_eq!(verdicts(&evaluator), [("0 of 10: 8 delivered, 2 counted as dropped".to_owned(), true)]);
}

#[test]
fn the_emptiest_replica_is_judged_when_the_close_begins() {
    let mut evaluator = evaluator(&["emptiest >= 45%", "emptiest >= 46.21%", "emptiest >= 4620"]);
    evaluator.observe(&event(
        1,
        EventKind::LoadTick(LoadTick {
            open: 10_000,
            connecting: 0,
            totals: Counters::default(),
            connect: LatencySummary::default(),
            first_byte: LatencySummary::default(),
            message: LatencySummary::default(),
            by_replica: [("tcp-0".to_owned(), 5_380), ("tcp-1".to_owned(), 4_620)].into(),
            skew: None,
        }),
    ));
    let close = EventKind::PhaseStarted { phase: "close".to_owned(), detail: String::new() };
    evaluator.observe(&event(2, close));
    assert!(evaluator.results().iter().all(|result| result.seen == "the load did not finish"));
    evaluator.observe(&event(3, finished(&Counters::default(), LatencySummary::default())));
    let expected = [("4620 of 10000, tcp-1", true), ("4620 of 10000, tcp-1", false), ("4620, tcp-1", true)];
    assert_eq!(verdicts(&evaluator), expected.map(|(seen, met)| (seen.to_owned(), met)));
}

#[test]
fn a_balancer_is_judged_by_its_words_and_the_state_at_the_close() {
    let texts = [
        "decided ⌈9 ÷ 7⌉ = 2",
        "never decided becomes inactive",
        "decided sheds",
        "never decided 1 → 2",
        "decisions = 1",
        "decisions <= 0",
        "replicas = 2",
        "spread = 5/4",
        "fullest <= 5",
        "tcp 1 → 2 within 5s of start",
    ];
    let mut evaluator = evaluator(&texts);
    evaluator.begins_with(["tcp-0".to_owned()]);
    let kinds = [
        EventKind::LoadStarted { plan: plan() },
        EventKind::Balanced {
            service: "tcp".to_owned(),
            orders: vec!["1 → 2".to_owned()],
            reason: "wants ⌈9 ÷ 7⌉ = 2 servers".to_owned(),
        },
        EventKind::PodReady { service: "tcp".to_owned(), pod: "tcp-1".to_owned(), after_ms: 1 },
        EventKind::LoadTick(LoadTick {
            open: 9,
            connecting: 0,
            totals: Counters::default(),
            connect: LatencySummary::default(),
            first_byte: LatencySummary::default(),
            message: LatencySummary::default(),
            by_replica: [("tcp-0".to_owned(), 4), ("tcp-1".to_owned(), 5)].into(),
            skew: None,
        }),
        EventKind::PhaseStarted { phase: "close".to_owned(), detail: String::new() },
        finished(&Counters::default(), LatencySummary::default()),
    ];
    for (second, kind) in kinds.into_iter().enumerate() {
        evaluator.observe(&event(second as u64 * 1000, kind));
    }
    let decision = "1 → 2: wants ⌈9 ÷ 7⌉ = 2 servers";
    let none = format!("none of 1; the last: {decision}");
    let expected = [
        (decision, true),
        (&none, true),
        (&none, false),
        (decision, false),
        ("1", true),
        ("1", false),
        ("2", true),
        ("5/4", true),
        ("5, tcp-1", true),
        ("1 → 2 after 1s", true),
    ];
    assert_eq!(verdicts(&evaluator), expected.map(|(seen, met)| (seen.to_owned(), met)));
}
