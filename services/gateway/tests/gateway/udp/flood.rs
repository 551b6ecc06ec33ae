//! Packets from forged or looping sources.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::{Client, Replica, ask_all, clients, endpoints, gateway, heard, replicas};
use crate::support::settles;

/// Fewer packets than any receive buffer holds.
const BURST: u32 = 100;

/// Sends one packet each from `bursts` times [`BURST`] sources.
fn flood(gateway: SocketAddr, replicas: &[Replica], bursts: u32) {
    for number in 0..bursts {
        let before = heard(replicas);
        burst(gateway, number);
        // Otherwise clients' packets could be dropped by a full buffer.
        settles("packets that reached a replica", before + u64::from(BURST), || heard(replicas));
    }
}

fn burst(gateway: SocketAddr, number: u32) {
    for source in number * BURST..(number + 1) * BURST {
        let [_, _, c, d] = source.to_be_bytes();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 99, c, d), 0)).unwrap();
        socket.send_to(b"spoofed", gateway).unwrap();
    }
}

#[test]
fn spoofed_sources_displace_each_other_and_no_client() {
    const SESSIONS_MAX: u64 = 64;
    let replicas = replicas(2);
    let (running, _file) = gateway(&endpoints(&replicas), &[("MAX_SESSIONS", "64")]);
    let clients = clients(20, running.address);
    let before = ask_all(&clients, "first");
    // Heard again after an answer: the client is real.
    assert_eq!(ask_all(&clients, "first"), before);

    for _ in 0..5 {
        flood(running.address, &replicas, 3);
        assert!(running.metric("gateway_sessions_active") <= SESSIONS_MAX);
    }
    assert_eq!(ask_all(&clients, "first"), before, "the same sessions, by their sockets");
    running.expect_metric("gateway_sessions_evicted_total", 1_500 + 20 - SESSIONS_MAX);
    let opened = running.metric("gateway_sessions_opened_total");
    let closed = running.metric("gateway_sessions_closed_total");
    running.expect_metric("gateway_sessions_active", opened - closed);
}

#[test]
fn a_flood_that_fills_all_replicas_does_not_lock_out_clients() {
    let replicas = replicas(2);
    let (running, _file) = gateway(&endpoints(&replicas), &[("CIRCUIT_MAX_CONNECTIONS", "100")]);
    let clients = clients(10, running.address);
    let before = ask_all(&clients, "first");
    assert_eq!(ask_all(&clients, "first"), before);
    flood(running.address, &replicas, 4);
    burst(running.address, 4);
    // It is sent with the end of the flood; the gateway reads fewer packets at once than there are places.
    let late = Client::new(running.address);
    let answer = late.ask("first");
    assert_eq!(late.ask("first"), answer);
    assert_eq!(ask_all(&clients, "first"), before, "the same sessions, by their sockets");
    for replica in &replicas {
        running.expect_count(&replica.name, "active", 100);
    }
    running.expect_metric("gateway_sessions_refused_total{reason=\"circuit_open\"}", 0);
    running.expect_metric("gateway_sessions_evicted_total", 500 + 11 - 200);
}

#[test]
fn the_longest_idle_of_equal_sessions_makes_room() {
    let replicas = replicas(1);
    let (running, _file) = gateway(&endpoints(&replicas), &[("MAX_SESSIONS", "3")]);
    let clients = clients(3, running.address);
    ask_all(&clients, "x");
    let first = ask_all(&clients, "x");
    assert_eq!(clients[0].ask("x"), first[0]);
    let new = Client::new(running.address);
    new.ask("x");
    new.ask("x");
    running.expect_metric("gateway_sessions_evicted_total", 1);
    assert_eq!(clients[0].ask("x"), first[0]);
    assert_eq!(clients[2].ask("x"), first[2]);
    assert_ne!(clients[1].ask("x").source, first[1].source);
}

#[test]
fn packets_that_would_loop_for_ever_are_dropped() {
    let replica = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listed = [crate::support::endpoint("udp-0", replica.local_addr().unwrap())];
    let (running, _file) = gateway(&listed, &[]);
    replica.send_to(b"as if from a client", running.address).unwrap();
    running.expect_metric("gateway_packets_dropped_total{reason=\"loop\"}", 1);
    running.expect_metric("gateway_sessions_opened_total", 0);
    assert!(Client(replica).hears_nothing());
}
