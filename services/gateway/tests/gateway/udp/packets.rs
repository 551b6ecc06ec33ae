//! Packets are forwarded unchanged: bytes, order and number.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use super::{Client, ask_all, clients, endpoints, gateway, replicas};
use crate::support::endpoint;

#[test]
fn datagrams_of_every_length_come_back_unchanged() {
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = echo.local_addr().unwrap();
    let replica = std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, from) = echo.recv_from(&mut buffer).unwrap();
            echo.send_to(&buffer[..length], from).unwrap();
            if &buffer[..length] == b"end" {
                return;
            }
        }
    });
    let (running, _file) = gateway(&[endpoint("udp-0", address)], &[]);
    let client = Client::new(running.address);
    let mut answer = vec![0; 65_536];
    for length in [0, 1, 1_400, 1_401, 1_472, 9_000, 65_507] {
        let packet: Vec<u8> = (0..length).map(|index| index as u8).collect();
        client.0.send(&packet).unwrap();
        let answered = client.0.recv(&mut answer).unwrap();
        assert!(answer[..answered] == packet, "{length} bytes became {answered}");
    }
    client.say("end");
    client.0.recv(&mut answer).unwrap();
    replica.join().unwrap();
    running.expect_count("udp-0", "packets_to", 8);
    running.expect_count("udp-0", "packets_from", 8);
    running.expect_count("udp-0", "bytes_to", running.count("udp-0", "bytes_from"));
}

#[test]
fn a_burst_keeps_its_order() {
    let replicas = replicas(1);
    let (running, _file) = gateway(&endpoints(&replicas), &[]);
    let client = Client::new(running.address);
    for round in 0..5 {
        let texts: Vec<String> = (0..60).map(|number| format!("{round} {number:03}")).collect();
        for text in &texts {
            client.say(text);
        }
        let answers: Vec<String> = texts.iter().map(|_| client.hear().text).collect();
        assert_eq!(answers, texts);
    }
    running.expect_metric("gateway_packets_received_total", 300);
    running.expect_metric("gateway_packets_answered_total", 300);
    running.expect_metric("gateway_packets_dropped_total{reason=\"kernel\"}", 0);
}

#[test]
fn many_sessions_are_spread_and_kept_apart() {
    let replicas = replicas(3);
    let (running, _file) = gateway(&endpoints(&replicas), &[("POLICY", "least-request-full-scan")]);
    let clients = clients(1_200, running.address);
    let first = ask_all(&clients, "first");
    let second = ask_all(&clients, "first");
    assert_eq!(first, second, "each keeps its replica and its socket");
    let sources: BTreeSet<_> = first.iter().map(|answer| answer.source).collect();
    assert_eq!(sources.len(), 1_200);
    running.expect_metric("gateway_sessions_active", 1_200);
    for replica in &replicas {
        running.expect_count(&replica.name, "active", 400);
    }
}

#[test]
fn several_loops_have_sockets_of_their_own() {
    let replicas = replicas(2);
    let (running, _file) = gateway(&endpoints(&replicas), &[("WORKERS", "2")]);
    let clients = clients(100, running.address);
    assert_eq!(ask_all(&clients, "x"), ask_all(&clients, "x"));
    running.expect_metric("gateway_sessions_active", 100);
    running.expect_metric("gateway_sessions_opened_total", 100);
}

#[test]
fn sessions_use_the_configured_source_address() {
    let replicas = replicas(1);
    let (running, _file) = gateway(&endpoints(&replicas), &[("UPSTREAM_BIND", "127.66.4.9")]);
    assert_eq!(Client::new(running.address).ask("x").source.ip().to_string(), "127.66.4.9");
}

#[test]
fn ipv6_clients_reach_ipv4_replicas() {
    if fixtures::over_ipv6(UdpSocket::bind("[::1]:0")).is_none() {
        return;
    }
    let replicas = replicas(1);
    let (running, _file) = gateway(&endpoints(&replicas), &[("HOST", "::1")]);
    let client = Client::from("[::1]:0".parse().unwrap(), running.address);
    assert_eq!(client.ask("x").replica, "udp-0");
}

#[test]
fn an_idle_gateway_sleeps() {
    let replicas = replicas(1);
    let (running, _file) = gateway(&endpoints(&replicas), &[]);
    ask_all(&clients(50, running.address), "x");
    running.expect_sleep();
}

#[test]
fn without_a_replica_packets_are_dropped_and_counted() {
    let (running, mut file) = gateway(&[], &[]);
    let client = Client::new(running.address);
    client.say("x");
    let dropped = "gateway_packets_dropped_total{reason=\"no_session\"}";
    running.expect_metric(dropped, 1);
    running.expect_metric("gateway_sessions_refused_total{reason=\"no_endpoint\"}", 1);
    running.expect_metric("gateway_sessions_active", 0);
    let replicas = replicas(1);
    running.replace(&mut file, &endpoints(&replicas));
    client.ask("now there is one");
}
