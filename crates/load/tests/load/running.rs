//! Phases, events and stopping.

use std::time::Duration;

use load::{Control, LoadDuration, Options, Request};
use platform::event::EventKind;

use crate::server::{Server, request, run, wait_for_end};

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
    let request = Request {
        duration: Some(LoadDuration::FromRampEnd(Duration::from_millis(1_200))),
        ..request(server.address(), 30)
    };
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
    let request = Request {
        duration: Some(LoadDuration::FromFirstConnect(Duration::from_millis(200))),
        rate: Some("10ms".parse().unwrap()),
        ..request(server.address(), 1_000)
    };
    let (summary, events) = run(request);
    assert_eq!(phases(&events), ["started", "ramp", "close", "closed", "finished"]);
    let totals = summary.totals;
    assert!(totals.attempted > 0 && totals.attempted <= 21, "200 ms at one per 10 ms: {totals:?}");
}

#[test]
fn a_stop_closes_in_order_and_still_gives_a_summary() {
    let server = Server::echo();
    let plan = Request {
        duration: Some(LoadDuration::FromRampEnd(Duration::from_hours(1))),
        ..request(server.address(), 10)
    };
    let control = Control::new();
    let stopper = control.clone();
    let mut events = Vec::new();
    let summary = load::run(&plan.resolve(None).unwrap(), &Options::default(), &control, &mut |event| {
        if matches!(&event, EventKind::PhaseStarted { phase, .. } if phase == "hold") {
            stopper.stop();
        }
        events.push(event);
    })
    .unwrap();
    assert!(summary.interrupted && control.is_stopped());
    assert_eq!((summary.totals.closed, summary.totals.lost, summary.totals.messages_unanswered), (10, 0, 0));
    assert_eq!(phases(&events).last().map(String::as_str), Some("finished"));
}

#[test]
fn a_second_stop_does_not_wait_for_answers() {
    // Nothing is ever answered, and the time-out is an hour.
    let server = Server::start(|mut stream, _| wait_for_end(&mut stream));
    let plan = Request {
        duration: Some(LoadDuration::FromRampEnd(Duration::from_millis(50))),
        message_timeout: Some(Duration::from_hours(1)),
        ..request(server.address(), 5)
    };
    let control = Control::new();
    let stopper = control.clone();
    let summary = load::run(&plan.resolve(None).unwrap(), &Options::default(), &control, &mut |event| {
        if matches!(&event, EventKind::PhaseStarted { phase, .. } if phase == "close") {
            stopper.stop();
            stopper.stop();
        }
    })
    .unwrap();
    assert_eq!((summary.totals.messages_sent, summary.totals.messages_unanswered), (5, 5));
    assert_eq!(summary.totals.closed, 5);
}

#[test]
fn a_run_that_was_stopped_before_it_began_is_over_at_once() {
    let server = Server::echo();
    let control = Control::new();
    control.stop();
    let plan = request(server.address(), 1_000).resolve(None).unwrap();
    let summary = load::run(&plan, &Options::default(), &control, &mut |_| {}).unwrap();
    assert!(summary.interrupted);
    assert!(summary.totals.attempted < 1_000);
}

#[test]
fn several_targets_are_connected_to_in_turn() {
    let servers = [Server::echo(), Server::echo(), Server::echo()];
    let request = Request {
        targets: servers.iter().map(|server| server.address().to_string()).collect(),
        ..request(servers[0].address(), 10)
    };
    let (summary, _) = run(request);
    assert_eq!(summary.totals.connected, 10);
    assert_eq!(servers.each_ref().map(Server::accepted), [4, 3, 3]);
}
