//! `WebSocket` upgrades are forwarded; others are not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::{Client, http_replica, mirror, one, read_head};
use crate::support::{echo, settles};

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Accepts an upgrade to WebSocket, and then echoes.
fn accepts(stream: &mut TcpStream) -> bool {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    echo(stream.try_clone().unwrap());
    false
}

#[test]
fn a_websocket_is_carried_in_both_directions_until_both_have_ended() {
    let running = one(
        &http_replica(|request, stream| {
            assert_eq!(request.header("upgrade"), Some("websocket"));
            assert_eq!(request.header("sec-websocket-version"), Some("13"));
            accepts(stream)
        }),
        &[],
    );
    let mut client = Client::new(running.address);
    client.send(UPGRADE);
    let head = read_head(&mut client.0).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("sec-websocket-accept: HSmrc"), "{head}");
    assert!(
        head.to_lowercase().contains("upgrade: websocket") && head.contains("set-cookie: route="),
        "{head}"
    );
    let mut writes = client.0.get_ref().try_clone().unwrap();
    let sent = vec![7; 4 << 20];
    let wrote = std::thread::spawn(move || {
        writes.write_all(&sent).unwrap();
        writes
    });
    let mut back = vec![0; 4 << 20];
    client.0.read_exact(&mut back).unwrap();
    assert!(back.iter().all(|&byte| byte == 7));
    running.expect_count("stream-0", "active", 1);
    wrote.join().unwrap().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
    running.expect_count("stream-0", "active", 0);
    settles("bytes", true, || running.count("stream-0", "bytes_to") >= 4 << 20);
    running.expect_metric("gateway_connections_active", 0);
}

#[test]
fn a_websocket_that_breaks_is_reset_and_ends_with_a_forced_gateway() {
    let running = one(
        &http_replica(|_, stream| {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            socket2::SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            false
        }),
        &[("DRAIN_TIMEOUT", "100ms")],
    );
    let open = || {
        let mut client = Client::new(running.address);
        client.send(UPGRADE);
        read_head(&mut client.0).unwrap();
        client
    };
    let mut broken = open();
    broken.send("x");
    let (_, end) = broken.rest();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut cut = open();
    running.shutdown.drain();
    let (_, end) = cut.rest();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    running.join().unwrap();
}

#[test]
fn other_upgrades_and_refusals_are_answers_like_others() {
    let running = one(&mirror("stream"), &[]);
    let mut client = Client::new(running.address);
    let answer = client
        .ask("GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA");
    assert_eq!(answer.status(), 200);
    let seen = answer.text().to_lowercase();
    assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{seen}");
    // A replica that refuses the upgrade.
    client.send(UPGRADE);
    let refusal = client.receive();
    assert_eq!(refusal.status(), 200);
    assert!(refusal.text().contains("upgrade: websocket"));
}

#[test]
fn a_replica_that_switches_unasked_is_a_bad_gateway() {
    let running = one(&http_replica(|_, stream| accepts(stream)), &[]);
    assert_eq!(super::get(running.address, "/").status(), 502);
    running.expect_count("stream-0", "active", 0);
}
