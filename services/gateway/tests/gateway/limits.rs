//! The limit on connections: accepting pauses, no client is refused, and no loop spins.

use std::time::Duration;

use crate::support::{Replica, Running, assert_echo, endpoint, pause, wait_until};

#[test]
fn clients_at_the_limit_wait_until_there_is_room() {
    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", replica.address)];
    let running = Running::with(&endpoints, &[("MAX_CONNECTIONS", "2")]);
    let (first, second) = (running.connect(), running.connect());
    assert_echo(&first, "one");
    assert_echo(&second, "two");

    let waiting: Vec<_> = (0..5).map(|_| running.connect()).collect();
    running.expect_metric("gateway_accept_pauses_total{reason=\"connections\"}", 1);
    let since = clock::now();
    let turns = running.metric("gateway_loop_turns_total");
    pause(Duration::from_millis(500));
    let spent = running.metric("gateway_loop_turns_total") - turns;
    // A pause is retried every 100 ms.
    let tries = since.elapsed().as_millis() as u64 / 100 + 1;
    assert!(spent <= 2 * tries, "{spent} turns while nothing happened but {tries} tries");
    assert_eq!(replica.accepted(), 2);
    running.expect_metric("gateway_accept_pauses_total{reason=\"connections\"}", 1);

    drop(first);
    drop(second);
    for client in waiting {
        assert_echo(&client, "at last");
    }
    assert_eq!(replica.accepted(), 7);
}

#[test]
fn an_idle_gateway_sleeps() {
    let replica = Replica::echo();
    let running = Running::with(&[endpoint("tcp-0", replica.address)], &[]);
    let clients: Vec<_> = (0..50).map(|_| running.connect()).collect();
    for client in &clients {
        assert_echo(client, "msg");
    }
    running.expect_sleep();
}

#[test]
fn several_workers_share_the_limit_and_the_listener() {
    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", replica.address)];
    let running = Running::with(&endpoints, &[("WORKERS", "3"), ("MAX_CONNECTIONS", "40")]);
    let clients: Vec<_> = (0..40).map(|_| running.connect()).collect();
    for client in &clients {
        assert_echo(client, "msg");
    }
    let late = running.connect();
    wait_until("accepting pauses", || {
        running.metric("gateway_accept_pauses_total{reason=\"connections\"}") > 0
    });
    assert!(running.metric("gateway_connections_active") <= 42, "each worker may be one ahead of the count");
    drop(clients);
    assert_echo(&late, "served");
}

#[test]
fn clients_beyond_the_rate_wait_in_the_queue_and_all_are_served() {
    let replica = Replica::echo();
    let endpoints = [endpoint("tcp-0", replica.address)];
    let running = Running::with(&endpoints, &[("ACCEPT_RATE", "50"), ("WORKERS", "2")]);
    let clients: Vec<_> = (0..40).map(|_| running.connect()).collect();
    for client in &clients {
        assert_echo(client, "my turn");
    }
    assert!(running.metric("gateway_connections_delayed_total") > 0);
    assert_eq!(running.metric("gateway_connections_opened_total"), 40);
    running.expect_sleep();
}
