//! Which backend gets a connection, and what happens if it cannot take it.

use std::io::{Read, Write};

use crate::support::{Replica, Running, assert_echo, endpoint, is_closed, nobody, wait_until};

#[test]
fn equal_backends_share_and_round_robin_alternates() {
    let (first, second) = (Replica::echo(), Replica::echo());
    let endpoints = [endpoint("tcp-0", first.address), endpoint("tcp-1", second.address)];
    for (policy, spread_max) in [("least-request", 60), ("round-robin", 0), ("least-request-full-scan", 0)] {
        let running = Running::with(&endpoints, &[("POLICY", policy)]);
        let clients: Vec<_> = (0..300).map(|_| running.connect()).collect();
        for client in &clients {
            assert_echo(client, "msg");
        }
        // Sessions are counted before their first answer.
        let (zero, one) = (running.count("tcp-0", "active"), running.count("tcp-1", "active"));
        assert_eq!(zero + one, 300);
        assert!(zero.abs_diff(one) <= spread_max, "{policy}: {zero} and {one}");
    }
}

#[test]
fn after_a_refused_connect_another_backend_gets_the_clients_bytes() {
    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", nobody()), endpoint("tcp-1", replica.address)];
    let settings = [("POLICY", "round-robin"), ("EJECT_FAILURES", "0")];
    let running = Running::with(&endpoints, &settings);
    for round in 0..20 {
        assert_echo(&running.connect(), &format!("first words {round}"));
    }
    running.expect_count("tcp-0", "failed", 10);
    running.expect_metric("gateway_connects_retried_total", 10);
    running.expect_metric("gateway_connections_refused_total{reason=\"connect_failed\"}", 0);
    running.expect_count("tcp-1", "opened", 20);
}

#[test]
fn a_client_is_closed_at_once_when_no_backend_can_be_reached() {
    let endpoints = [endpoint("tcp-0", nobody()), endpoint("tcp-1", nobody())];
    let running = Running::with(&endpoints, &[]);
    for _ in 0..10 {
        assert!(is_closed(&running.connect()));
    }
    running.expect_metric("gateway_connections_refused_total{reason=\"connect_failed\"}", 10);
    running.expect_metric("gateway_connections_active", 0);
    let failed = running.count("tcp-0", "failed") + running.count("tcp-1", "failed");
    assert!((10..=20).contains(&failed), "each client has one or two tries, not {failed} in all");
}

#[test]
fn reasons_for_refusing_clients_are_in_readyz_and_counted() {
    let dead = nobody();
    // A documentation address, which no machine has.
    let elsewhere: [(&str, &str); 1] = [("UPSTREAM_BIND", "192.0.2.1")];
    let replica = Replica::echo();
    let full = [("CIRCUIT_MAX_CONNECTIONS", "1")];
    for (address, settings, reason, words) in [
        (dead, &[][..], "connect_failed", format!("connect to tcp-0 at {dead}: Connection refused")),
        (
            replica.address,
            &elsewhere,
            "source_ports",
            "UPSTREAM_BIND is not an address of this machine".to_owned(),
        ),
        (replica.address, &full, "circuit_open", "every replica has CIRCUIT_MAX_CONNECTIONS".to_owned()),
    ] {
        let (running, _file) = Running::with_file(&[endpoint("tcp-0", address)], settings);
        running.expect_all_well();
        let _first = running.connect();
        let second = running.connect();
        assert!(is_closed(&second));
        running.expect_degraded(&format!("{reason}: clients are turned away"));
        running.expect_degraded(&words);
        // The refusal is counted before the client notices it.
        assert!(running.metric(&format!("gateway_connections_refused_total{{reason=\"{reason}\"}}")) > 0);
    }
}

#[test]
fn without_endpoints_connections_are_closed_and_counted() {
    let (running, mut file) = Running::with_file(&[], &[]);
    assert!(is_closed(&running.connect()));
    running.expect_metric("gateway_connections_refused_total{reason=\"no_endpoint\"}", 1);
    let replica = Replica::echo();
    running.replace(&mut file, &[endpoint("tcp-0", replica.address)]);
    assert_echo(&running.connect(), "now there is one");
}

#[test]
fn a_backend_that_refuses_is_ejected_and_comes_back() {
    let (healthy, address) = (Replica::echo(), nobody());
    let endpoints = [endpoint("tcp-0", healthy.address), endpoint("tcp-1", address)];
    let settings = [("POLICY", "round-robin"), ("EJECT_FAILURES", "3"), ("EJECT_TIME", "300ms")];
    let running = Running::with(&endpoints, &settings);
    wait_until("three failures eject", || {
        assert_echo(&running.connect(), "msg");
        running.metric("gateway_ejections_total") == 1
    });
    running.expect_count("tcp-1", "failed", 3);
    running.expect_backend("tcp-1", "ejected", false);
    wait_until("it is tried again, and again ejected", || {
        assert_echo(&running.connect(), "msg");
        running.metric("gateway_ejections_total") == 2
    });
}

#[test]
fn the_circuit_breaker_counts_refused_clients() {
    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", replica.address)];
    let running = Running::with(&endpoints, &[("CIRCUIT_MAX_CONNECTIONS", "2")]);
    let (first, second) = (running.connect(), running.connect());
    assert_echo(&first, "one");
    assert_echo(&second, "two");
    assert!(is_closed(&running.connect()));
    running.expect_metric("gateway_connections_refused_total{reason=\"circuit_open\"}", 1);
    drop(first);
    running.expect_count("tcp-0", "active", 1);
    assert_echo(&running.connect(), "three");
}

#[test]
fn an_unanswered_connect_times_out_and_another_backend_is_tried() {
    // With a full queue, further connects wait for ever.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_queue = std::net::TcpStream::connect(address).unwrap();

    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", address), endpoint("tcp-1", replica.address)];
    let settings = [("POLICY", "round-robin"), ("CONNECT_TIMEOUT", "100ms")];
    let running = Running::with(&endpoints, &settings);
    let mut early = running.connect();
    early.write_all(b"said before it was connected").unwrap();
    let mut answer = [0; 28];
    early.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"said before it was connected");
    running.expect_count("tcp-0", "failed", 1);

    // An established idle connection is not mistaken for a failed one.
    let idle = running.connect();
    running.expect_count("tcp-1", "active", 2);
    let _later = running.connect();
    running.expect_count("tcp-0", "failed", 2);
    assert_echo(&idle, "still here");
    running.expect_count("tcp-1", "active", 3);
}

#[test]
fn connections_use_the_configured_source_address() {
    let replica = Replica::new(|mut stream| {
        let peer = stream.peer_addr().unwrap().ip().to_string();
        let _ = stream.write_all(peer.as_bytes());
    });
    let endpoints = [endpoint("tcp-0", replica.address)];
    let running = Running::with(&endpoints, &[("UPSTREAM_BIND", "127.66.1.9")]);
    let mut peer = String::new();
    running.connect().read_to_string(&mut peer).unwrap();
    assert_eq!(peer, "127.66.1.9");
}
