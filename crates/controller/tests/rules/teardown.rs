//! Taking the platform down.

use controller::{Input, Reply, Request};

use crate::bench::{Bench, SMALL, Writes};

const WITH_PARTS: &[&str] = &["tcp.autoscaling=null,tcp.replicas=2"];

fn steps(bench: &mut Bench) -> Vec<String> {
    bench.lines_with(&["terminate", "kill", "gone", "stopp", "finished", "reply"])
}

#[test]
fn a_graceful_teardown_ends_replicas_then_gateways_then_parts_and_then_answers() {
    let mut bench = Bench::up(WITH_PARTS);
    let down = bench.ask(Request::Teardown { grace: true });
    assert_eq!(down, Ok(Reply::Down));
    let expected = [
        "platform stopping, grace true",
        "terminate tcp-0",
        "terminate tcp-1",
        "tcp-0 gone after 0 ms",
        "tcp-1 gone after 0 ms",
        "terminate gateway-node-0",
        "terminate kafka",
        "terminate memcached",
        "kafka stopped",
        "memcached stopped",
        "platform stopped",
        "finished",
        "reply 2 ok",
    ];
    assert_eq!(steps(&mut bench), expected);
    assert!(bench.controller.is_finished());
    assert_eq!(bench.controller.next_due(), None);
}

#[test]
fn a_process_that_does_not_end_is_killed_after_its_grace_period() {
    let mut bench = Bench::up(WITH_PARTS);
    bench.stubborn.extend(["tcp-1", "gateway-node-0", "kafka"].map(str::to_owned));
    assert!(!bench.controller.is_stopping());
    let id = bench.begin(Request::Teardown { grace: true });
    assert!(bench.controller.is_stopping());
    let mut killed = Vec::new();
    for second in 1..=80 {
        bench.seconds(1);
        killed.extend(bench.lines_with(&["kill"]).into_iter().map(|line| format!("{second} s: {line}")));
    }
    assert_eq!(killed, ["60 s: kill tcp-1", "62 s: kill gateway-node-0", "72 s: kill kafka"]);
    assert_eq!(bench.reply(id), Some(Ok(Reply::Down)));
}

#[test]
fn an_immediate_teardown_kills_everything_and_restarts_nothing() {
    for input in [None, Some(Input::Interrupted)] {
        let mut bench = Bench::up(WITH_PARTS);
        bench.dies("tcp-0");
        bench.dies("tcp-0");
        bench.lines();
        match input {
            Some(input) => bench.tell(input),
            None => assert_eq!(bench.ask(Request::Teardown { grace: false }), Ok(Reply::Down)),
        }
        let lines = bench.lines_with(&["kill", "terminate", "start ", "gone"]);
        let killed: Vec<&String> = lines.iter().filter(|line| line.starts_with("kill")).collect();
        assert_eq!(killed, ["kill kafka", "kill memcached", "kill tcp-1", "kill gateway-node-0"]);
        assert!(lines.iter().all(|line| !line.starts_with("start")), "{lines:?}");
        assert!(bench.controller.is_finished());
    }
}

#[test]
fn a_second_teardown_is_immediate_and_both_are_answered() {
    let mut bench = Bench::up(SMALL);
    bench.stubborn.insert("tcp-0".to_owned());
    let first = bench.begin(Request::Teardown { grace: true });
    bench.seconds(5);
    assert!(bench.reply(first).is_none());
    let second = bench.begin(Request::Teardown { grace: false });
    assert_eq!([bench.reply(first), bench.reply(second)], [Some(Ok(Reply::Down)), Some(Ok(Reply::Down))]);
    let lines = bench.lines_with(&["stopping", "kill"]);
    assert_eq!(lines, ["platform stopping, grace true", "kill tcp-0", "kill gateway-node-0"]);
}

#[test]
fn a_later_graceful_teardown_does_not_delay_an_immediate_one() {
    let mut bench = Bench::up(SMALL);
    let runs = ["tcp-0", "tcp-1", "gateway-node-0"].map(|name| bench.run(name));
    bench.controller.step(bench.now, Input::Interrupted);
    let id = bench.begin(Request::Teardown { grace: true });
    assert_eq!(bench.lines_with(&["kill"]).len(), runs.len());
    assert_eq!(bench.reply(id), Some(Ok(Reply::Down)));
}

#[test]
fn a_platform_that_never_started_is_down_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(Request::Teardown { grace: true }), Ok(Reply::Down));
    assert!(bench.controller.is_finished());
    assert_eq!(bench.ask(Request::Teardown { grace: false }), Ok(Reply::Down), "again");
}

#[test]
fn a_teardown_ends_a_starting_part_and_waits_for_it() {
    let mut bench = Bench::new();
    bench.silent.insert("kafka".to_owned());
    bench.stubborn.insert("kafka".to_owned());
    let up = bench.begin_apply(WITH_PARTS, 1);
    let down = bench.begin(Request::Teardown { grace: true });
    assert!(bench.reply(down).is_none(), "Kafka is still there");
    let run = bench.run("kafka");
    let started = controller::Started { address: None, detail: String::new() };
    bench.tell(Input::Started { run, result: Ok(started) });
    assert!(bench.reply(down).is_none());
    bench.dies("kafka");
    assert_eq!(bench.reply(down), Some(Ok(Reply::Down)));
    assert_eq!(bench.changes(up), Err("it was taken down while it was coming up".to_owned()));
    assert_eq!(bench.lines_with(&["ready"]), ["memcached ready: made here"]);
}

#[test]
fn a_part_that_becomes_ready_during_a_teardown_does_not_count() {
    let mut bench = Bench::new();
    bench.silent.extend(["kafka", "memcached"].map(str::to_owned));
    bench.begin_apply(WITH_PARTS, 1);
    // The kill takes its time.
    bench.controller.step(bench.now, Input::Interrupted);
    let run = bench.run("kafka");
    let started = controller::Started { address: None, detail: String::new() };
    bench.tell(Input::Started { run, result: Ok(started) });
    assert_eq!(bench.lines_with(&["ready", "start tcp"]), Vec::<String>::new());
}

#[test]
fn a_platform_abandoned_during_its_bring_up_goes_down_and_later_stays_up() {
    let mut bench = Bench::up(WITH_PARTS);
    bench.tell(Input::Abandoned);
    assert_eq!(bench.lines(), Vec::<String>::new());
    for silent in ["kafka", "tcp-0", "gateway-node-0"] {
        let mut bench = Bench::new();
        bench.silent.insert(silent.to_owned());
        let up = bench.begin_apply(WITH_PARTS, 1);
        bench.tell(Input::Abandoned);
        assert!(bench.controller.is_finished(), "{silent}");
        assert!(bench.changes(up).is_err());
    }
    let mut bench = Bench::new();
    bench.tell(Input::Abandoned);
    assert!(bench.controller.is_finished());
}

#[test]
fn after_the_end_the_controller_only_replies() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Hang;
    bench.scale("tcp", 3).unwrap();
    bench.ask(Request::Teardown { grace: false }).unwrap();
    assert!(bench.controller.is_finished());
    bench.lines();
    bench.written(Err("late"));
    let run = bench.run("tcp-0");
    bench.tell(Input::Ended { run, exit: controller::Exit::Stopped });
    bench.tell(Input::Interrupted);
    bench.seconds(100);
    assert_eq!(bench.lines(), Vec::<String>::new());
    assert_eq!(
        bench.scale("tcp", 1),
        Err("platform playground is not running; start it with: playctl up".to_owned())
    );
    assert_eq!(bench.apply(SMALL, 1), Err("playground is being taken down".to_owned()));
    assert_eq!(bench.controller.snapshot(&crate::bench::Nowhere), None);
}

#[test]
fn a_teardown_refuses_all_other_requests() {
    let mut bench = Bench::up(WITH_PARTS);
    bench.stubborn.insert("tcp-0".to_owned());
    bench.begin(Request::Teardown { grace: true });
    let not_running = "platform playground is not running; start it with: playctl up";
    for name in ["tcp", "kafka", "gateway/node-0", "tpc"] {
        assert_eq!(bench.kill(name, true).unwrap_err(), not_running, "{name}");
        assert_eq!(bench.stop(name).unwrap_err(), not_running, "{name}");
        assert_eq!(bench.start(name).unwrap_err(), not_running, "{name}");
        assert_eq!(bench.drain(name).unwrap_err(), not_running, "{name}");
    }
    assert_eq!(bench.apply(SMALL, 1).unwrap_err(), "playground is being taken down");
    bench.dies("gateway-node-0");
    bench.seconds(20);
    assert_eq!(bench.lines_with(&["start "]), Vec::<String>::new());
}
