//! How sessions end: idle, with their gateway, and at its deadline.

use super::{Client, ask_all, clients, endpoints, gateway, replicas};
use crate::support::{settles, wait_until};

#[test]
fn an_idle_session_expires_and_an_active_one_does_not() {
    let replicas = replicas(1);
    // Longer than a busy machine can delay the active client.
    let (running, _file) = gateway(&endpoints(&replicas), &[("IDLE_TIMEOUT", "3s")]);
    let (used, idle) = (Client::new(running.address), Client::new(running.address));
    let (first_used, first_idle) = (used.ask("x"), idle.ask("x"));
    wait_until("the idle one expires", || {
        assert_eq!(used.ask("x"), first_used);
        running.metric("gateway_sessions_expired_total") > 0
    });
    assert_eq!(used.ask("x"), first_used);
    running.expect_metric("gateway_sessions_active", 1);
    running.expect_count("udp-0", "expired", 1);
    assert_ne!(idle.ask("x").source, first_idle.source, "a session of its own again");
    running.expect_metric("gateway_sessions_opened_total", 3);
    running.expect_metric("gateway_sessions_active", 0);
    for (count, value) in [("opened", 3), ("closed", 3), ("active", 0)] {
        running.expect_count("udp-0", count, value);
    }
}

#[test]
fn a_gateway_that_drains_keeps_its_clients_and_takes_no_new_one() {
    let replicas = replicas(1);
    // Longer than a busy machine takes between two packets of the client.
    let (running, _file) = gateway(&endpoints(&replicas), &[("IDLE_TIMEOUT", "3s")]);
    let known = Client::new(running.address);
    known.ask("before");
    running.shutdown.drain();
    settles("/readyz", 503, || running.get("/readyz").0);
    known.ask("while it drains");
    let new = Client::new(running.address);
    new.say("x");
    running.expect_metric("gateway_packets_dropped_total{reason=\"no_session\"}", 1);
    assert!(!running.has_ended());
    running.join().unwrap();
}

#[test]
fn a_draining_gateway_ends_at_once_without_sessions_and_at_the_deadline_with_them() {
    let replicas = replicas(1);
    let (running, _file) = gateway(&endpoints(&replicas), &[]);
    running.shutdown.drain();
    running.join().unwrap();

    let (running, _file) = gateway(&endpoints(&replicas), &[("DRAIN_TIMEOUT", "100ms")]);
    ask_all(&clients(10, running.address), "x");
    running.shutdown.drain();
    running.join().unwrap();

    let (running, _file) = gateway(&endpoints(&replicas), &[]);
    ask_all(&clients(10, running.address), "x");
    running.shutdown.force();
    running.join().unwrap();
}
