//! How connections end: half-closes and resets are passed on unchanged.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;

use crate::support::{PATIENCE, Replica, Running, endpoint, reset, settles, wait_until};

/// A backend that passes its connections to the test.
fn handed_out() -> (Replica, mpsc::Receiver<TcpStream>) {
    let (give, take) = mpsc::channel();
    let replica = Replica::new(move |stream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = give.send(stream);
    });
    (replica, take)
}

struct Pair {
    client: TcpStream,
    backend: TcpStream,
    running: Running,
}

fn pair() -> Pair {
    let (replica, take) = handed_out();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let client = running.connect();
    let backend = take.recv_timeout(PATIENCE).unwrap();
    Pair { client, backend, running }
}

fn read_all(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let Pair { mut client, mut backend, running } = pair();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&backend), "question");
    backend.write_all(b"answer").unwrap();
    backend.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&client), "answer");
    running.expect_count("tcp-0", "active", 0);
    running.expect_metric("gateway_sessions_reset_total", 0);
}

#[test]
fn a_half_closed_backend_still_hears_its_client() {
    let Pair { mut client, mut backend, running } = pair();
    backend.write_all(b"welcome").unwrap();
    backend.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&client), "welcome");
    client.write_all(b"thanks").unwrap();
    drop(client);
    assert_eq!(read_all(&backend), "thanks");
    running.expect_count("tcp-0", "closed", 1);
}

#[test]
fn a_client_that_only_connects_and_closes_is_passed_on() {
    let Pair { client, backend, running } = pair();
    drop(client);
    assert_eq!(read_all(&backend), "");
    drop(backend);
    running.expect_count("tcp-0", "closed", 1);
    running.expect_count("tcp-0", "failed", 0);
}

#[test]
fn a_clients_reset_resets_the_backends_connection() {
    let Pair { mut client, mut backend, running } = pair();
    client.write_all(b"x").unwrap();
    backend.read_exact(&mut [0]).unwrap();
    reset(client);
    let error = backend.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    running.expect_metric("gateway_sessions_reset_total", 1);
    running.expect_count("tcp-0", "active", 0);
}

#[test]
fn a_backends_reset_resets_the_clients_connection_after_its_last_words() {
    let Pair { mut client, mut backend, running } = pair();
    client.write_all(b"x").unwrap();
    backend.read_exact(&mut [0]).unwrap();
    backend.write_all(b"last words").unwrap();
    let mut words = [0; 10];
    client.read_exact(&mut words).unwrap();
    assert_eq!(&words, b"last words");
    reset(backend);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    running.expect_metric("gateway_sessions_reset_total", 1);
}

#[test]
fn a_client_that_resets_while_its_backend_does_not_read_is_not_kept() {
    let Pair { client, backend, running } = pair();
    client.set_nonblocking(true).unwrap();
    let chunk = vec![0; 1 << 20];
    let mut sent = 0;
    wait_until("every buffer on the way is full", || {
        let before = sent;
        while let Ok(length) = (&client).write(&chunk) {
            sent += length;
        }
        crate::support::pause(std::time::Duration::from_millis(50));
        sent > 0 && sent == before
    });
    reset(client);
    running.expect_count("tcp-0", "active", 0);
    drop(backend);
}

#[test]
fn thousands_of_aborting_clients_leave_nothing_behind() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    for round in 0..2_000 {
        let mut client = running.connect();
        match round % 4 {
            0 => drop(client),
            1 => reset(client),
            2 => {
                client.write_all(b"msg").unwrap();
                reset(client);
            }
            _ => {
                client.write_all(b"msg").unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                drop(client);
            }
        }
    }
    running.expect_metric("gateway_connections_closed_total", 2_000);
    running.expect_count("tcp-0", "active", 0);
    let count = |name| running.count("tcp-0", name);
    settles("sessions that ended", count("opened"), || count("closed") + count("failed"));
    running.expect_metric("gateway_connections_active", 0);
}
