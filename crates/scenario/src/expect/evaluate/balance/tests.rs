use platform::event::{Counters, LatencySummary, LoadTick};

use super::*;

fn tick(counts: &[(&str, u64)]) -> EventKind {
    EventKind::LoadTick(LoadTick {
        open: counts.iter().map(|(_, count)| count).sum(),
        connecting: 0,
        totals: Counters::default(),
        connect: LatencySummary::default(),
        first_byte: LatencySummary::default(),
        message: LatencySummary::default(),
        by_replica: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        skew: None,
    })
}

fn close() -> EventKind {
    EventKind::PhaseStarted { phase: "close".to_owned(), detail: String::new() }
}

fn ready(service: &str, pod: &str) -> EventKind {
    EventKind::PodReady { service: service.to_owned(), pod: pod.to_owned(), after_ms: 1 }
}

fn draining(pod: &str) -> EventKind {
    EventKind::PodDraining { service: "tcp".to_owned(), pod: pod.to_owned(), connections: None }
}

/// Replica, its connections, and all connections.
fn emptiest(events: &[EventKind]) -> Result<(String, u64, u64), String> {
    let mut balance = Balance::of("tcp");
    for event in events {
        balance.observe(event);
    }
    balance.emptiest().map(|found| (found.replica, found.connections, found.all))
}

fn found(replica: &str, connections: u64, all: u64) -> (String, u64, u64) {
    (replica.to_owned(), connections, all)
}

#[test]
fn the_emptiest_replica_has_the_fewest_when_the_close_begins() {
    let before = tick(&[("tcp-0", 77), ("tcp-1", 23)]);
    let even = tick(&[("tcp-0", 53), ("tcp-1", 47)]);
    let while_closing = tick(&[("tcp-0", 1), ("tcp-1", 9)]);
    assert_eq!(emptiest(&[before, even, close(), while_closing, close()]), Ok(found("tcp-1", 47, 100)));
}

#[test]
fn connections_of_unknown_replicas_count_only_in_the_total() {
    assert_eq!(
        emptiest(&[tick(&[("tcp-0", 50), ("tcp-1", 40), ("unknown", 10)]), close()]),
        Ok(found("tcp-1", 40, 100))
    );
    let nameless = emptiest(&[tick(&[("unknown", 10)]), close()]);
    assert!(nameless.unwrap_err().contains("reports its name"));
}

#[test]
fn a_new_replica_without_connections_is_the_emptiest() {
    let events = [ready("ws", "ws-1"), ready("tcp", "tcp-1"), tick(&[("tcp-0", 100)]), close()];
    assert_eq!(emptiest(&events), Ok(found("tcp-1", 0, 100)));
}

#[test]
fn a_draining_replica_does_not_count() {
    let counts = tick(&[("tcp-0", 50), ("tcp-1", 48), ("tcp-2", 2)]);
    assert_eq!(emptiest(&[draining("tcp-2"), counts.clone(), close()]), Ok(found("tcp-1", 48, 100)));
    let back = [draining("tcp-2"), ready("tcp", "tcp-2"), counts, close()];
    assert_eq!(emptiest(&back), Ok(found("tcp-2", 2, 100)));
}

#[test]
fn a_single_replica_has_no_balance() {
    let error = emptiest(&[tick(&[("tcp-0", 100)]), close()]).unwrap_err();
    assert_eq!(error, "tcp-0 is the only replica");
    assert!(emptiest(&[tick(&[("tcp-0", 1), ("tcp-1", 1)])]).unwrap_err().contains("close"));
}

fn decided(service: &str, order: &str, reason: &str) -> EventKind {
    EventKind::Balanced {
        service: service.to_owned(),
        orders: vec![order.to_owned()],
        reason: reason.to_owned(),
    }
}

#[test]
fn replicas_that_joined_count_and_those_that_left_do_not() {
    let mut balance = Balance::of("tcp");
    balance.begins_with(["tcp-0", "tcp-1"].map(str::to_owned));
    for event in [
        ready("tcp", "tcp-2"),
        // One of the initial replicas was briefly unready.
        ready("tcp", "tcp-0"),
        draining("tcp-1"),
        tick(&[("tcp-0", 6), ("tcp-1", 1)]),
    ] {
        balance.observe(&event);
    }
    assert!(balance.replicas().unwrap_err().contains("close"));
    balance.observe(&close());
    assert_eq!(balance.replicas(), Ok(2));
    assert_eq!(balance.spread(), Ok(vec![6, 0]), "nobody is on the new one");
    assert_eq!(
        balance.fullest().map(|found| (found.replica, found.connections)),
        Ok(("tcp-0".to_owned(), 6))
    );
    balance.observe(&draining("tcp-2"));
    assert_eq!(balance.replicas(), Ok(2), "what comes after the close is not its state");
    let mut untold = Balance::of("tcp");
    untold.observe(&close());
    assert!(untold.replicas().is_err());
}

#[test]
fn only_the_services_own_decisions_before_the_close_count() {
    let mut balance = Balance::of("ws");
    balance.observe(&decided("ws", "1 → 2", "90 % > 80 %"));
    balance.observe(&decided("tcp", "1 → 2", "somebody else's"));
    balance.observe(&EventKind::Balanced {
        service: "ws".to_owned(),
        orders: vec![],
        reason: "even".to_owned(),
    });
    balance.observe(&close());
    balance.observe(&decided("ws", "2 → 1", "nobody there"));
    assert_eq!(balance.decisions(), Ok(&["1 → 2: 90 % > 80 %".to_owned()][..]));
}
