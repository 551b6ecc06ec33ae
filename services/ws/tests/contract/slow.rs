use std::io::Write;
use std::net::TcpStream;

use fixtures::{Redis, eventually};
use tokio_tungstenite::tungstenite::Message;

use crate::support::Ws;

#[test]
fn a_client_that_does_not_read_is_cut_off_and_the_others_are_served() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("WRITE_TIMEOUT", "200ms")]);
    let mut slow = ws.open("slow");
    let mut other = ws.open("other");
    slow.0.get_ref().set_nonblocking(true).unwrap();
    let message = "x".repeat(60_000);
    eventually("it is given up", || {
        // Sends until nothing more is accepted, and reads nothing.
        let _ = slow.0.send(Message::text(&*message));
        other.say("hi") == "hi" && ws.metric("ws_sessions_ended_total{by=\"lost\"}") == 1
    });
}

#[test]
fn a_silent_peer_is_pinged_and_given_up_unless_it_answers() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("PING_INTERVAL", "2")]);
    let dead = ws.open("dead");
    let mut alive = ws.open("alive");
    eventually("the dead one is given up", || {
        // Reading answers pings.
        assert!(alive.is_open());
        ws.metric("ws_sessions_ended_total{by=\"lost\"}") == 1
    });
    assert_eq!(ws.metric("ws_sessions"), 1);
    drop(dead);
}

#[test]
fn endless_requests_do_not_block_others() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[]);
    let half_sent: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(ws.address).unwrap();
            stream.write_all(b"GET /api/v1/websocket/x HTTP/1.1\r\nHost: t").unwrap();
            stream
        })
        .collect();
    assert_eq!(ws.open("anna").say("hi"), "hi");
    drop(half_sent);
}
