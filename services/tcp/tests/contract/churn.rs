//! Clients that connect, leave, break and fall silent.

use std::time::Duration;

use crate::support::{Connect as _, eventually, settings, start};

#[test]
fn ten_thousand_connects_and_aborts_leave_nothing_behind() {
    const ROUNDS: usize = 20;
    const CLIENTS: usize = 500;
    let server = start(settings());
    let mut bystander = server.client();
    for round in 0..ROUNDS {
        let clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
        for (number, mut client) in clients.into_iter().enumerate() {
            match (round + number) % 5 {
                0 => {}
                1 => client.send("msg:unread"),
                2 => client.send("part of a line\nmsg:unfin"),
                3 => client.send("WHO\nWHO\n"),
                _ => client.finish_sending(),
            }
            client.abort();
        }
        bystander.expect_nothing_waits();
    }
    server.expect_metric("tcp_connections", 1);
    server.expect_metric("tcp_connections_opened_total", (ROUNDS * CLIENTS) as u64 + 1);
    assert!(bystander.ask("WHO").ends_with("connected clients: 1"));
}

#[test]
fn silent_clients_are_closed_and_others_are_not() {
    let server = start(tcp::Settings {
        // Longer than a busy machine can delay the other client.
        idle_timeout: Duration::from_secs(3),
        idle_check: Duration::from_millis(50),
        ..settings()
    });
    let mut silent = server.client();
    let mut busy = server.client();
    eventually("the silent client is closed", || {
        busy.expect_nothing_waits();
        server.metric("tcp_connections_closed_total{reason=\"idle\"}") == 1
    });
    silent.expect_closed();
    busy.expect_nothing_waits();
}

#[test]
fn a_client_that_never_reads_is_closed_and_does_not_affect_others() {
    let server = start(tcp::Settings { write_timeout: Duration::from_millis(300), ..settings() });
    let mut bystander = server.client();
    let greedy = server.client();
    greedy.stream.set_nonblocking(true).unwrap();
    let lines = "WHERE\n".repeat(2000);
    eventually("the client is closed as slow", || {
        // Fails when the buffer is full or the connection was closed; either is fine.
        let _ = std::io::Write::write(&mut &greedy.stream, lines.as_bytes());
        bystander.expect_nothing_waits();
        server.metric("tcp_connections_closed_total{reason=\"slow\"}") == 1
    });
}
