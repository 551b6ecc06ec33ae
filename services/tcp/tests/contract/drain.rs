//! The end of a server: SIGTERM, notices, and the second signal.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Client, Connect as _, Running, eventually, settings, start};

#[test]
fn a_drain_keeps_accepting_then_notifies_then_closes() {
    // Long enough for a client to connect and send a command on a busy machine.
    let server = start(tcp::Settings {
        sigterm_timeout: Duration::from_secs(3),
        drain_spread: Duration::from_millis(200),
        drain_grace: Duration::from_secs(3),
        ..settings()
    });
    let (mut packets, mut lines) = (server.client(), server.client());
    packets.expect_nothing_waits();
    lines.send("WHY\n");
    lines.expect("42\n");

    server.shutdown.drain();
    eventually("it is not ready any more", || server.page("/readyz") == (503, "draining\n".into()));
    let mut late = server.client();
    late.expect_nothing_waits();

    packets.expect("reconnect");
    lines.expect("reconnect\n");
    late.expect("reconnect");
    // Between its notice and its end, a client is served as usual.
    lines.send("msg:still here\n");
    lines.expect("still here\n");
    assert!(TcpStream::connect(server.address).is_err(), "nothing is accepted any more");
    for client in [&mut packets, &mut lines, &mut late] {
        client.expect_closed();
    }
    drop((packets, lines, late));
    server.join();
}

#[test]
fn without_connections_a_drain_ends_after_the_timeout() {
    let server = start(tcp::Settings {
        sigterm_timeout: Duration::from_millis(200),
        drain_spread: Duration::from_hours(1),
        drain_grace: Duration::from_hours(1),
        ..settings()
    });
    server.shutdown.drain();
    server.join();
}

#[test]
fn a_drain_ends_when_the_last_client_leaves() {
    let server = start(tcp::Settings {
        sigterm_timeout: Duration::ZERO,
        drain_spread: Duration::ZERO,
        drain_grace: Duration::from_hours(1),
        ..settings()
    });
    let mut client = server.client();
    client.expect_nothing_waits();
    server.shutdown.drain();
    client.expect("reconnect");
    drop(client);
    server.join();
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let server = start(settings());
    let mut client = server.client();
    client.expect_nothing_waits();
    server.shutdown.advance();
    eventually("it drains", || server.page("/readyz").0 == 503);
    assert!(!server.has_ended());
    server.shutdown.advance();
    client.expect_closed();
    server.join();
}

#[test]
fn the_notices_are_spread() {
    const CLIENTS: usize = 200;
    let server = start(tcp::Settings {
        sigterm_timeout: Duration::ZERO,
        drain_spread: Duration::from_secs(2),
        drain_grace: Duration::from_secs(5),
        ..settings()
    });
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    clients.iter_mut().for_each(Client::expect_nothing_waits);
    server.shutdown.drain();
    let noticed = |clients: &[Client]| {
        let peeks = clients.iter().filter(|client| {
            client.stream.set_nonblocking(true).unwrap();
            client.stream.peek(&mut [0]).is_ok()
        });
        peeks.count()
    };
    // At some moment, some clients have their notice and others do not, so the notices are spread.
    eventually("some have their notice", || (1..CLIENTS).contains(&noticed(&clients)));
    eventually("all have their notice", || noticed(&clients) == CLIENTS);
    for client in &mut clients {
        client.stream.set_nonblocking(false).unwrap();
        client.expect("reconnect");
    }
}

/// Sends as fast as it gets replies, until the server closes. Returns how many were answered, and whether it got a
/// notice.
fn keep_asking(server: &Running) -> std::thread::JoinHandle<(u64, bool)> {
    let mut client = server.client();
    std::thread::spawn(move || {
        client.send("\n");
        let (mut answered, mut noticed) = (0, false);
        loop {
            client.send(format!("msg:{answered}\n"));
            let mut line = client.line();
            if line == "reconnect" {
                noticed = true;
                line = client.line();
            }
            assert_eq!(line, answered.to_string(), "no reply is lost");
            answered += 1;
            if noticed {
                // It leaves after the notice, to reconnect elsewhere.
                return (answered, noticed);
            }
        }
    })
}

#[test]
fn a_drain_under_load_loses_no_reply() {
    for workers in [1, 2] {
        let server = start(tcp::Settings {
            workers: workers.try_into().unwrap(),
            sigterm_timeout: Duration::from_millis(300),
            drain_spread: Duration::from_millis(200),
            // The only reason for closed connections is that clients left.
            drain_grace: Duration::from_hours(1),
            ..settings()
        });
        let clients: Vec<_> = (0..40).map(|_| keep_asking(&server)).collect();
        eventually("all are at it", || server.metric("tcp_commands_total{command=\"msg\"}") > 400);
        server.shutdown.drain();
        for client in clients {
            let (answered, noticed) = client.join().expect("every reply came");
            assert!(answered > 0 && noticed);
        }
        server.join();
    }
}
