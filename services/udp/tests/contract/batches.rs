//! Many packets at once, many peers, several workers, and packets that the kernel drops.

use std::net::{Ipv6Addr, UdpSocket};
use std::num::NonZeroUsize;

use service::Shutdown;
use udp::Server;

use crate::support::{Connect as _, Peer, run, settings, start};

/// Fewer packets than the smallest default receive buffer holds.
const ON_THE_WAY: usize = 100;

fn exchange(peers: &[Peer], rounds: usize) -> u64 {
    let each = ON_THE_WAY / peers.len();
    for round in 0..rounds {
        for number in 0..each {
            for peer in peers {
                peer.send(format!("msg:{round}.{number}"));
            }
        }
        for peer in peers {
            for number in 0..each {
                assert_eq!(peer.receive(), format!("{round}.{number}").as_bytes(), "in order, none lost");
            }
        }
    }
    (rounds * each * peers.len()) as u64
}

#[test]
fn every_packet_of_a_burst_gets_its_reply() {
    let server = start(settings());
    let one = exchange(&[server.peer()], 20);
    let peers: Vec<Peer> = (0..50).map(|_| server.peer()).collect();
    let sent = one + exchange(&peers, 20);
    server.expect_metric("udp_packets_received_total", sent);
    server.expect_metric("udp_packets_answered_total", sent);
    server.expect_metric("udp_commands_total{command=\"msg\"}", sent);
    for reason in ["kernel", "unknown", "send"] {
        server.expect_metric(&format!("udp_packets_dropped_total{{reason=\"{reason}\"}}"), 0);
    }
}

#[test]
fn several_workers_share_the_peers() {
    let server = start(udp::Settings { workers: NonZeroUsize::new(3).unwrap(), ..settings() });
    let peers: Vec<Peer> = (0..50).map(|_| server.peer()).collect();
    let sent = exchange(&peers, 5);
    server.expect_metric("udp_packets_answered_total", sent);
}

#[test]
fn both_families_are_served() {
    let server = start(udp::Settings { host: service::settings::Host::ANY, ..settings() });
    let port = server.address.port();
    assert_eq!(Peer::of(([127, 0, 0, 1], port).into()).ask("msg:four"), "four");
    // Find out independently whether this machine has IPv6: if it does, the server must use it.
    let has_ipv6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    assert!(server.address.is_ipv6() || !has_ipv6, "{}", server.address);
    if has_ipv6 {
        assert_eq!(Peer::of((Ipv6Addr::LOCALHOST, port).into()).ask("msg:six"), "six");
    }
}

#[test]
fn packets_dropped_by_the_kernel_are_counted() {
    let shutdown = Shutdown::new();
    let server =
        Server::bind(udp::Settings { receive_buffer: 4096, ..settings() }, shutdown.clone()).unwrap();
    let peer = Peer::of(server.address());
    let admin = server.admin_address();
    // The server does not read yet.
    for _ in 0..200 {
        peer.send(format!("msg:{}", "x".repeat(500)));
    }
    let dropped = fixtures::metric(admin, "udp_packets_dropped_total{reason=\"kernel\"}");
    assert!((100..200).contains(&dropped), "{dropped}");
    let server = run(server, shutdown);
    for _ in dropped..200 {
        peer.receive();
    }
    server.expect_metric("udp_packets_received_total", 200 - dropped);
    assert_eq!(peer.ask("msg:next"), "next");
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let server = start(settings());
    for workers in [1, 2] {
        let settings = udp::Settings {
            port: server.address.port(),
            workers: NonZeroUsize::new(workers).unwrap(),
            ..settings()
        };
        let error = udp::run(settings, Shutdown::new()).unwrap_err().to_string();
        assert!(error.contains(&server.address.to_string()), "{error}");
    }
}
