//! Gateways: one for each listener on each node.

use std::time::Duration;

use controller::{Capacity, Exit, Input};

use crate::bench::{Bench, SMALL, Writes, strings};

const POLICY: &[&str] = &[SMALL[0], "gateway.policy=random"];

fn gateways(bench: &Bench) -> Vec<String> {
    let parts = bench.snapshot().parts;
    parts.iter().filter(|part| part.name.starts_with("gateway")).map(|part| part.name.clone()).collect()
}

#[test]
fn every_node_has_a_gateway_for_each_listener_of_a_running_service() {
    let mut bench = Bench::up(SMALL);
    assert_eq!(gateways(&bench), ["gateway-node-0"]);
    assert_eq!(bench.apply(SMALL, 3), Ok(strings(&["nodes 1 → 3"])));
    assert_eq!(gateways(&bench), ["gateway-node-0", "gateway-node-1", "gateway-node-2"]);
    let udp = [SMALL[0], "udp.enabled=true,udp.autoscaling=null"];
    let changes = bench.apply(&udp, 2).unwrap();
    assert_eq!(changes, ["nodes 3 → 2", "udp: switched on", "gateway: listeners changed"]);
    let all = ["gateway-node-0", "gateway-node-1", "gateway-udp-node-0", "gateway-udp-node-1"];
    assert_eq!(gateways(&bench), all);
    bench.apply(SMALL, 2).unwrap();
    assert_eq!(gateways(&bench), ["gateway-node-0", "gateway-node-1"]);
}

#[test]
fn with_new_settings_a_successor_takes_over_when_it_is_ready_and_up_to_date() {
    let mut bench = Bench::up(SMALL);
    bench.sick.insert("gateway-node-0".to_owned());
    bench.behind.insert("gateway-node-0".to_owned());
    let old = bench.run("gateway-node-0");
    let id = bench.begin_apply(POLICY, 1);
    assert_eq!(bench.lines_with(&["gateway", "terminate"]), ["start gateway-node-0"]);
    bench.sick.clear();
    bench.pass(Duration::from_millis(10));
    assert_eq!(bench.lines_with(&["terminate"]), Vec::<String>::new(), "it does not know the replicas");
    assert!(bench.reply(id).is_none());
    bench.stubborn.insert("gateway-node-0".to_owned());
    let run = bench.run("gateway-node-0");
    bench.tell(Input::CaughtUp { run, version: 1 });
    assert_eq!(bench.lines_with(&["terminate"]), Vec::<String>::new(), "it knows only older ones");
    bench.tell(Input::CaughtUp { run, version: 1_000 });
    assert_eq!(bench.lines_with(&["terminate"]), ["terminate gateway-node-0"]);
    let changes = bench.changes(id).unwrap();
    assert_eq!(changes, ["gateway: settings changed, gateways are replaced"]);
    // It keeps its connections for a long time, but not for ever.
    bench.seconds(89);
    assert_eq!(gateways(&bench).len(), 2);
    let draining = &bench.snapshot().parts[0];
    assert_eq!(
        (draining.healthy, draining.detail.as_str()),
        (false, "made here, least request, node-0, draining")
    );
    bench.seconds(1);
    assert_eq!(gateways(&bench).len(), 1);
    assert_eq!(bench.lines_with(&["kill"]), ["kill gateway-node-0"]);
    assert_ne!(old, bench.run("gateway-node-0"));
}

#[test]
fn while_writes_fail_a_successor_needs_only_the_last_written_endpoints() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Fail;
    bench.scale("tcp", 3).unwrap();
    bench.lines();
    bench.begin_apply(POLICY, 1);
    assert_eq!(bench.lines_with(&["terminate"]), ["terminate gateway-node-0"]);
}

#[test]
fn a_gateway_that_never_served_is_replaced_at_once_without_failing_the_repair() {
    let mut bench = Bench::up(SMALL);
    bench.broken.insert("gateway-node-0".to_owned());
    let error = bench.apply(POLICY, 1).unwrap_err();
    assert_eq!(error, "gateway-node-0 cannot start: no such file");
    assert_eq!(gateways(&bench).len(), 2, "the old one keeps running");
    bench.lines();
    bench.broken.clear();
    assert!(bench.apply(&[SMALL[0], "gateway.policy=round-robin"], 1).is_ok());
    assert_eq!(gateways(&bench).len(), 1);
    assert_eq!(bench.lines_with(&["!"]), Vec::<String>::new());
}

#[test]
fn the_death_of_an_old_gateway_does_not_fail_its_replacement() {
    let mut bench = Bench::up(SMALL);
    let old = bench.run("gateway-node-0");
    bench.sick.insert("gateway-node-0".to_owned());
    let id = bench.begin_apply(POLICY, 1);
    bench.tell(Input::Ended { run: old, exit: Exit::Code(1) });
    assert!(bench.reply(id).is_none());
    bench.sick.clear();
    bench.seconds(1);
    assert!(bench.changes(id).is_ok());
}

#[test]
fn a_listener_with_another_port_is_another_gateway() {
    let mut bench = Bench::up(SMALL);
    let listener = "gateway.listeners[0].name=tcp,gateway.listeners[0].protocol=TCP";
    let place = "gateway.listeners[0].port=10009,gateway.listeners[0].service=tcp";
    let changes = bench.apply(&[SMALL[0], listener, place], 1);
    assert_eq!(changes, Ok(strings(&["gateway: listeners changed"])));
    assert_eq!(gateways(&bench), ["gateway-node-0"]);
}

#[test]
fn a_gateway_that_dies_is_started_again_soon() {
    let mut bench = Bench::up(SMALL);
    let mut delays = Vec::new();
    for _ in 0..7 {
        let run = bench.run("gateway-node-0");
        bench.dies("gateway-node-0");
        let died = bench.now;
        while bench.run("gateway-node-0") == run {
            bench.pass(Duration::from_millis(250));
        }
        delays.push(bench.now.since(died).as_millis());
    }
    assert_eq!(delays, [0, 250, 500, 1_000, 2_000, 4_000, 8_000]);
    let said = bench.lines_with(&["!"]);
    assert_eq!(said[0], "! gateway-node-0: exit code 1; it starts again now, and its listener stays open");
    assert_eq!(
        said[1],
        "! gateway-node-0: exit code 1; it starts again in 250 ms, and its listener stays open"
    );
    assert_eq!(said[3], "! gateway-node-0: exit code 1; it starts again in 1 s, and its listener stays open");
    let part = &bench.snapshot().parts[0];
    assert_eq!((part.restarts, part.detail.as_str()), (7, "made here, least request, node-0, 7 restarts"));
}

#[test]
fn a_gateway_that_cannot_start_is_retried_once_a_second_at_most() {
    let mut bench = Bench::up(SMALL);
    bench.broken.insert("gateway-node-0".to_owned());
    bench.dies("gateway-node-0");
    bench.lines();
    bench.pass(Duration::from_millis(999));
    assert_eq!(bench.lines_with(&["start"]), Vec::<String>::new());
    bench.pass(Duration::from_millis(1));
    let said = bench.lines_with(&["start", "!"]);
    let warning = "! gateway-node-0 cannot start: no such file; its output: playctl logs gateway-node-0";
    assert_eq!(said, ["start gateway-node-0", warning]);
}

#[test]
fn a_gateway_that_fails_its_probe_is_reported_and_stays() {
    let mut bench = Bench::up(SMALL);
    bench.sick.insert("gateway-node-0".to_owned());
    bench.seconds(15);
    assert_eq!(
        bench.lines_with(&["!"]),
        ["! gateway-node-0 has stopped answering: it answered 503 draining"]
    );
    assert!(!bench.snapshot().parts[0].healthy);
}

#[test]
fn a_gateway_without_an_address_waits_and_is_reported_once() {
    let mut bench = Bench::with(Capacity { ordinals: 2, replicas: 200, nodes: 3 });
    let changes = bench.apply(SMALL, 3);
    assert!(changes.is_ok());
    assert_eq!(gateways(&bench), ["gateway-node-0", "gateway-node-1"]);
    let said = bench.lines_with(&["no address"]);
    let words = "! gateway-node-2: no address is left for another gateway; it starts when others are gone";
    assert_eq!(said, [words]);
    bench.scale("tcp", 1).unwrap();
    assert_eq!(bench.lines_with(&["no address"]), Vec::<String>::new());
}

#[test]
fn a_change_times_out_while_successors_of_its_gateways_have_no_place() {
    let mut bench = Bench::with(Capacity { ordinals: 2, replicas: 200, nodes: 2 });
    bench.apply(SMALL, 2).unwrap();
    let id = bench.begin_apply(POLICY, 2);
    bench.seconds(59);
    assert!(bench.reply(id).is_none());
    bench.seconds(1);
    let error = bench.changes(id).unwrap_err();
    assert_eq!(error, "not ready within 60 s: gateway-node-0, gateway-node-1");
}

#[test]
fn a_drained_gateway_is_replaced_at_once() {
    let mut bench = Bench::up(SMALL);
    bench.drain("gateway/node-0").unwrap();
    assert_eq!(gateways(&bench), ["gateway-node-0"]);
    assert!(bench.snapshot().parts[0].healthy);
}
