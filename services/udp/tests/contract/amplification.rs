//! Forging a source address gains nothing: without an existing token no reply is longer than its request, except for
//! brief errors; with one, it is longer by at most the longest value.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Connect as _, Memcached, Peer, Running, settings, start, start_with};

/// By the contract, the longest reply to a request without a valid token.
fn without_token(request: &[u8]) -> usize {
    request.len().max(32)
}

/// By the contract, the longest reply to a request with an existing token.
fn with_token(request: &[u8]) -> usize {
    request.len() + 256
}

const TOKEN: &str = "123e4567-e89b-12d3-a456-426614174000";

/// Packets near the grammar: its words, separators, tokens and keys of all kinds, and garbage.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "msg", "brd", "mcset", "mcget", "login", "WHO", ":", "::", "\r\n", " ", "\0"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
        "[0-9a-f-]{35,37}".prop_map(String::into_bytes),
        (0..600_usize).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Complete memcached requests, for keys that exist (and are not changed) and keys that do not. Each gets one reply.
fn cached(token: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof![Just("long".to_owned()), Just("longest".to_owned()), "[a-z]{1,80}"];
    (prop::bool::ANY, token, key, "[ -~]{0,300}").prop_map(|(stores, token, key, value)| {
        let packet =
            if stores { format!("mcset:{token}:my-{key}:{value}") } else { format!("mcget:{token}:{key}") };
        packet.into_bytes()
    })
}

/// Checks with `cases` packets that no reply is longer than `longest` allows.
#[track_caller]
fn check(
    cases: u32,
    packets: &impl Strategy<Value = Vec<u8>>,
    reply_to: impl Fn(&[u8]) -> Option<Vec<u8>>,
    longest: fn(&[u8]) -> usize,
) {
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let checked = runner.run(packets, |packet| {
        if let Some(reply) = reply_to(&packet) {
            prop_assert!(reply.len() <= longest(&packet), "{:?}", String::from_utf8_lossy(&reply));
        }
        Ok(())
    });
    checked.unwrap();
}

fn exchange(peer: &Peer) -> impl Fn(&[u8]) -> Option<Vec<u8>> {
    |packet| {
        peer.send(packet);
        Some(peer.receive())
    }
}

/// Values that another client of memcached may have stored: within `mcset`'s limit, at the limit of replies, above it.
fn with_values(memcached: &Memcached) -> Running {
    memcached.put(TOKEN, "192.0.2.1:1234");
    memcached.put("c-long", &"v".repeat(256));
    let request = format!("mcget:{TOKEN}:longest");
    memcached.put("c-longest", &"v".repeat(request.len() + 256));
    memcached.put("c-k", &"v".repeat(5_000));
    start_with(memcached)
}

#[test]
fn a_reply_without_a_token_is_no_longer_than_its_request() {
    let server = start(settings());
    let peer = server.peer();
    check(2_000, &packets(), |packet| peer.reply(packet), without_token);

    let memcached = Memcached::start();
    let server = with_values(&memcached);
    let no_token = prop_oneof!["[0-9A-Za-z-]{36}", "[0-9A-Za-z:_ -]{0,50}"];
    check(1_000, &cached(no_token), exchange(&server.peer()), without_token);
}

#[test]
fn a_reply_with_a_token_exceeds_its_request_by_one_value_at_most() {
    let memcached = Memcached::start();
    let server = with_values(&memcached);
    let peer = server.peer();
    check(1_000, &cached(Just(TOKEN.to_owned())), exchange(&peer), with_token);
    // The limits are reached, so the property does not only hold for errors.
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:long")).len(), 256);
    let request = format!("mcget:{TOKEN}:longest");
    assert_eq!(peer.ask(&request).len(), with_token(request.as_bytes()));
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:k")), "error: value too long");
}
