//! How connections end, and reconnect.

use std::{sync::Arc, time::Duration};

use load::Control;
use parking_lot::Mutex;
use platform::event::EventKind;
use scenario::Reconnect;

use crate::server::{SILENT, Server, receive, request, run, run_under, send, soon, wait_for_end};

#[test]
fn a_notice_in_the_packet_of_a_reply_moves_the_connection_and_loses_nothing() {
    let server = Server::start(|mut stream, number| {
        while receive(&mut stream).is_some() {
            send(&mut stream, if number < 10 { b"12345reconnect" } else { b"12345" });
        }
    });
    let load = request(server.address(), 10).with(|scenario| scenario.reconnect = soon());
    let (summary, _) = run(load.until(|totals| totals.reconnected == 10));
    let totals = summary.totals;
    assert_eq!((totals.notices, totals.reconnected, totals.connected), (10, 10, 20));
    assert_eq!((totals.lost, totals.eof, totals.reset), (0, 0, 0));
    assert_eq!((totals.messages_unanswered, totals.messages_wrong), (0, 0));
    assert_eq!((summary.reconnect.count, server.accepted()), (10, 20));
    assert!(summary.reconnect.min_us >= 20_000, "not before the delay: {:?}", summary.reconnect);
}

#[test]
fn connections_without_a_delay_return_while_the_others_wait() {
    // No client gets a notice before all are connected, so that the first ten connections are the clients' first ones.
    let all = Arc::new(std::sync::Barrier::new(10));
    let server = Server::start(move |mut stream, number| {
        while receive(&mut stream).is_some() {
            if number < 10 {
                all.wait();
            }
            send(&mut stream, if number < 10 { b"12345reconnect" } else { b"12345" });
        }
    });
    let load = request(server.address(), 10).with(|scenario| {
        // The others do not return within the run, which ends when all clients without a delay are back.
        let delay = Some(Duration::from_hours(1));
        scenario.reconnect = Reconnect { delay, at_once: "20%".parse().ok(), ..Reconnect::default() };
        scenario.phases.hold.after_ramp = Some(Duration::from_mins(1));
    });
    let control = Control::new();
    let (summary, _) = run_under(&load, &control, |event| {
        if let EventKind::LoadTick(tick) = event
            && (tick.totals.notices, tick.totals.reconnected) == (10, 2)
            && !control.is_stopped()
        {
            control.stop();
        }
    });
    let totals = summary.totals;
    assert_eq!((totals.notices, totals.reconnected, totals.stayed_away), (10, 2, 8), "{totals:?}");
    assert_eq!(server.accepted(), 12);
}

#[test]
fn an_outstanding_answer_is_awaited_after_a_notice() {
    let server = Server::start(|mut stream, number| {
        if number > 0 {
            while receive(&mut stream).is_some() {
                send(&mut stream, b"12345");
            }
            return;
        }
        receive(&mut stream).unwrap();
        send(&mut stream, b"reconnect");
        // A client that leaves right after the notice would show up here.
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut byte = [0];
        let left = std::io::Read::read(&mut stream, &mut byte);
        assert!(left.is_err(), "neither the end nor another message: {left:?}");
        send(&mut stream, b"12345");
        stream.set_read_timeout(None).unwrap();
        wait_for_end(&mut stream);
    });
    let load = request(server.address(), 1).with(|scenario| scenario.reconnect = soon());
    let totals = run(load.until(|totals| totals.reconnected == 1)).0.totals;
    assert_eq!((totals.notices, totals.reconnected, totals.lost), (1, 1, 0));
    assert_eq!(totals.messages_unanswered, 0);
    assert_eq!(totals.closed, 2, "the client closed both: {totals:?}");
}

#[test]
fn a_notice_between_messages_moves_the_connection() {
    let server = Server::start(|mut stream, number| {
        if number < 5 {
            send(&mut stream, b"reconnect");
        }
        wait_for_end(&mut stream);
    });
    let request = request(server.address(), 5).with(|scenario| {
        scenario.messages.every = SILENT;
        scenario.reconnect = soon();
    });
    let totals = run(request.until(|totals| totals.reconnected == 5)).0.totals;
    assert_eq!((totals.notices, totals.reconnected, totals.closed, totals.lost), (5, 5, 10, 0));
}

#[test]
fn an_end_after_a_notice_is_not_lost() {
    let server = Server::start(|mut stream, number| {
        if number < 4 {
            // The answer never comes: the server closes first.
            receive(&mut stream).unwrap();
            send(&mut stream, b"reconnect");
            return;
        }
        while let Some(request) = receive(&mut stream) {
            send(&mut stream, &request);
        }
    });
    let load = request(server.address(), 4).with(|scenario| scenario.reconnect = soon());
    let totals = run(load.until(|totals| totals.reconnected == 4)).0.totals;
    assert_eq!((totals.notices, totals.eof_after_notice, totals.eof), (4, 4, 0));
    assert_eq!((totals.lost, totals.messages_unanswered, totals.reconnected), (0, 4, 4));
}

#[test]
fn an_end_without_notice_is_lost_and_comes_back() {
    let server = Server::start(|mut stream, number| {
        if number < 6 {
            return;
        }
        while let Some(request) = receive(&mut stream) {
            send(&mut stream, &request);
        }
    });
    let request = request(server.address(), 6).with(|scenario| {
        scenario.messages.every = SILENT;
        scenario.reconnect = soon();
    });
    let totals = run(request.until(|totals| totals.reconnected == 6)).0.totals;
    assert_eq!((totals.eof, totals.lost, totals.reconnected, totals.attempted), (6, 6, 6, 12));
}

#[test]
fn a_reset_is_told_from_a_close() {
    let server = Server::start(|mut stream, _| {
        receive(&mut stream).unwrap();
        // Closing with unread bytes waiting resets the connection; so does a linger of zero, always.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let totals = run(request(server.address(), 7).until(|totals| totals.reset == 7)).0.totals;
    assert_eq!((totals.reset, totals.eof, totals.lost), (7, 0, 7));
    assert_eq!((totals.messages_sent, totals.messages_unanswered), (7, 7));
}

#[test]
fn a_refusal_is_counted_and_tried_again() {
    let address = fixtures::nobody();
    let totals = run(request(address, 9)).0.totals;
    assert_eq!((totals.attempted, totals.refused, totals.connected, totals.lost), (9, 9, 0, 0));
    let load = request(address, 2).with(|scenario| scenario.reconnect = soon());
    let totals = run(load.until(|totals| totals.refused > 2)).0.totals;
    // The close cuts off an attempt that is in progress.
    assert!(totals.refused > 2 && totals.attempted - totals.refused <= 2, "{totals:?}");
}

#[test]
fn a_message_that_is_not_answered_in_time_ends_its_connection() {
    let server = Server::start(|mut stream, _| wait_for_end(&mut stream));
    let request = request(server.address(), 5)
        .with(|scenario| scenario.messages.timeout = Some(Duration::from_millis(80)));
    let (summary, _) = run(request.until(|totals| totals.message_timeouts == 5));
    let totals = summary.totals;
    assert_eq!((totals.messages_sent, totals.message_timeouts, totals.messages_unanswered), (5, 5, 5));
    assert_eq!((totals.given_up, totals.lost), (5, 0));
    assert_eq!(summary.message.count, 0, "percentiles are of what was answered: {:?}", summary.message);
    // A message was due every 20 ms until the connection was given up; only the first was sent.
    assert!(totals.messages_never_sent >= 5 * 3, "{totals:?}");
}

#[test]
fn outstanding_messages_are_answered_before_the_close() {
    let gate = Arc::new(Mutex::new(()));
    let until_the_close = Arc::clone(&gate);
    let mut closed = Some(gate.lock());
    // The server answers nothing before the load closes.
    let server = Server::start(move |mut stream, _| {
        while receive(&mut stream).is_some() {
            drop(until_the_close.lock());
            send(&mut stream, b"12345");
        }
    });
    let totals = run_under(&request(server.address(), 3), &Control::new(), |event| {
        if matches!(event, EventKind::PhaseStarted { phase, .. } if phase == "close") {
            closed.take();
        }
    })
    .0
    .totals;
    assert_eq!((totals.messages_answered, totals.messages_sent, totals.closed), (3, 3, 3), "{totals:?}");
}

#[test]
fn single_connections_are_traced_on_request() {
    let server = Server::echo();
    let (_, events) = run(request(server.address(), 4).options(|options| options.trace_connections = true));
    let mut opened = Vec::new();
    let mut closed = Vec::new();
    for event in &events {
        match event {
            EventKind::ConnectionOpened { id, local, .. } => {
                assert!(local.ip().is_loopback() && local.port() != 0);
                opened.push(*id);
            }
            EventKind::ConnectionClosed { id, reason } => {
                assert_eq!(reason, "closed");
                closed.push(*id);
            }
            _ => {}
        }
    }
    closed.sort_unstable();
    assert_eq!((opened, closed), (vec![0, 1, 2, 3], vec![0, 1, 2, 3]));
}
