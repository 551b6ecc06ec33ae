//! Bytes arrive unchanged, in any number and at any reading speed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::support::{Replica, Running, assert_echo, connect, endpoint, pause, wait_until};

/// Bytes that follow from the seed, so that both ends know them without sending them twice.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Pcg64::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Writes `data` in pieces of random sizes up to `piece_max`.
fn write_in_pieces(mut stream: &TcpStream, data: &[u8], piece_max: usize, seed: u64) {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut rest = data;
    while !rest.is_empty() {
        let length = random.random_range(1..=piece_max).min(rest.len());
        stream.write_all(&rest[..length]).unwrap();
        rest = &rest[length..];
    }
}

/// Sends bytes through an echoing backend and compares what comes back.
fn assert_echoes(running: &Running, length: usize, piece_max: usize, seed: u64) {
    let stream = running.connect();
    let sent = bytes(seed, length);
    let echoed = std::thread::scope(|scope| {
        scope.spawn(|| {
            write_in_pieces(&stream, &sent, piece_max, seed);
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let mut echoed = Vec::with_capacity(length);
        (&stream).read_to_end(&mut echoed).unwrap();
        echoed
    });
    assert_eq!(echoed.len(), sent.len());
    assert!(echoed == sent, "{length} bytes came back changed");
}

#[test]
fn messages_travel_back_and_forth() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let stream = running.connect();
    for number in 0..100 {
        assert_echo(&stream, &format!("msg:{number}"));
    }
    drop(stream);
    running.expect_count("tcp-0", "closed", 1);
    for (count, value) in [("opened", 1), ("active", 0), ("bytes_to", 590), ("bytes_from", 590)] {
        running.expect_count("tcp-0", count, value);
    }
    running.expect_metric("gateway_backend_sent_bytes_total{backend=\"tcp-0\"}", 590);
    running.expect_metric("gateway_connections_opened_total", 1);
    running.expect_metric("gateway_connections_closed_total", 1);
}

#[test]
fn a_backend_that_speaks_first_is_heard() {
    let replica = Replica::named("tcp-0");
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let mut greeting = [0; 5];
    running.connect().read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"tcp-0");
}

#[test]
fn sixty_four_kib_and_ten_mib_come_back_unchanged() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    for (length, piece_max) in
        [(64 << 10, 64 << 10), (64 << 10, 1 << 10), (10 << 20, 1 << 20), (10 << 20, 9_999)]
    {
        assert_echoes(&running, length, piece_max, 11);
    }
}

#[test]
fn pieces_of_any_size_come_back_unchanged() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    proptest!(ProptestConfig::with_cases(24), |(length in 0..600_000_usize, piece_max in 1..300_000_usize, seed: u64)| {
        // Single bytes would take long without showing more.
        assert_echoes(&running, length, piece_max.max(length / 500), seed);
    });
}

#[test]
fn a_long_stream_in_one_direction_is_exact() {
    const LENGTH: usize = 48 << 20;
    let replica = Replica::new(|stream| {
        write_in_pieces(&stream, &bytes(3, LENGTH), 4 << 20, 3);
    });
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let mut received = Vec::with_capacity(LENGTH);
    running.connect().read_to_end(&mut received).unwrap();
    assert!(received == bytes(3, LENGTH), "{} of {LENGTH} bytes, or changed", received.len());
    running.expect_count("tcp-0", "bytes_from", LENGTH as u64);
}

#[test]
fn a_slow_reader_slows_the_sender_and_not_the_others() {
    // More than the kernel's buffers and the gateway's can hold.
    const LENGTH: usize = 64 << 20;
    const HELD_MAX: u64 = 1 << 20;
    let data: &'static [u8] = bytes(5, LENGTH).leak();
    let replica = Replica::new(move |mut stream| {
        let mut order = [0];
        if stream.read_exact(&mut order).is_ok() && order[0] == b'm' {
            let _ = stream.write_all(data);
        } else {
            crate::support::echo(stream);
        }
    });
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let mut slow = running.connect();
    slow.write_all(b"m").unwrap();

    let mut before = 0;
    wait_until("the gateway stops reading for a reader that does not read", || {
        pause(std::time::Duration::from_millis(50));
        let now = running.count("tcp-0", "bytes_from");
        let stands = now > 0 && now == before;
        before = now;
        stands
    });
    assert!(before < HELD_MAX, "{before} bytes were taken from the backend");
    // A loop that spins never stands still.
    running.expect_sleep();

    let mut other = connect(running.address);
    other.write_all(b"e").unwrap();
    assert_echo(&other, "undisturbed");

    let mut received = Vec::with_capacity(LENGTH);
    slow.read_to_end(&mut received).unwrap();
    assert!(received == data, "{} of {LENGTH} bytes, or changed", received.len());
}
