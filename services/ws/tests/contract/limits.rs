use fixtures::{Redis, eventually, settles};
use tokio_tungstenite::tungstenite::Message;

use crate::support::Ws;

const HINT: (&str, &str) = ("Sec-WebSocket-Protocol", "retry-hint");

#[test]
fn a_client_beyond_the_limit_is_accepted_and_closed_with_1013() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("MAX_CONNECTIONS_PER_HOST", "2")]);
    let (mut first, second) = (ws.open("1"), ws.open("2"));
    ws.expect_metric("ws_sessions", 2);
    assert_eq!(ws.open("3").closed(), (1013, "Maximum connections per host reached".into()));
    ws.expect_metric("ws_refused_total{reason=\"full\"}", 1);
    assert_eq!(first.say("still here"), "still here");
    drop(second);
    eventually("there is room again", || ws.metric("ws_sessions") == 1);
    assert_eq!(ws.open("4").say("hi"), "hi");
}

#[test]
fn clients_that_request_hints_are_told_when_to_return() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("MAX_CONNECTIONS_PER_HOST", "1"), ("RETRY_AFTER", "4")]);
    let _first = ws.open("1");
    ws.expect_metric("ws_sessions", 1);
    let (code, reason) = ws.open_with("2", &[HINT]).closed();
    let hint = reason.strip_prefix("Maximum connections per host reached; retry in ").unwrap();
    let milliseconds: u64 = hint.strip_suffix(" ms").unwrap().parse().unwrap();
    assert_eq!(code, 1013);
    assert!((4000..=6000).contains(&milliseconds), "{milliseconds}");
}

#[test]
fn too_long_or_binary_messages_end_the_session_with_a_reason() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("MAX_MESSAGE", "1000")]);
    let mut fits = ws.open("1");
    assert_eq!(fits.say(&"x".repeat(1000)).len(), 1000);
    fits.0.send(Message::text("x".repeat(1001))).unwrap();
    assert_eq!(fits.closed(), (1009, "Message too long".into()));
    let mut binary = ws.open("2");
    binary.0.send(Message::binary(vec![0; 3])).unwrap();
    assert_eq!(binary.closed(), (1003, "Only text messages".into()));
    ws.expect_metric("ws_sessions_ended_total{by=\"refused\"}", 2);
}

#[test]
fn clients_of_a_storm_wait_their_turn_and_the_last_are_told_when_to_return() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("ACCEPT_RATE", "1"), ("ACCEPT_WAIT", "1")]);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let storm: Vec<_> = (0..10)
            .map(|user| {
                scope.spawn({
                    let ws = &ws;
                    move || ws.try_open(&user.to_string(), &[]).map(drop)
                })
            })
            .collect();
        storm.into_iter().map(|client| client.join().unwrap()).collect()
    });
    // The first is accepted at once, a second within the wait; on a slow machine some arrive later at an empty queue.
    let opened = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(opened >= 2, "{outcomes:?}");
    for refusal in outcomes.into_iter().filter_map(Result::err) {
        assert!(refusal.contains("503"), "{refusal}");
    }
    ws.expect_metric("ws_refused_total{reason=\"rate\"}", 10 - opened as u64);
}

#[test]
fn a_refused_user_has_a_key_for_a_while() {
    let redis = Redis::start();
    let ws = Ws::start(
        &redis,
        &[("MAX_CONNECTIONS_PER_HOST", "1"), ("HOST_ID", "10.0.0.1"), ("RETRY_AFTER", "600")],
    );
    let _first = ws.open("first");
    ws.expect_metric("ws_sessions", 1);
    ws.open("second").closed();
    settles("the key", vec!["10.0.0.1".to_owned()], || redis.say(&["GET", "WsRefused#second"]));
    assert_eq!(ws.users(), ["first"]);
    let left: u64 = redis.say(&["PTTL", "WsRefused#second"])[0].parse().unwrap();
    assert!((1..=1_800_000).contains(&left), "{left}");
}
