//! The number of replicas, which ones start and which ones end.

use controller::{Capacity, Reply};
use platform::target::ReplicaPhase::{Draining, Ready, Starting, Stopped};

use crate::bench::{Bench, SMALL, strings};

const CHANGED: &[&str] = &[SMALL[0], "tcp.env.BUFF_SIZE=1024"];

#[test]
fn a_changed_template_replaces_replicas_one_by_one() {
    let mut bench = Bench::up(SMALL);
    let changes = bench.apply(CHANGED, 1);
    assert_eq!(changes, Ok(strings(&["tcp: template changed, its replicas are replaced one by one"])));
    let lines = bench.lines_with(&["start ", "ready", "draining", "terminate", "endpoints"]);
    let expected = [
        "start tcp-2",
        "tcp-2 ready",
        "tcp-1 draining",
        "endpoints tcp: tcp-0 (tcp-1) tcp-2",
        "start tcp-3",
        "terminate tcp-1",
        "endpoints tcp: tcp-0 tcp-2",
        "tcp-3 ready",
        "tcp-0 draining",
        "endpoints tcp: (tcp-0) tcp-2 tcp-3",
        "terminate tcp-0",
        "endpoints tcp: tcp-2 tcp-3",
    ];
    assert_eq!(lines, strings(&expected));
}

#[test]
fn no_old_replica_ends_before_a_new_one_is_ready() {
    let mut bench = Bench::up(SMALL);
    bench.sick.insert("tcp-2".to_owned());
    let id = bench.begin_apply(CHANGED, 1);
    bench.seconds(30);
    let phases = [("tcp-0", Ready), ("tcp-1", Ready), ("tcp-2", Starting)];
    assert_eq!(bench.replicas("tcp"), phases.map(|(name, phase)| (name.to_owned(), phase)));
    assert!(bench.reply(id).is_none(), "it waits");
    bench.sick.clear();
    bench.seconds(1);
    assert!(bench.changes(id).is_ok());
    assert_eq!(bench.names("tcp"), ["tcp-2", "tcp-3"]);
}

#[test]
fn a_change_reverted_midway_keeps_the_old_replicas() {
    let mut bench = Bench::up(SMALL);
    bench.silent.insert("tcp-2".to_owned());
    bench.stubborn.insert("tcp-2".to_owned());
    let changed = bench.begin_apply(CHANGED, 1);
    let back = bench.begin_apply(SMALL, 1);
    // The new one goes at once, although it is still starting; nothing else changes.
    assert_eq!(bench.phase("tcp-2"), Draining);
    assert!(bench.changes(changed).is_ok());
    assert_eq!(bench.changes(back).unwrap().len(), 1);
    assert_eq!([bench.phase("tcp-0"), bench.phase("tcp-1")], [Ready, Ready]);
}

#[test]
fn two_simultaneous_applies_are_both_answered_and_the_second_wins() {
    let mut bench = Bench::up(SMALL);
    bench.silent.insert("tcp-2".to_owned());
    let first = bench.begin_apply(&[SMALL[0], "tcp.replicas=3"], 1);
    let second = bench.begin_apply(SMALL, 1);
    assert_eq!(bench.changes(first), Ok(strings(&["tcp 2 → 3"])));
    assert_eq!(bench.changes(second), Ok(strings(&["tcp 3 → 2"])));
    assert_eq!(bench.service("tcp").desired, 2);
}

#[test]
fn replicas_are_removed_in_the_order_of_a_replica_set() {
    // Not ready before ready; more on the same node before fewer; then the newer one.
    let mut bench = Bench::new();
    bench.apply(&[SMALL[0], "tcp.replicas=3"], 2).unwrap();
    bench.seconds(100);
    let nodes: Vec<_> = bench.service("tcp").replicas.into_iter().map(|one| one.node.unwrap()).collect();
    assert_eq!(nodes, ["node-0", "node-1", "node-0"]);
    bench.stubborn.extend(["tcp-0", "tcp-1", "tcp-2", "tcp-3"].map(str::to_owned));
    bench.scale("tcp", 2).unwrap();
    assert_eq!(bench.phase("tcp-2"), Draining, "the newer one of those that share a node");
    bench.sick.insert("tcp-0".to_owned());
    bench.seconds(5);
    bench.scale("tcp", 1).unwrap();
    assert_eq!([bench.phase("tcp-0"), bench.phase("tcp-1")], [Draining, Ready], "not ready before ready");
}

#[test]
fn a_restarted_replica_is_removed_before_one_that_never_restarted() {
    let mut bench = Bench::up(SMALL);
    bench.seconds(100);
    bench.dies("tcp-0");
    bench.seconds(700);
    bench.dies("tcp-0");
    bench.dies("tcp-1");
    bench.seconds(100);
    // Both became ready at the same moment; otherwise the newer one, tcp-1, would go.
    bench.scale("tcp", 1).unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-1"]);
}

#[test]
fn a_lower_deletion_cost_or_a_newer_replica_is_removed_first() {
    let mut bench = Bench::up(SMALL);
    bench.seconds(1);
    bench.scale("tcp", 3).unwrap();
    bench.seconds(1);
    bench.scale("tcp", 2).unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-0", "tcp-1"]);
}

#[test]
fn scaling_to_zero_and_back_within_the_grace_period_adds_new_replicas_beside_the_old() {
    let mut bench = Bench::up(SMALL);
    bench.stubborn.extend(["tcp-0".to_owned(), "tcp-1".to_owned()]);
    bench.scale("tcp", 0).unwrap();
    assert_eq!(bench.replicas("tcp").iter().map(|(_, phase)| *phase).collect::<Vec<_>>(), [Draining; 2]);
    bench.seconds(1);
    bench.scale("tcp", 2).unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-0", "tcp-1", "tcp-2", "tcp-3"]);
    assert_eq!([bench.phase("tcp-0"), bench.phase("tcp-2"), bench.phase("tcp-3")], [Draining, Ready, Ready]);
    bench.seconds(60);
    assert_eq!(bench.names("tcp"), ["tcp-2", "tcp-3"]);
}

#[test]
fn replicas_without_a_place_are_pending_and_block_no_change() {
    let mut bench = Bench::with(Capacity { ordinals: 3, replicas: 200, nodes: 1 });
    assert!(bench.apply(&[SMALL[0], "tcp.replicas=5"], 1).is_ok());
    assert_eq!((bench.service("tcp").pending, bench.names("tcp").len()), (2, 3));
    let said = bench.lines_with(&["no room"]);
    let words = "! tcp: 2 replicas have no room on this platform yet; they start when others are gone";
    assert_eq!(said, [words]);
    // Nothing is reported twice, and replicas that get a place start.
    bench.scale("tcp", 4).unwrap();
    assert_eq!((bench.service("tcp").pending, bench.lines_with(&["no room"])), (1, Vec::new()));
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    assert_eq!(bench.service("tcp").pending, 2, "its place is still taken");
    bench.dies("tcp-0");
    assert_eq!((bench.service("tcp").pending, bench.names("tcp").len()), (1, 3));
    bench.scale("tcp", 3).unwrap();
    assert_eq!(bench.service("tcp").pending, 0);
    bench.scale("tcp", 4).unwrap();
    assert_eq!(
        bench.lines_with(&["no room"]),
        ["! tcp: 1 replica has no room on this platform yet; they start when others are gone"]
    );
}

#[test]
fn running_and_draining_replicas_stay_within_the_capacity() {
    let mut bench = Bench::with(Capacity { ordinals: 254, replicas: 3, nodes: 1 });
    bench.apply(&[SMALL[0], "tcp.replicas=3"], 1).unwrap();
    bench.stubborn.extend((0..3).map(|ordinal| format!("tcp-{ordinal}")));
    bench.drain("tcp/tcp-1").unwrap();
    assert_eq!((bench.names("tcp").len(), bench.service("tcp").pending), (3, 1));
    bench.dies("tcp-1");
    assert_eq!(
        (bench.names("tcp"), bench.service("tcp").pending),
        (strings(&["tcp-0", "tcp-2", "tcp-3"]), 0)
    );
}

#[test]
fn a_new_replica_gets_the_lowest_ordinal_that_is_not_at_rest() {
    let mut bench = Bench::up(SMALL);
    bench.drain("tcp/tcp-0").unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-1", "tcp-2"]);
    bench.seconds(299);
    bench.scale("tcp", 3).unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-1", "tcp-2", "tcp-3"]);
    bench.seconds(1);
    bench.scale("tcp", 4).unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-1", "tcp-2", "tcp-3", "tcp-0"]);
}

#[test]
fn ordinals_rest_while_their_service_is_switched_off_too() {
    let udp = [SMALL[0], "udp.enabled=true,udp.autoscaling=null,udp.replicas=1"];
    let mut bench = Bench::up(&udp);
    bench.apply(SMALL, 1).unwrap();
    bench.apply(&udp, 1).unwrap();
    assert_eq!(bench.names("udp"), ["udp-1"]);
}

#[test]
fn a_replica_killed_for_good_stays_dead_and_counts_until_it_is_started() {
    let mut bench = Bench::up(SMALL);
    let killed = bench.kill("tcp/tcp-0", false).unwrap();
    assert!(matches!(killed, Reply::Killed { killed, .. } if killed.restart_in.is_none()));
    bench.seconds(600);
    assert_eq!(bench.phase("tcp-0"), Stopped);
    assert_eq!(bench.names("tcp").len(), 2, "nothing takes its place");
    bench.lines();
    assert!(matches!(bench.start("tcp/tcp-0"), Ok(Reply::Started(started)) if started.was_stopped));
    assert_eq!(bench.phase("tcp-0"), Ready);
    assert_eq!(bench.service("tcp").replicas[0].restarts, 1);
    assert!(matches!(bench.start("tcp/tcp-0"), Ok(Reply::Started(started)) if !started.was_stopped));
}

#[test]
fn a_killed_replica_starts_again_if_started_before_its_death_is_known() {
    for apply in [false, true] {
        let mut bench = Bench::up(SMALL);
        let run = bench.run("tcp-0");
        // The process takes its time.
        let effects = bench.controller.step(
            bench.now,
            controller::Input::Request {
                id: controller::RequestId(100),
                request: controller::Request::Kill {
                    what: crate::bench::subject("tcp/tcp-0"),
                    restart: false,
                    loads: Vec::new(),
                },
            },
        );
        assert!(effects.contains(&controller::Effect::Kill { run }));
        if apply {
            assert_eq!(bench.apply(SMALL, 1), Ok(strings(&["tcp-0: started again"])));
        } else {
            assert!(matches!(bench.start("tcp/tcp-0"), Ok(Reply::Started(started)) if started.was_stopped));
        }
        bench.dies("tcp-0");
        bench.seconds(1);
        assert_eq!(bench.phase("tcp-0"), Ready, "apply: {apply}");
    }
}

#[test]
fn a_dead_replica_that_is_drained_is_replaced_at_once() {
    let mut bench = Bench::up(SMALL);
    bench.kill("tcp/tcp-0", false).unwrap();
    bench.lines();
    bench.drain("tcp/tcp-0").unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-1", "tcp-2"]);
    assert_eq!(bench.lines_with(&["tcp-0"]), ["tcp-0 draining", "tcp-0 gone after 0 ms"]);
}

#[test]
fn a_stopped_service_has_no_replicas_until_it_is_started() {
    let mut bench = Bench::up(SMALL);
    bench.stop("tcp").unwrap();
    assert_eq!(bench.names("tcp"), Vec::<String>::new());
    assert_eq!((bench.service("tcp").stopped, bench.service("tcp").desired), (true, 2));
    bench.scale("tcp", 3).unwrap();
    assert_eq!(bench.names("tcp"), Vec::<String>::new(), "it is stopped, whatever is desired");
    bench.start("tcp").unwrap();
    assert_eq!(bench.names("tcp").len(), 3);
    let set = bench.lines_with(&[" set "]);
    assert_eq!(set, ["tcp set 2 → 0", "tcp set 2 → 3", "tcp set 0 → 3"]);
}

#[test]
fn a_part_that_is_starting_blocks_no_running_service() {
    let mut bench = Bench::up(SMALL);
    bench.silent.insert("kafka".to_owned());
    let on = [SMALL[0], "kafka.enabled=true,tcp.env.BUFF_SIZE=1024"];
    let id = bench.begin_apply(&on, 1);
    bench.scale("tcp", 3).unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-0", "tcp-1", "tcp-2"], "of the template before");
    bench.drain("tcp/tcp-1").unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-0", "tcp-2", "tcp-3"]);
    bench.lines();
    let run = bench.run("kafka");
    let started = controller::Started { address: Some("kafka:9092".to_owned()), detail: String::new() };
    bench.tell(controller::Input::Started { run, result: Ok(started) });
    let changes = bench.changes(id).unwrap();
    assert_eq!(changes[0], "kafka: embedded");
    assert_eq!(changes[1], "tcp: template changed, its replicas are replaced one by one");
    assert_eq!(bench.names("tcp"), ["tcp-4", "tcp-5", "tcp-6"]);
}
