//! When sessions move to another replica, and when they stay.

use std::collections::BTreeMap;
use std::net::UdpSocket;

use super::{Client, Replica, ask_all, clients, endpoints, gateway, replicas};
use crate::support::{PATIENCE, Readyz, endpoint, wait_until};

#[test]
fn only_sessions_of_a_draining_replica_move() {
    let replicas = replicas(3);
    let (running, mut file) = gateway(&endpoints(&replicas), &[]);
    let clients = clients(60, running.address);
    let before = ask_all(&clients, "before");
    let leaving = before.iter().filter(|answer| answer.replica == "udp-0").count();
    assert!(leaving > 0);

    let listed = [replicas[0].draining(), replicas[1].endpoint(), replicas[2].endpoint()];
    running.replace(&mut file, &listed);
    let during = ask_all(&clients, "during");
    for (before, during) in before.iter().zip(&during) {
        assert_ne!(during.replica, "udp-0");
        if before.replica != "udp-0" {
            assert_eq!((&before.replica, before.source), (&during.replica, during.source));
        }
    }
    running.expect_metric("gateway_sessions_moved_total", leaving as u64);
    running.expect_metric("gateway_sessions_active", 60);
    running.expect_count("udp-0", "active", 0);

    running.replace(&mut file, &listed[1..]);
    let after = ask_all(&clients, "during");
    assert_eq!(during, after, "nobody moves twice");
    running.expect_metric("gateway_sessions_opened_total", 60);
}

#[test]
fn replies_in_flight_still_come_from_the_old_replica() {
    let slow = UdpSocket::bind("127.0.0.1:0").unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    let old = endpoint("udp-9", slow.local_addr().unwrap());
    let (running, mut file) = gateway(std::slice::from_ref(&old), &[]);
    let client = Client::new(running.address);
    client.say("question");
    let mut buffer = [0; 64];
    let (_, session) = slow.recv_from(&mut buffer).unwrap();

    let replica = Replica::new(0);
    running.replace(&mut file, &[replica.endpoint()]);
    assert_eq!(client.ask("next").replica, "udp-0");
    slow.send_to(format!("udp-9 {session} late").as_bytes(), session).unwrap();
    assert_eq!(client.hear().text, "late");
}

#[test]
fn a_session_without_another_replica_stays() {
    let replica = Replica::new(0);
    let (running, mut file) = gateway(&[replica.endpoint()], &[]);
    let client = Client::new(running.address);
    let before = client.ask("x");
    running.replace(&mut file, &[replica.draining()]);
    assert_eq!(client.ask("x"), before);
    running.replace(&mut file, &[]);
    assert_eq!(client.ask("x"), before);
    running.expect_metric("gateway_sessions_moved_total", 0);
}

#[test]
fn a_replica_that_is_not_ready_loses_its_sessions() {
    let (replicas, readyz) = (replicas(2), Readyz::new(200));
    let mut listed = endpoints(&replicas);
    listed[0].health = Some(readyz.address);
    let (running, _file) = gateway(&listed, &[("POLICY", "round-robin")]);
    running.expect_backend("udp-0", "health", "healthy");
    let clients = clients(10, running.address);
    let before = ask_all(&clients, "x");
    assert!(before.iter().any(|answer| answer.replica == "udp-0"));
    readyz.answer(503);
    running.expect_backend("udp-0", "health", "unhealthy");
    assert!(ask_all(&clients, "x").iter().all(|answer| answer.replica == "udp-1"));
}

#[test]
fn a_replica_that_refuses_packets_is_left_and_ejected() {
    let mut replicas = replicas(2);
    let settings = [("POLICY", "round-robin"), ("EJECT_FAILURES", "3")];
    let (running, _file) = gateway(&endpoints(&replicas), &settings);
    let clients = clients(20, running.address);
    let before = ask_all(&clients, "x");
    replicas.remove(0);
    let mut lost = 0;
    for (client, before) in clients.iter().zip(&before) {
        if before.replica == "udp-0" {
            let seen = running.metric("gateway_packets_received_total");
            client.say("first");
            wait_until("it was passed on", || running.metric("gateway_packets_received_total") > seen);
        }
        client.say("second");
        let mut answer = client.hear();
        if before.replica == "udp-0" && answer.text == "first" {
            answer = client.hear();
        } else if before.replica == "udp-0" {
            // The first packet after the close is lost: only its refusal reveals the close.
            lost += 1;
        }
        assert_eq!((answer.replica.as_str(), answer.text.as_str()), ("udp-1", "second"));
    }
    assert_eq!(lost, 3, "once it is ejected nobody else loses a packet");
    running.expect_count("udp-0", "failed", 3);
    running.expect_count("udp-0", "active", 0);
    running.expect_backend("udp-0", "ejected", true);
    running.expect_metric("gateway_ejections_total", 1);
    running.expect_metric("gateway_sessions_active", 20);
}

#[test]
fn the_only_replica_is_kept_through_its_restart() {
    let replica = Replica::new(0);
    let address = replica.address;
    let (running, _file) = gateway(&[replica.endpoint()], &[]);
    let client = Client::new(running.address);
    let before = client.ask("x");
    drop(replica);
    for _ in 0..3 {
        client.say("nobody is there");
    }
    running.expect_metric("gateway_packets_received_total", 4);
    let _again = Replica::at(0, address);
    assert_eq!(client.ask("x"), before);
    running.expect_backend("udp-0", "ejected", false);
}

#[test]
fn a_new_replica_gets_three_quarters_of_new_sessions() {
    let replicas = replicas(2);
    let (running, mut file) = gateway(&[replicas[0].endpoint()], &[]);
    let old = clients(200, running.address);
    let before = ask_all(&old, "x");
    running.replace(&mut file, &endpoints(&replicas));
    assert_eq!(ask_all(&old, "x"), before, "a new replica moves nobody");
    let new = ask_all(&clients(200, running.address), "x");
    let mut shares = BTreeMap::new();
    for answer in &new {
        *shares.entry(answer.replica.as_str()).or_insert(0) += 1;
    }
    assert!((110..=190).contains(&shares["udp-1"]), "{shares:?}");
}
