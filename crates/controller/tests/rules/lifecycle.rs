//! Probes, crashes and their back-off, drains and grace periods.

use std::time::Duration;

use controller::{Capacity, Effect, Exit, Input, ProbeFailure, Probed, RunId, Started};
use platform::target::ReplicaPhase::{BackOff, Draining, Ready, Starting, Unready};

use crate::bench::{Bench, SMALL, strings};

const ONE: &str = "tcp.autoscaling=null,tcp.replicas=1,kafka.enabled=false,memcached.enabled=false";

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_caller_says_what_kind_of_target_it_is() {
    assert_eq!(Bench::up(&[ONE]).snapshot().target, "simulated");
}

#[test]
fn three_failures_in_a_row_remove_a_replica_and_one_success_brings_it_back() {
    let mut bench = Bench::up(&[ONE]);
    bench.sick.insert("tcp-0".to_owned());
    bench.pass(milliseconds(2_900));
    assert_eq!(bench.phase("tcp-0"), Ready);
    bench.pass(milliseconds(200));
    assert_eq!(bench.phase("tcp-0"), Unready);
    assert_eq!(bench.lines(), ["tcp-0 unready: /readyz answered 503 draining", "endpoints tcp:"]);
    bench.sick.clear();
    bench.seconds(1);
    assert_eq!(bench.lines(), ["tcp-0 ready", "endpoints tcp: tcp-0"]);
}

#[test]
fn thresholds_come_from_the_values() {
    let probe = "tcp.probes.readiness.failureThreshold=2,tcp.probes.readiness.successThreshold=3";
    let mut bench = Bench::new();
    let id = bench.begin_apply(&[ONE, probe, "tcp.probes.readiness.periodSeconds=7"], 1);
    assert_eq!(bench.phase("tcp-0"), Starting, "one success");
    bench.pass(milliseconds(10));
    assert_eq!(bench.phase("tcp-0"), Starting, "two");
    bench.pass(milliseconds(10));
    assert_eq!(bench.phase("tcp-0"), Ready, "three");
    assert!(bench.changes(id).is_ok());
    bench.sick.insert("tcp-0".to_owned());
    bench.seconds(13);
    assert_eq!(bench.phase("tcp-0"), Ready);
    bench.seconds(1);
    assert_eq!(bench.phase("tcp-0"), Unready);
}

#[test]
fn answers_of_an_earlier_run_are_ignored() {
    let mut bench = Bench::up(&[ONE]);
    let old = bench.run("tcp-0");
    bench.sick.insert("tcp-0".to_owned());
    bench.dies("tcp-0");
    let before = bench.controller.clone();
    for input in [
        Input::Started { run: old, result: Ok(Started { address: None, detail: String::new() }) },
        Input::Started { run: old, result: Err("late".to_owned()) },
        Input::Probed { run: old, result: Ok(Probed::default()) },
        Input::Ended { run: old, exit: Exit::Code(1) },
        Input::CaughtUp { run: old, version: 7 },
        Input::CaughtUp { run: RunId(999), version: 7 },
        Input::EndpointsWritten { version: 1, result: Err("late".to_owned()) },
    ] {
        assert_eq!(bench.controller.step(bench.now, input.clone()), Vec::new(), "{input:?}");
    }
    assert_eq!(bench.controller.next_due(), before.next_due());
    assert_eq!(bench.phase("tcp-0"), Starting);
}

#[test]
fn a_replica_that_dies_before_its_start_is_confirmed_starts_once() {
    let mut bench = Bench::up(&[ONE]);
    bench.silent.insert("tcp-0".to_owned());
    bench.dies("tcp-0");
    let run = bench.run("tcp-0");
    bench.tell(Input::Ended { run, exit: Exit::Signal(11) });
    bench.tell(Input::Started { run, result: Ok(Started { address: None, detail: String::new() }) });
    assert_eq!(bench.phase("tcp-0"), BackOff);
    let crashes = bench.lines_with(&["crashed", "start "]);
    let expected = [
        "tcp-0 crashed: exit code 1, again in 0 ms",
        "start tcp-0",
        "tcp-0 crashed: crashed (SIGSEGV), again in 10000 ms",
    ];
    assert_eq!(crashes, expected);
}

#[test]
fn a_crashing_replica_waits_twice_as_long_each_time() {
    let mut bench = Bench::up(&[ONE]);
    let mut delays = Vec::new();
    for _ in 0..8 {
        bench.dies("tcp-0");
        let died = bench.now;
        while bench.phase("tcp-0") == BackOff {
            bench.seconds(1);
        }
        delays.push(bench.now.since(died).as_secs());
    }
    assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(bench.service("tcp").replicas[0].restarts, 8);
    // A run of 10 min resets the back-off, a shorter one does not.
    bench.seconds(599);
    bench.dies("tcp-0");
    bench.seconds(299);
    assert_eq!(bench.phase("tcp-0"), BackOff);
    bench.seconds(1);
    assert_eq!(bench.phase("tcp-0"), Ready);
    bench.seconds(600);
    bench.dies("tcp-0");
    assert_eq!(bench.phase("tcp-0"), Ready, "at once");
    bench.dies("tcp-0");
    bench.seconds(9);
    assert_eq!(bench.phase("tcp-0"), BackOff);
}

#[test]
fn a_start_that_fails_waits_as_a_crash_does() {
    let mut bench = Bench::up(&[ONE]);
    bench.broken.insert("tcp-0".to_owned());
    bench.dies("tcp-0");
    bench.seconds(29);
    let lines = bench.lines_with(&["crashed"]);
    let again = |delay: u64| format!("tcp-0 crashed: no such file, again in {delay} ms");
    assert_eq!(lines, ["tcp-0 crashed: exit code 1, again in 0 ms".to_owned(), again(10_000), again(20_000)]);
    // A new replica has its own back-off.
    bench.broken.clear();
    bench.drain("tcp/tcp-0").unwrap();
    bench.dies("tcp-1");
    assert_eq!(bench.phase("tcp-1"), Ready);
}

#[test]
fn a_replica_that_died_comes_back_from_the_present_template() {
    // There is no place for a third one, so the old ones stay.
    let mut bench = Bench::with(Capacity { ordinals: 2, replicas: 2, nodes: 1 });
    bench.apply(SMALL, 1).unwrap();
    let id = bench.begin_apply(&[SMALL[0], "tcp.env.BUFF_SIZE=99"], 1);
    bench.kill("tcp/tcp-0", true).unwrap();
    assert!(bench.reply(id).is_none());
    bench.kill("tcp/tcp-1", true).unwrap();
    assert!(bench.changes(id).is_ok());
    assert_eq!(bench.names("tcp"), ["tcp-0", "tcp-1"]);
}

#[test]
fn a_replica_leaves_the_endpoints_before_it_is_told_to_end() {
    let mut bench = Bench::up(SMALL);
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    let lines = bench.lines_with(&["endpoints", "terminate"]);
    assert_eq!(lines[..2], strings(&["endpoints tcp: (tcp-0) tcp-1", "terminate tcp-0"]));
}

#[test]
fn no_replica_is_told_to_end_while_older_endpoints_are_written() {
    let mut bench = Bench::up(SMALL);
    bench.writes = crate::bench::Writes::Hang;
    bench.scale("tcp", 3).unwrap();
    bench.lines();
    bench.drain("tcp/tcp-0").unwrap();
    bench.drain("tcp/tcp-1").unwrap();
    assert_eq!(bench.lines_with(&["endpoints", "terminate"]), Vec::<String>::new());
    // One of them dies meanwhile, so it is not told to end.
    bench.dies("tcp-1");
    bench.written(Ok(()));
    let lines = bench.lines_with(&["endpoints", "terminate"]);
    assert_eq!(lines, ["endpoints tcp: (tcp-0) tcp-2 tcp-3 tcp-4", "terminate tcp-0"]);
    // The same with a write that fails.
    bench.drain("tcp/tcp-2").unwrap();
    bench.written(Err("disk full"));
    let lines = bench.lines_with(&["endpoints tcp", "terminate"]);
    assert_eq!(lines, ["endpoints tcp: (tcp-2) tcp-3 tcp-4 tcp-5", "terminate tcp-2"]);
}

#[test]
fn a_replica_that_outlives_its_grace_period_is_killed() {
    let mut bench = Bench::up(&[SMALL[0], "tcp.terminationGracePeriodSeconds=7"]);
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    bench.pass(milliseconds(6_999));
    assert_eq!(bench.phase("tcp-0"), Draining);
    assert_eq!(bench.lines_with(&["kill", "gone"]), Vec::<String>::new());
    bench.pass(milliseconds(1));
    assert_eq!(bench.lines_with(&["kill", "gone"]), ["kill tcp-0", "tcp-0 gone after 7000 ms, forced"]);
    // A replica that ends in time is not killed.
    bench.drain("tcp/tcp-1").unwrap();
    assert_eq!(bench.lines_with(&["gone"]), ["tcp-1 gone after 0 ms"]);
}

#[test]
fn a_draining_replica_is_killed_once() {
    let mut bench = Bench::up(&[SMALL[0], "tcp.terminationGracePeriodSeconds=7"]);
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    let run = bench.run("tcp-0");
    let mut kills = 0;
    // The kill is not answered.
    for _ in 0..30 {
        bench.now = bench.now + Duration::from_secs(1);
        let effects = bench.controller.step(bench.now, Input::Tick);
        kills += effects.iter().filter(|effect| **effect == Effect::Kill { run }).count();
    }
    assert_eq!(kills, 1);
}

#[test]
fn a_draining_replica_stays_draining_whatever_its_probe_says() {
    let mut bench = Bench::up(SMALL);
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    bench.lines();
    bench.sick.insert("tcp-0".to_owned());
    bench.seconds(10);
    bench.sick.clear();
    bench.seconds(10);
    assert_eq!(bench.phase("tcp-0"), Draining);
    assert_eq!(bench.lines_with(&["tcp-0"]), Vec::<String>::new());
}

#[test]
fn a_replica_told_to_end_while_it_starts_is_gone_even_if_the_start_fails() {
    let mut bench = Bench::up(SMALL);
    for result in [Err("no such file".to_owned()), Ok(Started { address: None, detail: String::new() })] {
        let next = format!("tcp-{}", bench.run("tcp-1").0);
        bench.silent.insert(next);
        let name = format!("tcp-{}", 2 + u64::from(result.is_ok()));
        bench.silent.insert(name.clone());
        bench.stubborn.insert(name.clone());
        bench.scale("tcp", 3).unwrap();
        assert_eq!(bench.phase(&name), Starting);
        bench.scale("tcp", 2).unwrap();
        assert_eq!(bench.phase(&name), Draining);
        let run = bench.run(&name);
        let is_ok = result.is_ok();
        bench.tell(Input::Started { run, result });
        if is_ok {
            assert_eq!(bench.phase(&name), Draining);
            bench.seconds(61);
        }
        assert!(!bench.names("tcp").contains(&name));
    }
}

#[test]
fn a_kill_says_when_it_starts_again() {
    let mut bench = Bench::up(&[ONE]);
    let restart_in = |reply: Result<controller::Reply, String>| match reply {
        Ok(controller::Reply::Killed { killed, .. }) => killed.restart_in,
        other => panic!("{other:?}"),
    };
    assert_eq!(restart_in(bench.kill("tcp", true)), Some(Duration::ZERO));
    assert_eq!(restart_in(bench.kill("tcp", true)), Some(Duration::from_secs(10)));
    bench.seconds(4);
    let error = bench.kill("tcp/tcp-0", true).unwrap_err();
    assert_eq!(error, "tcp-0 does not run: it died, and starts again in 6 s");
    bench.seconds(6);
    assert_eq!(restart_in(bench.kill("tcp", false)), None);
    let error = bench.kill("tcp/tcp-0", true).unwrap_err();
    assert_eq!(error, "tcp-0 does not run; start it with: playctl start tcp/tcp-0");
}

#[test]
fn a_probe_without_an_answer_says_so() {
    let mut bench = Bench::up(&[ONE]);
    let run = bench.run("tcp-0");
    for _ in 0..3 {
        bench.now = bench.controller.next_due().unwrap();
        bench.controller.step(bench.now, Input::Tick);
        bench.tell(Input::Probed {
            run,
            result: Err(ProbeFailure::NoAnswer { error: "timed out".to_owned() }),
        });
    }
    assert_eq!(bench.lines_with(&["unready"]), ["tcp-0 unready: /readyz: timed out"]);
}
