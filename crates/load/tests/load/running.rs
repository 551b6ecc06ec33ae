//! Phases, events and stopping.

use std::time::Duration;

use load::Control;
use platform::event::EventKind;

use crate::server::{Server, after_ramp, in_all, receive, request, run, run_under, send, wait_for_end};

fn phases(events: &[EventKind]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| match event {
            EventKind::LoadStarted { .. } => Some("started".to_owned()),
            EventKind::PhaseStarted { phase, .. } => Some(phase.clone()),
            EventKind::RampDone { .. } => Some("ramp done".to_owned()),
            EventKind::LoadClosed { .. } => Some("closed".to_owned()),
            EventKind::LoadFinished { .. } => Some("finished".to_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_phases_come_in_order_with_their_figures() {
    let server = Server::echo();
    let request = request(server.address(), 30)
        .with(|scenario| scenario.phases.hold = after_ramp(Duration::from_millis(1_200)));
    let (summary, events) = run(request);
    assert_eq!(phases(&events), ["started", "ramp", "ramp done", "hold", "close", "closed", "finished"]);
    assert!(summary.took_ms >= 1_200 && !summary.interrupted);
    for event in &events {
        match event {
            EventKind::RampDone { open, refused, lost, after_ms } => {
                assert_eq!((*open, *refused, *lost), (30, 0, 0));
                assert!(*after_ms >= 29, "one per millisecond: {after_ms}");
            }
            EventKind::LoadClosed { closed } => assert_eq!(*closed, 30),
            EventKind::LoadFinished { summary: finished } => assert_eq!(**finished, summary),
            _ => {}
        }
    }
    let ticks = events.iter().filter_map(|event| match event {
        EventKind::LoadTick(tick) => Some(tick),
        _ => None,
    });
    let ticks = ticks.collect::<Vec<_>>();
    assert!(!ticks.is_empty());
    assert!(ticks.iter().any(|tick| tick.open == 30 && tick.by_replica["unknown"] == 30));
    let in_ticks: u64 = ticks.iter().map(|tick| tick.message.count).sum();
    assert!(in_ticks > 0 && in_ticks <= summary.message.count);
}

#[test]
fn the_time_from_the_first_connect_also_ends_a_ramp() {
    let server = Server::echo();
    let request = request(server.address(), 1_000).with(|scenario| {
        scenario.phases.hold = in_all(Duration::from_millis(200));
        scenario.phases.ramp.rate = "10ms".parse().unwrap();
    });
    let (summary, events) = run(request);
    assert_eq!(phases(&events), ["started", "ramp", "close", "closed", "finished"]);
    let totals = summary.totals;
    assert!(totals.attempted > 0 && totals.attempted <= 21, "200 ms at one per 10 ms: {totals:?}");
}

#[test]
fn a_stop_closes_in_order_and_still_gives_a_summary() {
    let server = Server::echo();
    let load = request(server.address(), 10)
        .with(|scenario| scenario.phases.hold = after_ramp(Duration::from_hours(1)));
    let control = Control::new();
    let (summary, events) = run_under(&load, &control, |event| {
        if matches!(event, EventKind::PhaseStarted { phase, .. } if phase == "hold") {
            control.stop();
        }
    });
    assert!(summary.interrupted && control.is_stopped());
    assert_eq!((summary.totals.closed, summary.totals.lost, summary.totals.messages_unanswered), (10, 0, 0));
    assert_eq!(phases(&events).last().map(String::as_str), Some("finished"));
}

/// The server never answers and the time-out is an hour: neither the end nor a stop waits that long.
#[test]
fn messages_outstanding_at_the_end_are_cut_off_and_counted() {
    for stop in [false, true] {
        let server = Server::start(|mut stream, _| wait_for_end(&mut stream));
        let load = request(server.address(), 5).with(|scenario| {
            scenario.phases.hold = after_ramp(Duration::from_millis(50));
            scenario.messages.timeout = Some(Duration::from_hours(1));
        });
        let control = Control::new();
        let (summary, _) = run_under(&load, &control, |event| {
            if stop && matches!(event, EventKind::PhaseStarted { phase, .. } if phase == "close") {
                control.stop();
                control.stop();
            }
        });
        let totals = summary.totals;
        assert_eq!((totals.messages_sent, totals.messages_cut_off, totals.message_timeouts), (5, 5, 0));
        assert_eq!((totals.closed, totals.given_up), (5, 0));
        assert!(totals.messages_never_sent > 0, "{totals:?}");
    }
}

/// A connect that is undecided at the end is counted as such: every connection is counted somewhere.
#[test]
fn connections_still_being_opened_at_the_end_are_counted() {
    // A queue of one that is never emptied: further connects stay undecided.
    let full =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&full, &"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap()).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = rustix::net::getsockname(&full).unwrap().try_into().unwrap();
    let load = request(address, 20).with(|scenario| {
        scenario.phases.hold = in_all(Duration::from_hours(1));
        scenario.connect_timeout = Duration::from_hours(1);
        scenario.reconnect.never = true;
    });
    let control = Control::new();
    let (summary, _) = run_under(&load, &control, |event| {
        let all = matches!(event, EventKind::LoadTick(tick) if tick.totals.attempted == 20);
        if all && !control.is_stopped() {
            control.stop();
        }
    });
    let totals = summary.totals;
    assert_eq!(totals.attempted, 20);
    assert!(totals.connects_cut_off >= 10, "{totals:?}");
}

#[test]
fn a_load_without_a_server_ends_early_with_the_first_error() {
    let nobody = fixtures::nobody();
    let load = request(nobody, 3).with(|scenario| {
        scenario.phases.hold = in_all(Duration::from_hours(1));
        scenario.reconnect = crate::server::soon();
    });
    let (summary, events) = run(load);
    assert!(summary.ended_early.is_some_and(|why| why.contains("nobody could connect")));
    let error = summary.first_error.unwrap();
    assert!(error.contains(&nobody.to_string()) && error.contains("refused"), "{error}");
    let warned =
        events.iter().any(|event| matches!(event, EventKind::Warning { message } if *message == error));
    assert!(warned, "as soon as it happens: {events:?}");
}

#[test]
fn the_first_wrong_answer_is_shown_and_recognised() {
    for (answer, expected) in [
        (&b"\x15\x03\x03\0\x02\x02\x0a"[..], "this port speaks TLS"),
        (b"HTTP/1.1 400 Bad Request\r\n", "speaks HTTP"),
    ] {
        let server = Server::start(move |mut stream, _| {
            while receive(&mut stream).is_some() {
                send(&mut stream, answer);
            }
        });
        let (summary, _) = run(request(server.address(), 2));
        let first = summary.first_wrong_answer.unwrap();
        assert!(first.contains(expected) && !first.contains(char::is_control), "{first}");
    }
}

#[test]
fn a_run_stopped_before_it_began_ends_at_once() {
    let server = Server::echo();
    let control = Control::new();
    control.stop();
    let (summary, _) = run_under(&request(server.address(), 1_000), &control, |_| {});
    assert!(summary.interrupted);
    assert!(summary.totals.attempted < 1_000);
}

#[test]
fn several_targets_are_connected_to_in_turn() {
    let servers = [Server::echo(), Server::echo(), Server::echo()];
    let load = request(servers[0].address(), 10)
        .options(|options| options.targets = servers.iter().map(Server::address).collect());
    let (summary, _) = run(load);
    assert_eq!(summary.totals.connected, 10);
    assert_eq!(servers.each_ref().map(Server::accepted), [4, 3, 3]);
}
