//! The endpoints for the gateways, in versions.

use std::time::Duration;

use controller::{Effect, Input};

use crate::bench::{Bench, SMALL, Writes, strings};

#[test]
fn a_failed_write_is_retried_after_a_second_and_reported_once() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Fail;
    bench.scale("tcp", 3).unwrap();
    let warning = "! the endpoints cannot be written, so the gateways keep the replicas they know: disk full; \
                   trying again";
    let lines = bench.lines_with(&["endpoints"]);
    assert_eq!(lines, ["endpoints tcp: tcp-0 tcp-1 tcp-2", warning]);
    let problem = "the gateways do not know the current replicas: disk full";
    assert_eq!(bench.snapshot().problems, [problem]);
    bench.pass(Duration::from_millis(999));
    assert_eq!(bench.lines_with(&["endpoints"]), Vec::<String>::new());
    bench.seconds(3);
    assert_eq!(bench.lines_with(&["endpoints"]), vec!["endpoints tcp: tcp-0 tcp-1 tcp-2"; 3]);
    bench.writes = Writes::Work;
    bench.seconds(1);
    let lines = bench.lines_with(&["endpoints"]);
    assert_eq!(lines, ["endpoints tcp: tcp-0 tcp-1 tcp-2", "! the endpoints are written again"]);
    assert_eq!(bench.snapshot().problems, Vec::<String>::new());
    bench.seconds(10);
    assert_eq!(bench.lines_with(&["endpoints"]), Vec::<String>::new());
}

#[test]
fn writes_do_not_overlap_and_the_next_one_has_all_changes() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Hang;
    bench.scale("tcp", 3).unwrap();
    bench.scale("tcp", 5).unwrap();
    assert_eq!(bench.lines_with(&["endpoints"]), ["endpoints tcp: tcp-0 tcp-1 tcp-2"]);
    let version = bench.writing.unwrap();
    // Answers about other versions are ignored.
    for other in [0, version - 1, version + 1] {
        bench.tell(Input::EndpointsWritten { version: other, result: Ok(()) });
    }
    assert_eq!(bench.lines_with(&["endpoints"]), Vec::<String>::new());
    bench.written(Ok(()));
    assert_eq!(bench.lines_with(&["endpoints"]), ["endpoints tcp: tcp-0 tcp-1 tcp-2 tcp-3 tcp-4"]);
    assert_eq!(bench.writing, Some(version + 1));
    bench.written(Ok(()));
    bench.tell(Input::EndpointsWritten { version: version + 1, result: Err("late".to_owned()) });
    assert_eq!((bench.snapshot().problems, bench.lines_with(&["endpoints"])), (Vec::new(), Vec::new()));
}

#[test]
fn a_change_is_written_at_once_even_after_a_failure() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Fail;
    bench.scale("tcp", 3).unwrap();
    bench.lines();
    bench.scale("tcp", 4).unwrap();
    assert_eq!(bench.lines_with(&["endpoints"]), ["endpoints tcp: tcp-0 tcp-1 tcp-2 tcp-3"]);
}

#[test]
fn events_report_the_endpoints_that_were_written() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Hang;
    bench.scale("tcp", 3).unwrap();
    let version = bench.writing.unwrap();
    let effects = bench.controller.step(bench.now, Input::EndpointsWritten { version, result: Ok(()) });
    let [Effect::Emit(fact)] = &effects[..] else { panic!("{effects:?}") };
    let text = format!("{:?}", fact.clone().into_event());
    assert_eq!(
        text,
        r#"EndpointsChanged { service: "tcp", ready: ["tcp-0", "tcp-1", "tcp-2"], draining: [] }"#
    );
}

#[test]
fn only_services_whose_endpoints_changed_are_told() {
    let mut bench = Bench::up(&[SMALL[0], "udp.enabled=true,udp.autoscaling=null,udp.replicas=1"]);
    bench.writes = Writes::Hang;
    bench.scale("tcp", 3).unwrap();
    let version = bench.writing.unwrap();
    let effects = bench.controller.step(bench.now, Input::EndpointsWritten { version, result: Ok(()) });
    let [Effect::Emit(fact)] = &effects[..] else { panic!("{effects:?}") };
    assert!(format!("{fact:?}").contains(r#"service: "tcp""#), "{fact:?}");
}

/// The events after the end of a write.
fn told(bench: &mut Bench) -> Vec<String> {
    let version = bench.writing.expect("a write is under way");
    let effects = bench.controller.step(bench.now, Input::EndpointsWritten { version, result: Ok(()) });
    let facts = effects.into_iter().filter_map(|effect| match effect {
        Effect::Emit(fact) => Some(format!("{:?}", fact.into_event())),
        _ => None,
    });
    facts.collect()
}

#[test]
fn a_service_that_loses_its_last_replica_is_reported_and_a_new_empty_one_is_not() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Hang;
    bench.scale("tcp", 0).unwrap();
    // Both drain first.
    let drain = told(&mut bench);
    assert!(drain[0].contains(r#"ready: [], draining: ["tcp-0", "tcp-1"]"#), "{drain:?}");

    let mut bench = Bench::up(&[SMALL[0], "tcp.replicas=1"]);
    bench.silent.insert("tcp-0".to_owned());
    bench.writes = Writes::Hang;
    bench.dies("tcp-0");
    let gone = told(&mut bench);
    assert_eq!(gone, [r#"EndpointsChanged { service: "tcp", ready: [], draining: [] }"#]);

    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Hang;
    bench.begin_apply(&[SMALL[0], "udp.enabled=true,udp.autoscaling=null,udp.replicas=0"], 1);
    assert_eq!(told(&mut bench), [""; 0]);
}

#[test]
fn services_without_replicas_are_written_but_not_reported() {
    let mut bench = Bench::new();
    bench.writes = Writes::Hang;
    bench.begin_apply(&[SMALL[0], "udp.enabled=true,udp.autoscaling=null,udp.replicas=0"], 1);
    let version = bench.writing.unwrap();
    assert_eq!(bench.lines_with(&["endpoints"]), ["endpoints tcp:; udp:"]);
    let effects = bench.controller.step(bench.now, Input::EndpointsWritten { version, result: Ok(()) });
    assert!(matches!(effects[..], [Effect::WriteEndpoints { .. }]), "{effects:?}");
}

#[test]
fn an_apply_waits_until_the_gateways_know_the_endpoints() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Hang;
    let id = bench.begin_apply(&[SMALL[0], "tcp.replicas=3"], 1);
    assert!(bench.reply(id).is_none(), "not written");
    let version = bench.writing.unwrap();
    let gateway = bench.run("gateway-node-0");
    bench.written(Ok(()));
    // The bench's gateways know every version in advance.
    assert_eq!(bench.changes(id), Ok(strings(&["tcp 2 → 3"])));

    let mut bench = Bench::new();
    bench.behind.insert("gateway-node-0".to_owned());
    let id = bench.begin_apply(SMALL, 1);
    assert!(bench.reply(id).is_none(), "the gateway does not know them");
    bench.tell(Input::CaughtUp { run: gateway, version: 1 });
    let run = bench.run("gateway-node-0");
    bench.tell(Input::CaughtUp { run, version: 1 });
    assert!(bench.reply(id).is_none(), "only an older version");
    bench.tell(Input::CaughtUp { run, version: version + 1 });
    bench.tell(Input::CaughtUp { run, version: 1 });
    assert!(bench.reply(id).is_some());
}
