//! The end of a gateway: graceful, at its deadline, and at once.

use std::io::{Read, Write};
use std::net::TcpStream;

use service::Phase;

use crate::support::{Replica, Running, assert_echo, endpoint, is_closed, settles, wait_until};

#[test]
fn a_drain_lets_sessions_finish_and_accepts_no_new_ones() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let client = running.connect();
    assert_echo(&client, "before");

    running.shutdown.drain();
    settles("/readyz", 503, || running.get("/readyz").0);
    wait_until("it does not listen", || TcpStream::connect(running.address).is_err());
    assert_echo(&client, "while it drains");
    assert!(!running.has_ended());
    drop(client);
    running.join().unwrap();
}

#[test]
fn a_gateway_without_sessions_ends_at_once() {
    let running = Running::with(&[], &[]);
    running.shutdown.drain();
    running.join().unwrap();
}

#[test]
fn connections_waiting_when_the_drain_starts_are_still_served() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let mut clients: Vec<_> = (0..100).map(|_| running.connect()).collect();
    running.shutdown.drain();
    for client in &mut clients {
        client.write_all(b"msg").unwrap();
        client.read_exact(&mut [0; 3]).unwrap();
    }
    drop(clients);
    running.join().unwrap();
}

#[test]
fn remaining_sessions_are_cut_at_the_deadline() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[("DRAIN_TIMEOUT", "100ms")]);
    let client = running.connect();
    assert_echo(&client, "before");
    running.shutdown.drain();
    assert!(is_closed(&client));
    running.join().unwrap();
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let client = running.connect();
    assert_echo(&client, "before");
    running.shutdown.advance();
    assert_echo(&client, "while it drains");
    running.shutdown.advance();
    assert_eq!(running.shutdown.phase(), Phase::Forced);
    assert!(is_closed(&client));
    running.join().unwrap();
}
