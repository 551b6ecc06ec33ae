//! Whoever forges a source address gains nothing: no reply is longer than its request, but for brief errors.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{settings, start};

/// The longest reply to a request that proves nothing, by the contract.
fn longest(request: &[u8]) -> usize {
    request.len().max(32)
}

/// Packets near the grammar: its words, separators, tokens and keys of all kinds, and rubbish.
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

#[test]
fn no_packet_without_a_token_gets_more_than_it_brought() {
    let server = start(settings());
    let peer = server.peer();
    let mut runner = TestRunner::new(Config { cases: 2000, ..Config::default() });
    runner
        .run(&packets(), |packet| {
            if let Some(reply) = peer.reply(&packet) {
                prop_assert!(reply.len() <= longest(&packet), "{:?}", String::from_utf8_lossy(&reply));
            }
            Ok(())
        })
        .unwrap();
}
