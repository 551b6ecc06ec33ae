//! Every pattern against the minimal servers, both in this process.

use std::{net::SocketAddr, time::Duration};

use super::{
    Traffic, blocks::Blocks, connects::Connects, datagrams::Datagrams, dial, held::Held, ping_pong::PingPong,
    stamped, stream::Stream, trickle, websocket,
};
use crate::{loopback, measure::wait, reference};

const MESSAGE: &[u8] = b"msg:12345";
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the traffic has reached this much.
fn expect(traffic: &Traffic, units: u64) {
    let deadline = clock::now() + PATIENCE;
    while traffic.units() < units {
        traffic.check().unwrap();
        assert!(clock::now() < deadline, "{} of {units} after {PATIENCE:?}", traffic.units());
        wait(Duration::from_millis(1));
    }
}

fn echo() -> SocketAddr {
    reference::tests::echo()
}

#[test]
fn ping_pong_keeps_going() {
    let pattern = PingPong { target: echo(), connections: 10, message: MESSAGE, reply: MESSAGE.len() };
    let traffic = Traffic::start(2, move |meter| pattern.run(meter)).unwrap();
    expect(&traffic, 1000);
}

#[test]
fn frames_go_back_and_forth_in_sessions() {
    let pattern = PingPong {
        target: reference::tests::websocket(),
        connections: 10,
        message: websocket::FRAME,
        reply: websocket::ECHO.len(),
    };
    let sessions = move |meter: &_| pattern.over(&websocket::sessions(pattern.target, 10)?, meter);
    expect(&Traffic::start(1, sessions).unwrap(), 1000);
    let error = websocket::sessions(echo(), 1).unwrap_err();
    assert!(error.to_string().contains("no session"), "{error}");
}

#[test]
fn an_answer_that_is_too_long_fails() {
    let pattern = PingPong { target: echo(), connections: 1, message: MESSAGE, reply: 5 };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter)).unwrap();
    let deadline = clock::now() + PATIENCE;
    while traffic.check().is_ok() {
        assert!(clock::now() < deadline, "the failure was not noticed");
        wait(Duration::from_millis(1));
    }
    assert!(traffic.check().unwrap_err().to_string().contains("longer than expected"));
}

#[test]
fn a_target_that_refuses_connections_is_an_error() {
    let target = loopback::address(200, 1, 1);
    let pattern = PingPong { target, connections: 1, message: MESSAGE, reply: 9 };
    let error = Traffic::start(1, move |meter| pattern.run(meter)).unwrap_err();
    assert!(error.to_string().contains("the load failed"), "{error}");
}

#[test]
fn connections_end_by_close_or_by_abort() {
    for abort in [false, true] {
        let pattern = Connects { target: echo(), at_once: 4, message: MESSAGE, abort };
        let traffic = Traffic::start(1, move |meter| pattern.run(meter)).unwrap();
        expect(&traffic, 200);
    }
}

#[test]
fn blocks_come_back_whole() {
    // Larger than the socket buffers, so that both sides have to wait in between.
    let pattern = Blocks { target: echo(), connections: 2, size: 16 << 20 };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter)).unwrap();
    expect(&traffic, 4 * (16 << 20));
}

#[test]
fn streams_flow_into_a_sink() {
    let pattern = Stream { target: reference::tests::sink(), connections: 2, piece: 64 * 1024 };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter)).unwrap();
    expect(&traffic, 64 << 20);
}

#[test]
fn datagrams_are_answered_window_by_window() {
    let target = reference::tests::datagrams();
    let pattern = Datagrams { target, peers: 4, window: 100, message: MESSAGE, reply: MESSAGE };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter)).unwrap();
    expect(&traffic, 10_000);
}

#[test]
fn a_datagram_that_is_not_an_answer_fails() {
    let target = reference::tests::datagrams();
    let pattern = Datagrams { target, peers: 1, window: 1, message: MESSAGE, reply: b"another" };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter)).unwrap();
    let deadline = clock::now() + PATIENCE;
    while traffic.check().is_ok() {
        assert!(clock::now() < deadline, "the failure was not noticed");
        wait(Duration::from_millis(1));
    }
    assert!(traffic.check().unwrap_err().to_string().contains("a wrong answer: \"msg:12345\""));
}

#[test]
fn trickled_messages_are_all_answered() {
    let target = echo();
    let traffic = Traffic::start(1, move |meter| {
        let streams = dial::many(target, 50)?;
        trickle::flow(&streams, MESSAGE, Duration::from_millis(100), meter)
    })
    .unwrap();
    expect(&traffic, 200);
}

#[test]
fn held_connections_were_answered_and_their_times_are_the_kernels() {
    let held = Held::open(echo(), 20, MESSAGE).unwrap();
    stamped::enable(held.streams()).unwrap();
    for mut stream in held.streams() {
        std::io::Write::write_all(&mut stream, MESSAGE).unwrap();
    }
    let times = stamped::times(held.streams(), MESSAGE.len(), Duration::ZERO, PATIENCE).unwrap();
    assert!(times.len() == 20 && times.is_sorted(), "{times:?}");
}
