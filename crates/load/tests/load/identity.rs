//! Which replica serves a connection.

use std::{net::TcpStream, sync::Arc, thread};

use load::Identify;
use platform::event::Counters;
use uuid::Uuid;

use crate::server::{Server, payload, receive, request, run, send};

/// A replica with the parts of our protocol that matter here.
fn serve(stream: &mut TcpStream, identity: &[u8]) {
    while let Some(request) = receive(stream) {
        send(stream, if request == b"WHERE" { identity } else { b"12345" });
    }
}

fn shares(summary: &platform::event::LoadSummary) -> Vec<(String, u64)> {
    summary.shares.iter().map(|share| (share.replica.clone(), share.connections)).collect()
}

#[test]
fn connections_are_counted_by_the_replica_that_serves_them() {
    let identities = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let server = Server::start(move |mut stream, number| {
        // The first connection is the probe's.
        let identity = identities[usize::from(number % 4 == 0)].to_string();
        serve(&mut stream, identity.as_bytes());
    });
    let load = request(server.address(), 20).options(|options| {
        options.identify = Identify::Auto;
        options.replica_names = Some(Arc::new(|own: &str| own.ends_with("01").then(|| "tcp-0".to_owned())));
    });
    let (summary, _) = run(load.until(|totals| totals.where_answered == 20));
    assert_eq!(shares(&summary), [("00000000".to_owned(), 5), ("tcp-0".to_owned(), 15)]);
    let skew = summary.skew.unwrap();
    assert!((skew.max_over_mean - 1.5).abs() < 1e-9 && (skew.jain - 0.8).abs() < 1e-9, "{skew:?}");
    let Counters { where_sent, where_answered, messages_wrong, connected, .. } = summary.totals;
    assert_eq!((where_sent, where_answered, messages_wrong, connected), (20, 20, 0, 20));
    assert_eq!(server.accepted(), 21);
}

#[test]
fn an_identity_may_arrive_in_pieces_and_with_a_notice() {
    let identity = Uuid::from_u128(7).to_string();
    let server = Server::start(move |mut stream, number| {
        stream.set_nodelay(true).unwrap();
        if number == 0 {
            receive(&mut stream).unwrap();
            send(&mut stream, &identity.as_bytes()[..10]);
            thread::yield_now();
            send(&mut stream, &identity.as_bytes()[10..]);
            send(&mut stream, b"reconnect");
        }
        serve(&mut stream, format!("{identity}\n").as_bytes());
    });
    let request = request(server.address(), 1)
        .with(|scenario| scenario.reconnect = crate::server::soon())
        .options(|options| options.identify = Identify::Always);
    let (summary, _) = run(request.until(|totals| totals.where_answered == 2));
    assert_eq!((summary.totals.where_answered, summary.totals.notices, summary.totals.lost), (2, 1, 0));
    assert_eq!(shares(&summary), [("00000000".to_owned(), 1)]);
}

#[test]
fn a_greeting_is_neither_an_identity_nor_an_answer() {
    const GREETING: &[u8] = b"use 'WHY', 'WHO', 'WHERE', 'QUIT'\n";
    let identity = Uuid::from_u128(7).to_string();
    let server = Server::start(move |mut stream, number| {
        send(&mut stream, &GREETING[..GREETING.len() - number % 9]);
        thread::yield_now();
        send(&mut stream, &GREETING[GREETING.len() - number % 9..]);
        while let Some(request) = receive(&mut stream) {
            let answer = if request == b"WHERE" { &identity } else { "12345" };
            send(&mut stream, format!("{answer}\n").as_bytes());
        }
    });
    let load = request(server.address(), 20);
    for (identify, shown) in [(Identify::Auto, "00000000"), (Identify::Never, "unknown")] {
        let load = load.clone().options(|options| options.identify = identify);
        let (summary, _) = run(load.until(|totals| totals.messages_answered >= 40));
        assert_eq!(shares(&summary), [(shown.to_owned(), 20)]);
        let Counters { messages_wrong, messages_answered, .. } = summary.totals;
        assert!(messages_wrong == 0 && messages_answered >= 40, "{messages_wrong} {messages_answered}");
    }
}

#[test]
fn a_foreign_target_is_asked_once_and_is_unknown() {
    let server = Server::echo();
    let (summary, _) = run(request(server.address(), 3).options(|options| options.identify = Identify::Auto));
    assert_eq!(shares(&summary), [("unknown".to_owned(), 3)]);
    assert_eq!((summary.totals.where_sent, server.accepted()), (0, 4));
}

#[test]
fn a_target_with_another_payload_is_not_asked() {
    let server = Server::echo();
    let request = request(server.address(), 3)
        .with(|scenario| scenario.messages.payload = payload("ping"))
        .options(|options| options.identify = Identify::Auto);
    assert_eq!(run(request).0.totals.messages_wrong, 0);
    assert_eq!(server.accepted(), 3);
}

#[test]
fn a_target_with_an_unexpected_identity_answer_is_still_used() {
    let server = Server::start(|mut stream, _| serve(&mut stream, b"error: unknown command"));
    let request = request(server.address(), 3).options(|options| options.identify = Identify::Always);
    let (summary, _) = run(request.until(|totals| totals.messages_answered >= 6));
    assert_eq!((summary.totals.where_sent, summary.totals.where_answered), (3, 0));
    assert_eq!((summary.totals.messages_wrong, summary.totals.messages_unanswered), (0, 0));
    assert!(summary.totals.messages_answered >= 6);
}
