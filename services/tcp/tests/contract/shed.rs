//! Orders to shed: which clients are told to reconnect, and what happens to them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use service::settings::Setting as _;

use crate::support::{Client, Connect as _, DEADLINE, Running, eventually, settings, start};

const TOKEN: &str = "correct-horse-battery";

fn with_token(more: tcp::Settings) -> Running {
    start(tcp::Settings { shed_token: Some(service::shed::Token::parse(TOKEN).unwrap()), ..more })
}

/// The number of notified connections that the server reports.
#[track_caller]
fn shed(admin: SocketAddr, id: &str, count: u64) -> u64 {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = format!(r#"{{"id":"{id}","count":{count}}}"#);
    let length = body.len();
    write!(
        stream,
        "POST /shed HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let number =
        answer.split(r#""accepted":"#).nth(1).and_then(|rest| rest.trim_end_matches('}').parse().ok());
    number.unwrap_or_else(|| panic!("no number in {answer}"))
}

#[test]
fn the_longest_silent_clients_are_notified_and_then_closed() {
    let server = with_token(tcp::Settings { drain_grace: Duration::from_secs(2), ..settings() });
    let mut clients: Vec<Client> = (0..5).map(|_| server.client()).collect();
    for client in &mut clients {
        client.expect_nothing_waits();
        // So that each client was last heard in a different millisecond.
        fixtures::pause(Duration::from_millis(5));
    }
    clients[0].expect_nothing_waits();
    assert_eq!(shed(server.admin, "a", 2), 2);
    clients[1].expect("reconnect");
    clients[2].expect("reconnect");
    // A client is served as usual until its end.
    assert_eq!(clients[1].ask("msg:still here"), "still here");
    for told in [1, 2] {
        clients[told].expect_closed();
    }
    for stays in [0, 3, 4] {
        clients[stays].expect_nothing_waits();
    }
    eventually("both were counted", || server.metric("tcp_connections_closed_total{reason=\"shed\"}") == 2);
    assert_eq!(server.metric("tcp_connections"), 3);
}

#[test]
fn no_client_is_notified_twice() {
    let server = with_token(tcp::Settings { drain_grace: Duration::from_hours(1), ..settings() });
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    clients.iter_mut().for_each(Client::expect_nothing_waits);
    assert_eq!(shed(server.admin, "a", 1), 1);
    assert_eq!(shed(server.admin, "a", 1), 1, "the same order");
    assert_eq!(shed(server.admin, "b", 100), 2);
    assert_eq!(shed(server.admin, "c", 100), 0);
    for client in &mut clients {
        client.expect("reconnect");
        client.expect_nothing_waits();
    }
}

#[test]
fn a_drain_does_not_notify_shed_clients_again_and_sheds_nobody() {
    let server = with_token(tcp::Settings {
        // Long enough to send it a request while it drains, on a busy machine.
        sigterm_timeout: Duration::from_secs(3),
        drain_spread: Duration::ZERO,
        drain_grace: Duration::from_secs(3),
        ..settings()
    });
    let (mut shed_one, mut other) = (server.client(), server.client());
    shed_one.expect_nothing_waits();
    fixtures::pause(Duration::from_millis(5));
    other.expect_nothing_waits();
    assert_eq!(shed(server.admin, "a", 1), 1);
    shed_one.expect("reconnect");
    server.shutdown.drain();
    eventually("it drains", || server.page("/readyz").0 == 503);
    assert_eq!(shed(server.admin, "b", 1), 0);
    other.expect("reconnect");
    let mut rest = Vec::new();
    // Any end, clean or not.
    let _ = shed_one.stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    drop((shed_one, other));
    server.join();
}

#[test]
fn several_workers_share_an_order() {
    let server = with_token(tcp::Settings { workers: 2.try_into().unwrap(), ..settings() });
    let mut clients: Vec<Client> = (0..10).map(|_| server.client()).collect();
    clients.iter_mut().for_each(Client::expect_nothing_waits);
    assert_eq!(shed(server.admin, "a", 5), 5);
    let told = || {
        let told = clients.iter().filter(|client| {
            client.stream.set_nonblocking(true).unwrap();
            client.stream.peek(&mut [0]).is_ok()
        });
        told.count()
    };
    eventually("half of them have the notice", || told() == 5);
}
