//! The end of a server.

use std::time::Duration;

use service::{Phase, Shutdown};
use udp::Server;

use crate::support::{Connect as _, Peer, eventually, settings, start};

#[test]
fn a_drain_is_reported_and_answers_continue() {
    let server = start(udp::Settings { sigterm_timeout: Duration::from_hours(1), ..settings() });
    let peer = server.peer();
    assert_eq!(peer.ask("msg:before"), "before");
    server.shutdown.advance();
    eventually("it is not ready any more", || server.page("/readyz") == (503, "draining\n".into()));
    assert_eq!(peer.ask("msg:meanwhile"), "meanwhile");
    assert_eq!(server.shutdown.phase(), Phase::Draining);
    assert!(!server.has_ended());
}

#[test]
fn a_drain_ends_after_its_timeout() {
    let server = start(udp::Settings { sigterm_timeout: Duration::from_millis(200), ..settings() });
    server.shutdown.advance();
    server.join();
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let server = start(udp::Settings { sigterm_timeout: Duration::from_hours(1), ..settings() });
    server.shutdown.advance();
    eventually("it drains", || !server.readiness.is_ready());
    assert!(!server.has_ended());
    server.shutdown.advance();
    server.join();
}

#[test]
fn without_a_timeout_only_waiting_packets_are_answered() {
    let shutdown = Shutdown::new();
    let settings = udp::Settings { sigterm_timeout: Duration::ZERO, ..settings() };
    let server = Server::bind(settings, shutdown.clone()).unwrap();
    let peer = Peer::of(server.address());
    peer.send("msg:early");
    shutdown.advance();
    server.run().unwrap();
    assert_eq!(peer.receive(), b"early");
}

#[test]
fn an_endless_stream_of_packets_does_not_prevent_the_end() {
    let server = start(udp::Settings { sigterm_timeout: Duration::from_millis(100), ..settings() });
    let address = server.address;
    let flood = std::thread::spawn(move || {
        let peer = Peer::of(address);
        // Until the kernel reports that the port is closed.
        while peer.try_send(b"msg:x") {}
    });
    server.shutdown.advance();
    server.join();
    flood.join().unwrap();
}

#[test]
fn the_admin_port_identifies_the_server() {
    let server = start(udp::Settings { pod_name: Some("udp-0".into()), ..settings() });
    assert_eq!(server.page("/healthz"), (200, "ok\n".into()));
    let (status, info) = server.page("/info");
    assert_eq!(status, 200);
    assert!(info.contains(r#""pod":"udp-0""#) && info.contains(r#""service":"udp""#), "{info}");
}
