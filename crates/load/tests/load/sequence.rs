//! Sessions with numbered messages: lost, duplicated and reordered ones, and how long moves take.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use platform::event::Counters;
use scenario::{Every, Protocol, Reconnect};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::server::{Load, Server, receive, request, run, send, soon};

fn numbered(server: &Server, connections: u64) -> Load {
    request(server.address(), connections).with(|scenario| {
        scenario.messages.sequence = true;
        scenario.messages.every = Some(Every::Interval(Duration::from_millis(10)));
        scenario.reconnect = soon();
    })
}

/// The sequence counters: lost, resumed, duplicated, reordered, overdue, stray.
fn seen(totals: &Counters) -> [u64; 6] {
    [
        totals.messages_lost,
        totals.messages_resumed,
        totals.messages_duplicated,
        totals.messages_reordered,
        totals.messages_overdue,
        totals.messages_stray,
    ]
}

#[test]
fn numbering_continues_over_the_connections_of_a_session() {
    // Each connection gets five answers and a notice with the sixth.
    let server = Server::start(|mut stream, _| {
        for answer in 0.. {
            let Some(message) = receive(&mut stream) else { return };
            send(&mut stream, &message[4..]);
            if answer == 5 {
                send(&mut stream, b"reconnect");
            }
        }
    });
    let (summary, _) = run(numbered(&server, 3).until(|totals| totals.reconnected >= 6));
    let totals = summary.totals;
    assert_eq!(seen(&totals), [0; 6]);
    assert!(totals.moves >= 3 && totals.moves == totals.reconnected, "{totals:?}");
    assert_eq!((totals.messages_wrong, totals.moves_elsewhere), (0, 0));
    assert!(summary.gap.count >= 3 && summary.gap.count == summary.gap_without_delay.count);
    // The clients' own delay is at least 20 ms.
    assert!(summary.gap.min_us >= 20_000 && summary.gap_without_delay.min_us < summary.gap.min_us);
}

#[test]
fn messages_outstanding_when_a_connection_ends_are_lost() {
    let server = Server::start(|mut stream, _| {
        for _ in 0..3 {
            let Some(message) = receive(&mut stream) else { return };
            send(&mut stream, &message);
        }
        drop(receive(&mut stream));
    });
    let totals = run(numbered(&server, 2).until(|totals| totals.messages_lost >= 2)).0.totals;
    let [lost, rest @ ..] = seen(&totals);
    assert!(lost >= 2 && lost <= totals.messages_cut_off && rest == [0; 5], "{totals:?}");
}

#[test]
fn messages_that_cross_a_notice_are_resent() {
    let server = Server::start(|mut stream, number| {
        while let Some(message) = receive(&mut stream) {
            if number % 2 == 0 {
                return send(&mut stream, b"reconnect");
            }
            send(&mut stream, &message[4..]);
        }
    });
    let totals = run(numbered(&server, 1).until(|totals| totals.reconnected == 1)).0.totals;
    assert_eq!(seen(&totals), [0, 1, 0, 0, 0, 0], "{totals:?}");
    assert_eq!(totals.messages_answered + totals.messages_cut_off, totals.messages_sent);
}

#[test]
fn duplicate_and_stray_answers_are_told_apart() {
    for (is_double, expected) in [(true, 2), (false, 5)] {
        let server = Server::start(move |mut stream, _| {
            let mut count = 0;
            while let Some(message) = receive(&mut stream) {
                let answer = &message[4..];
                count += 1;
                match (count, is_double) {
                    (2, true) => send(&mut stream, &[answer, answer].concat()),
                    // Before its own answer, the one for a session of another load.
                    (2, false) => send(&mut stream, &[b"ffffffff", &answer[8..], answer].concat()),
                    _ => send(&mut stream, answer),
                }
            }
        });
        let one = |totals: &Counters| totals.messages_duplicated + totals.messages_stray == 1;
        let totals = run(numbered(&server, 1).until(one)).0.totals;
        let mut wanted = [0; 6];
        wanted[expected] = 1;
        assert_eq!(seen(&totals), wanted, "{totals:?}");
    }
}

#[test]
fn an_answer_that_comes_on_a_later_connection_is_late() {
    let held: Mutex<Vec<u8>> = Mutex::default();
    let server = Server::start(move |mut stream, number| {
        let mut count = 0;
        while let Some(message) = receive(&mut stream) {
            let answer = message[4..].to_vec();
            count += 1;
            let mut held = held.lock();
            match (number, count) {
                // Kept until the client has given up.
                (0, 2) => *held = answer,
                (1, 2) => send(&mut stream, &[answer, std::mem::take(&mut *held)].concat()),
                _ => send(&mut stream, &answer),
            }
        }
    });
    let load = numbered(&server, 1)
        .with(|scenario| scenario.messages.timeout = Some(Duration::from_secs(1)))
        .until(|totals| totals.messages_reordered == 1);
    let totals = run(load).0.totals;
    assert_eq!(seen(&totals), [1, 0, 0, 1, 0, 0], "{totals:?}");
}

#[test]
fn websockets_are_followed_over_replicas() {
    static MOVED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(|stream, number| {
        #[expect(clippy::result_large_err, reason = "the type that tungstenite asks for")]
        let add = |_: &tungstenite::handshake::server::Request,
                   mut response: tungstenite::handshake::server::Response| {
            let host = format!("10.0.0.{}", number % 2);
            response.headers_mut().insert("Host-Id", host.parse().unwrap());
            Ok(response)
        };
        let Ok(mut socket) = tungstenite::accept_hdr(stream, add) else { return };
        while let Ok(message) = socket.read() {
            if !message.is_text() {
                continue;
            }
            // The first connection moves with a message in flight.
            if number == 0 {
                MOVED.fetch_add(1, Ordering::AcqRel);
                let reason = "Server Rebalancing; retry in 30 ms".into();
                let _ = socket.close(Some(CloseFrame { code: CloseCode::from(4001), reason }));
                continue;
            }
            let Message::Text(text) = &message else { continue };
            assert_eq!(text.len(), "msg:".len() + 16 + "12345".len());
            let _ = socket.send(message);
        }
    });
    let load = numbered(&server, 1).with(|scenario| {
        scenario.protocol = Protocol::Ws;
        scenario.reconnect = Reconnect { delay: Some(Duration::from_hours(1)), ..Reconnect::default() };
    });
    let (summary, _) = run(load.until(|totals| totals.moves == 1));
    let totals = summary.totals;
    assert_eq!(seen(&totals), [0, 1, 0, 0, 0, 0], "{totals:?}");
    assert_eq!((totals.moves, totals.moves_elsewhere, totals.messages_wrong), (1, 1, 0));
    assert!(summary.gap.min_us >= 30_000 && summary.gap_without_delay.max_us < summary.gap.max_us);
    assert_eq!(MOVED.load(Ordering::Acquire), 1);
}
