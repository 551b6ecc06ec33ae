//! A balancer's requests: which replicas take new connections, and which go first.

use controller::{Reply, Request};
use platform::target::{Balanced, ReplicaPhase, Traffic};

use crate::bench::Bench;

const THREE: &[&str] = &["tcp.autoscaling=null,tcp.replicas=3"];

fn set_traffic(bench: &mut Bench, replica: &str, traffic: Traffic) -> Result<(), String> {
    let (service, replica) = ("tcp".to_owned(), replica.to_owned());
    marked(bench.ask(Request::SetTraffic { service, replica, traffic }))
}

fn set_cost(bench: &mut Bench, replica: &str, cost: i32) -> Result<(), String> {
    let (service, replica) = ("tcp".to_owned(), replica.to_owned());
    marked(bench.ask(Request::SetDeletionCost { service, replica, cost }))
}

fn marked(reply: Result<Reply, String>) -> Result<(), String> {
    reply.map(|reply| assert_eq!(reply, Reply::Marked))
}

/// The lines about endpoints.
fn endpoints(bench: &mut Bench) -> Vec<String> {
    let mut lines = bench.lines();
    lines.retain(|line| line.contains("tcp:"));
    lines
}

#[test]
fn an_inactive_replica_leaves_the_endpoints_and_stays_ready() {
    let mut bench = Bench::up(THREE);
    set_traffic(&mut bench, "tcp-1", Traffic::Inactive).unwrap();
    let lines = bench.lines();
    assert!(lines.iter().any(|line| line.contains("tcp: tcp-0 (tcp-1) tcp-2")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("TrafficChanged")).count(), 1, "{lines:?}");
    bench.seconds(60);
    assert_eq!(bench.phase("tcp-1"), ReplicaPhase::Ready);
    assert_eq!(bench.service("tcp").replicas[1].traffic, Traffic::Inactive);
    endpoints(&mut bench);

    // Repeating it changes nothing.
    set_traffic(&mut bench, "tcp-1", Traffic::Inactive).unwrap();
    let lines = bench.lines();
    assert!(!lines.iter().any(|line| line.contains("tcp:") || line.contains("TrafficChanged")), "{lines:?}");

    set_traffic(&mut bench, "tcp-1", Traffic::Active).unwrap();
    let told = endpoints(&mut bench);
    assert!(told.iter().any(|line| line.contains("tcp: tcp-0 tcp-1 tcp-2")), "{told:?}");
}

#[test]
fn a_new_process_of_an_inactive_replica_is_inactive_and_a_new_replica_is_not() {
    let mut bench = Bench::up(THREE);
    set_traffic(&mut bench, "tcp-1", Traffic::Inactive).unwrap();
    bench.dies("tcp-1");
    bench.seconds(60);
    assert_eq!(bench.phase("tcp-1"), ReplicaPhase::Ready);
    let told = endpoints(&mut bench);
    assert!(told.last().is_some_and(|line| line.contains("tcp: tcp-0 (tcp-1) tcp-2")), "{told:?}");

    bench.drain("tcp/tcp-1").unwrap();
    bench.seconds(120);
    let told = endpoints(&mut bench);
    assert!(told.last().is_some_and(|line| line.contains("tcp: tcp-0 tcp-2 tcp-3")), "{told:?}");
}

#[test]
fn the_lowest_deletion_cost_goes_first() {
    let mut bench = Bench::up(THREE);
    set_cost(&mut bench, "tcp-0", -100).unwrap();
    assert_eq!(bench.service("tcp").replicas[0].deletion_cost, -100);
    bench.scale("tcp", 2).unwrap();
    bench.seconds(120);
    assert_eq!(bench.names("tcp"), ["tcp-1", "tcp-2"]);

    // The values apply to replicas without a setting of their own.
    let cost = r"tcp.podAnnotations.controller\.kubernetes\.io/pod-deletion-cost=5";
    let mut bench = Bench::up(&["tcp.autoscaling=null,tcp.replicas=3", cost]);
    set_cost(&mut bench, "tcp-1", 4).unwrap();
    bench.scale("tcp", 2).unwrap();
    bench.seconds(120);
    assert_eq!(bench.names("tcp"), ["tcp-0", "tcp-2"]);
}

#[test]
fn a_replica_that_is_leaving_is_not_marked() {
    let mut bench = Bench::up(THREE);
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    let draining = "tcp-0 is draining anyway";
    assert_eq!(set_traffic(&mut bench, "tcp-0", Traffic::Inactive).unwrap_err(), draining);
    assert_eq!(set_cost(&mut bench, "tcp-0", 1).unwrap_err(), draining);
    let unknown = set_traffic(&mut bench, "tcp-7", Traffic::Inactive).unwrap_err();
    assert!(unknown.starts_with("tcp has no replica tcp-7; it has: "), "{unknown}");
}

#[test]
fn a_decision_is_reported_unless_it_is_too_long() {
    let mut bench = Bench::up(THREE);
    let mut tell = |orders: Vec<String>, reason: String| {
        let balanced = Balanced { orders, reason };
        marked(bench.ask(Request::Balanced { service: "tcp".to_owned(), balanced }))
    };
    tell(vec![String::new(); 64], "x".repeat(1024)).unwrap();
    tell(vec!["tcp-1 sheds 9".to_owned()], "fuller".to_owned()).unwrap();
    tell(vec!["tcp-0 sheds 2".to_owned()], "full".to_owned()).unwrap();
    assert!(tell(vec![String::new(); 65], String::new()).is_err());
    assert!(tell(Vec::new(), "x".repeat(1025)).is_err());
    let last = bench.service("tcp").balanced.expect("the state shows what was ordered last");
    assert_eq!((last.orders, last.reason.as_str()), (vec!["tcp-0 sheds 2".to_owned()], "full"));
}
