use jiff::Timestamp;
use platform::event::{Counters, LatencySummary, LoadTick, Source, Stamper};
use uuid::Uuid;

use super::*;

const METRIC: &str = "tcp_state_established";

fn at(t_ms: u64, kind: EventKind) -> Event {
    let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
    stamper.stamp(t_ms, kind)
}

fn tick(open: u64) -> EventKind {
    EventKind::LoadTick(LoadTick {
        open,
        connecting: 0,
        totals: Counters::default(),
        connect: LatencySummary::default(),
        first_byte: LatencySummary::default(),
        message: LatencySummary::default(),
        by_replica: [].into(),
        skew: None,
    })
}

fn crossed() -> EventKind {
    crossed_not_before(None)
}

fn crossed_not_before(not_before_ms: Option<u64>) -> EventKind {
    EventKind::MetricCrossed {
        service: "tcp".to_owned(),
        metric: METRIC.to_owned(),
        average_milli: 5_600_000,
        target_milli: 5_000_000,
        above: true,
        next_sync_ms: 0,
        not_before_ms,
    }
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

fn ready() -> EventKind {
    EventKind::PodReady { service: "tcp".to_owned(), pod: "tcp-1".to_owned(), after_ms: 400 }
}

fn scraped(sum: i64) -> EventKind {
    EventKind::MetricScraped {
        service: "tcp".to_owned(),
        metric: METRIC.to_owned(),
        values_milli: [("tcp-0".to_owned(), sum * 1000)].into(),
    }
}

fn synced(current: u32, proposal: u32) -> EventKind {
    EventKind::HpaSynced {
        service: "tcp".to_owned(),
        current,
        desired: current,
        metrics: vec![MetricProposal {
            metric: METRIC.to_owned(),
            value_milli: Some(0),
            target_milli: 5_000_000,
            utilization: false,
            proposal: Some(proposal),
            words: String::new(),
        }],
        reason: String::new(),
        conditions: [].into(),
    }
}

fn parts(delays: Option<ScaleDelays>) -> Vec<(String, u64)> {
    let delays = delays.expect("it scaled");
    assert_eq!(delays.total_ms, delays.parts.iter().map(|(_, ms)| ms).sum::<u64>());
    delays.parts
}

fn named<const N: usize>(parts: [(&str, u64); N]) -> Vec<(String, u64)> {
    parts.map(|(name, ms)| (name.to_owned(), ms)).into()
}

#[test]
fn a_scale_up_is_split_at_the_scrape_the_sync_and_the_pod() {
    let events = [
        at(0, ready()),
        at(10_000, tick(5_400)),
        at(11_000, tick(5_600)),
        at(13_000, crossed()),
        at(18_500, changed(1, 2)),
        at(18_900, ready()),
        at(60_000, changed(2, 3)),
    ];
    let expected = named([("scrape", 2_500), ("sync", 5_500), ("pod", 400)]);
    assert_eq!(parts(delays(&events).up), expected, "5,500 were passed half-way between the ticks");
    let expected = named([("sync", 5_500), ("pod", 400)]);
    assert_eq!(parts(delays(&events[3..]).up), expected, "without a load the cause is not seen");
    assert_eq!(parts(delays(&events[..5]).up), named([("scrape", 2_500), ("sync", 5_500)]), "never ready");
}

#[test]
fn before_an_unobserved_crossing_scrape_and_sync_are_one_part() {
    let events = [
        at(0, ready()),
        at(10_000, tick(5_400)),
        at(11_000, tick(5_600)),
        at(18_500, crossed_not_before(Some(8_000))),
        at(18_500, changed(1, 2)),
        at(18_900, ready()),
    ];
    assert_eq!(parts(delays(&events).up), named([("scrape and sync", 8_000), ("pod", 400)]));
    assert_eq!(
        parts(delays(&events[3..]).up),
        named([("pod", 400)]),
        "without a load nothing is known of it"
    );
}

#[test]
fn a_scale_down_is_split_at_the_minute_the_sync_and_the_window() {
    let close = at(80_000, EventKind::LoadClosed { closed: 1 });
    let events = |low_sync| {
        [
            at(73_000, scraped(10_000)),
            at(80_000, tick(0)),
            close.clone(),
            at(81_000, scraped(0)),
            at(121_000, synced(2, 2)),
            at(low_sync, synced(2, 1)),
            at(181_000, changed(2, 1)),
        ]
    };
    let expected = named([("metric's minute", 53_000), ("sync", 3_000), ("window", 45_000)]);
    assert_eq!(parts(delays(&events(136_000)).down), expected);
    let expected = named([("metric and sync", 45_000), ("window", 56_000)]);
    assert_eq!(parts(delays(&events(125_000)).down), expected, "a metric of less than a minute");
}

#[test]
fn changes_that_did_not_happen_have_no_delay() {
    assert_eq!(delays(&[]), Delays::default());
    let events =
        [at(0, changed(2, 1)), at(10_000, EventKind::LoadClosed { closed: 1 }), at(20_000, synced(1, 1))];
    assert_eq!(delays(&events), Delays::default(), "it scaled down before the load closed");
}
