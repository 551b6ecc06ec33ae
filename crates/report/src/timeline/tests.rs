use jiff::Timestamp;
use platform::event::{
    Counters, GatewayInfo, LatencySummary, LoadTick, NodeState, ServiceInfo, Source, Stamper,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn at(t_ms: u64, kind: EventKind) -> Event {
    let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
    stamper.stamp(t_ms, kind)
}

fn tick(open: u64, change: impl FnOnce(&mut Counters)) -> EventKind {
    let mut totals = Counters::default();
    change(&mut totals);
    EventKind::LoadTick(LoadTick {
        open,
        connecting: 0,
        totals,
        connect: LatencySummary::default(),
        first_byte: LatencySummary::default(),
        message: LatencySummary::default(),
        by_replica: [("tcp-0".to_owned(), open)].into(),
        skew: None,
    })
}

fn feed(timeline: &mut Timeline, t_ms: u64, kind: EventKind) -> String {
    timeline.feed(&at(t_ms, kind)).join("\n")
}

fn tcp() -> String {
    "tcp".to_owned()
}

#[test]
fn ticks_report_only_problems_and_those_in_batches() {
    let mut timeline = Timeline::new(Style::default());
    assert_eq!(feed(&mut timeline, 1_000, tick(10, |_| ())), "");
    let line = feed(&mut timeline, 2_000, tick(8, |totals| totals.lost = 2));
    assert_eq!(line, "  0:02.0  load       2 lost");
    assert_eq!(feed(&mut timeline, 3_000, tick(8, |totals| totals.lost = 5)), "", "not every second");
    let line = feed(&mut timeline, 7_000, tick(8, |totals| (totals.lost, totals.reset) = (9, 1)));
    assert_eq!(line, "  0:07.0  load       7 lost, 1 reset");
    let trouble = |totals: &mut Counters| {
        (totals.lost, totals.reset, totals.notices, totals.reconnected) = (9, 1, 4, 3);
    };
    assert_eq!(feed(&mut timeline, 8_000, tick(8, trouble)), "");
    let lines = feed(&mut timeline, 8_100, EventKind::LoadClosed { closed: 8 });
    assert_eq!(
        lines,
        "  0:08.1  load       4 told to reconnect, 3 came back\n  0:08.1  load       8 connections closed by the client"
    );
}

#[test]
fn the_return_of_all_connections_is_reported_at_once() {
    let mut timeline = Timeline::new(Style::default());
    feed(&mut timeline, 1_000, tick(10, |_| ()));
    assert_ne!(feed(&mut timeline, 2_000, tick(0, |totals| totals.lost = 10)), "");
    let back = |count| move |totals: &mut Counters| (totals.lost, totals.reconnected) = (10, count);
    assert_eq!(feed(&mut timeline, 3_000, tick(9, back(9))), "");
    assert_eq!(feed(&mut timeline, 4_000, tick(10, back(10))), "  0:04.0  load       10 came back");
    assert_eq!(feed(&mut timeline, 9_500, tick(10, back(10))), "");
}

#[test]
fn a_number_keeps_its_unit() {
    let text = "1 per 5 ms, for 12 min 3 s (9 %), 10 KiB";
    for width in 7..text.len() {
        let lines = wrap(text, width);
        assert_eq!(lines.join(" "), text);
        for line in &lines {
            assert!(line.chars().count() <= width, "{lines:?}");
            let first = line.split(' ').next().unwrap_or_default();
            assert!(!["ms,", "min", "s", "%),", "KiB"].contains(&first), "{lines:?}");
        }
    }
    assert_eq!(wrap("ends in 5 ", 40), ["ends in 5"]);
    assert_eq!(wrap("a  b", 40), ["a  b"]);
}

/// Servers of other people do not say who serves a connection, and then there is nothing to compare.
#[test]
fn replicas_are_listed_only_if_one_has_a_name() {
    let ramp = |names: &[(&str, u64)]| {
        let mut timeline = Timeline::new(Style::default());
        let mut tick = tick(3, |_| ());
        if let EventKind::LoadTick(tick) = &mut tick {
            tick.by_replica = names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        }
        feed(&mut timeline, 1_000, tick);
        feed(&mut timeline, 1_100, EventKind::RampDone { open: 3, refused: 0, lost: 0, after_ms: 100 })
    };
    assert!(!ramp(&[("unknown", 3)]).contains("unknown"));
    assert!(ramp(&[("tcp-0", 2), ("unknown", 1)]).contains("tcp-0 2 · unknown 1"));
}

#[test]
fn the_life_of_a_pod_is_shown() {
    let mut timeline = Timeline::new(Style::default());
    let pod = || "tcp-1".to_owned();
    let kinds = [
        EventKind::PodStarting { service: tcp(), pod: pod(), node: "node-0".to_owned(), restarts: 2 },
        EventKind::PodReady { service: tcp(), pod: pod(), after_ms: 40 },
        EventKind::PodUnready { service: tcp(), pod: pod(), reason: "503 from /readyz".to_owned() },
        EventKind::PodCrashed {
            service: tcp(),
            pod: pod(),
            exit: "signal 9".to_owned(),
            restart_in_ms: Some(10_000),
        },
        EventKind::PodCrashed {
            service: tcp(),
            pod: pod(),
            exit: "signal 9".to_owned(),
            restart_in_ms: Some(0),
        },
        EventKind::PodCrashed {
            service: tcp(),
            pod: pod(),
            exit: "signal 9".to_owned(),
            restart_in_ms: None,
        },
        EventKind::PodDraining { service: tcp(), pod: pod(), connections: Some(1) },
        EventKind::PodGone { service: tcp(), pod: pod(), after_ms: 60_000, forced: true },
    ];
    let lines: Vec<_> = kinds.into_iter().map(|kind| feed(&mut timeline, 0, kind).split_off(10)).collect();
    assert_eq!(
        lines,
        [
            "pod        tcp-1 starting on node-0  restart 2",
            "pod        tcp-1 ready after 40 ms",
            "pod        tcp-1 not ready  503 from /readyz",
            "pod        tcp-1 ended: signal 9  starts again in 10.0 s",
            "pod        tcp-1 ended: signal 9  starts again at once",
            "pod        tcp-1 ended: signal 9  will not restart",
            "pod        tcp-1 draining: 1 connection",
            "pod        tcp-1 gone after 60.0 s  killed: its grace period ran out",
        ]
    );
}

#[test]
fn a_new_replicas_share_is_shown_only_if_it_is_known() {
    let ready = || EventKind::PodReady { service: tcp(), pod: "tcp-2".to_owned(), after_ms: 300 };
    let told = |policy: &str, own: Option<&str>, open: u64| {
        let mut timeline = Timeline::new(Style::default());
        let service = ServiceInfo {
            name: tcp(),
            replicas: 2,
            endpoint: None,
            autoscaled: None,
            targets_milli: std::collections::BTreeMap::new(),
            policy: own.map(str::to_owned),
        };
        feed(
            &mut timeline,
            0,
            EventKind::PlatformStarted {
                platform: "playground".to_owned(),
                target: "this machine".to_owned(),
                nodes: 1,
                gateway: GatewayInfo { kind: "playctl".to_owned(), policy: policy.to_owned() },
                services: vec![service],
            },
        );
        let names = vec!["tcp-0".to_owned(), "tcp-1".to_owned()];
        feed(
            &mut timeline,
            0,
            EventKind::EndpointsChanged { service: tcp(), ready: names, draining: Vec::new() },
        );
        feed(&mut timeline, 0, tick(open, |_| ()));
        let line = feed(&mut timeline, 0, ready());
        line.split_once("gets ").map(|(_, share)| share.trim().to_owned())
    };
    let drawn = Some("5 of 9 new connections while it is emptier".to_owned());
    let all = Some("all new connections while it is the emptiest".to_owned());
    assert_eq!(told("least request", None, 10), drawn);
    assert_eq!(told("least request", None, 0), None);
    assert_eq!(told("round robin", None, 10), None);
    assert_eq!(told("round robin", Some("least request"), 10), drawn);
    assert_eq!(told("least request", Some("least request of all"), 10), all);
    assert_eq!(told("least request", Some("least request of all"), 0), None);
    assert_eq!(told("least request", Some("round robin"), 10), None);
}

#[test]
fn a_platform_is_introduced_with_its_gateway_if_it_has_one() {
    let told = |gateway: GatewayInfo| {
        let (platform, target) = ("playground".to_owned(), "minikube".to_owned());
        let started =
            EventKind::PlatformStarted { platform, target, nodes: 2, gateway, services: Vec::new() };
        feed(&mut Timeline::new(Style::default()), 0, started)
    };
    let envoy = GatewayInfo { kind: "envoy".to_owned(), policy: "least request".to_owned() };
    assert!(told(envoy).ends_with("playground on minikube, 2 nodes, gateway: envoy, least request"));
    assert!(told(GatewayInfo::none()).ends_with("playground on minikube, 2 nodes"));
}

#[test]
fn a_node_is_shown_with_the_reason_it_is_not_ready() {
    let told = |state: NodeState, reason: &str| {
        let (node, reason) = ("worker-1".to_owned(), reason.to_owned());
        feed(&mut Timeline::new(Style::default()), 0, EventKind::NodeChanged { node, state, reason })
    };
    assert!(
        told(NodeState::NotReady, "kubelet is silent").ends_with("worker-1 not ready  kubelet is silent")
    );
    assert!(told(NodeState::Cordoned, "").ends_with("worker-1 cordoned: it takes no new pods"));
    assert!(told(NodeState::Gone, "").ends_with("worker-1 gone"));
}

#[test]
fn other_processes_cannot_steer_the_terminal() {
    let mut timeline = Timeline::new(Style { color: true, width: 100 });
    let line = feed(&mut timeline, 0, EventKind::Warning { message: "\u{1b}[2J\rgone\u{7}".to_owned() });
    assert!(line.ends_with(r"\x1b[2J\rgone\x07"), "{line:?}");
}

#[test]
fn without_events_nothing_is_drawn() {
    assert_eq!(Timeline::new(Style::default()).finish(), "");
}

#[test]
fn without_a_load_the_scraped_connections_are_drawn() {
    let mut timeline = Timeline::new(Style { color: false, width: 80 });
    feed(
        &mut timeline,
        0,
        EventKind::MetricCrossed {
            service: tcp(),
            metric: "tcp_state_established".to_owned(),
            average_milli: 1,
            target_milli: 5_000_000,
            above: false,
            next_sync_ms: 0,
            not_before_ms: None,
        },
    );
    feed(&mut timeline, 0, EventKind::ReplicasSet { service: tcp(), from: 1, to: 2 });
    for (t_ms, milli) in [(7_000, 1_000_000), (14_000, 9_000_000), (21_000, 2_000_000)] {
        feed(
            &mut timeline,
            t_ms,
            EventKind::MetricScraped {
                service: tcp(),
                metric: "tcp_state_established".to_owned(),
                values_milli: [("tcp-0".to_owned(), milli)].into(),
            },
        );
    }
    let text = timeline.finish();
    assert!(text.contains("connections and target × replicas"), "{text}");
    assert!(text.contains("10k ┤") && text.contains(" 5k ┤") && text.contains("tcp replicas"), "{text}");
}

#[test]
fn an_unobserved_crossing_is_marked_as_such() {
    let mut timeline = Timeline::new(Style { color: false, width: 200 });
    let crossed = EventKind::MetricCrossed {
        service: tcp(),
        metric: "tcp_state_established".to_owned(),
        average_milli: 6_000_000,
        target_milli: 5_000_000,
        above: true,
        next_sync_ms: 30_000,
        not_before_ms: Some(18_000),
    };
    let line = feed(&mut timeline, 30_000, crossed);
    assert!(line.contains("went above target and tolerance up to 12.0 s earlier"), "{line}");
}

#[test]
fn the_writer_of_the_replicas_is_reported() {
    let mut timeline = Timeline::new(Style { color: false, width: 80 });
    let set = |timeline: &mut Timeline, from, to| {
        feed(timeline, 0, EventKind::ReplicasSet { service: tcp(), from, to })
    };
    assert!(set(&mut timeline, 1, 2).contains("1 → 2  set by hand"));
    let orders = vec!["tcp-0 becomes inactive".to_owned(), "2 → 1".to_owned()];
    feed(&mut timeline, 0, EventKind::Balanced { service: tcp(), orders, reason: String::new() });
    assert!(set(&mut timeline, 2, 1).contains("2 → 1  set by the balancer"));
    assert!(set(&mut timeline, 1, 3).contains("1 → 3  set by hand"));
}

#[test]
fn long_texts_are_wrapped_at_words() {
    assert_eq!(wrap("one two  three", 8), ["one two", "three"]);
    assert_eq!(wrap("a longest b", 5), ["a", "longe", "st b"]);
    assert_eq!(wrap("", 5), [""]);
}

fn any_kind() -> impl Strategy<Value = EventKind> {
    let name = || "[a-z\u{0}\u{1b}é-]{0,12}";
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(open, lost)| tick(open, |totals| totals.lost = lost)),
        (name(), any::<u32>(), any::<u32>()).prop_map(|(service, from, to)| EventKind::DesiredChanged {
            service,
            from: from % 1_000,
            to: to % 1_000,
            reason: "r".to_owned(),
            explanation: "e".to_owned(),
            metrics: Vec::new(),
        }),
        (name(), any::<i64>(), any::<i64>(), any::<u64>()).prop_map(|(service, average, target, next)| {
            EventKind::MetricCrossed {
                service,
                metric: "m".to_owned(),
                average_milli: average,
                target_milli: target,
                above: true,
                next_sync_ms: next,
                not_before_ms: (next % 2 == 0).then_some(next / 2),
            }
        }),
        (name(), any::<i32>()).prop_map(|(service, value)| EventKind::MetricScraped {
            service,
            metric: "m".to_owned(),
            values_milli: [("p".to_owned(), i64::from(value))].into(),
        }),
        (name(), any::<u64>()).prop_map(|(service, until_ms)| EventKind::ScaleDownHeld {
            service,
            recommended: 1,
            held_at: 2,
            until_ms,
        }),
        name().prop_map(|pod| EventKind::PodReady { service: tcp(), pod, after_ms: u64::MAX }),
        any::<u64>().prop_map(|closed| EventKind::LoadClosed { closed }),
    ]
}

proptest! {
    /// Recordings may come from anywhere: their content is drawn or left out, and never wider than requested.
    #[test]
    fn any_events_can_be_rendered(
        kinds in prop::collection::vec((prop_oneof![0..300_000_u64, any::<u64>()], any_kind()), 0..40),
        width in 0..200_usize,
    ) {
        let style = Style { color: false, width };
        let mut timeline = Timeline::new(style);
        let events: Vec<Event> = kinds.into_iter().map(|(t_ms, kind)| at(t_ms, kind)).collect();
        for line in events.iter().flat_map(|event| timeline.feed(event)) {
            prop_assert!(!line.contains('\x1b'), "steers the terminal");
            prop_assert!(line.chars().count() <= style.width(), "{}", line);
        }
        for line in timeline.finish().lines() {
            prop_assert!(line.chars().count() <= style.width(), "{}", line);
        }
        let recording: crate::Recording = events.iter().collect();
        prop_assert!(crate::svg(&recording).ends_with("</svg>\n"));
        let _ = crate::delays(&events);
    }
}
