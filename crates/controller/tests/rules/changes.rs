//! Bring-up, the changes of an `apply`, and failures of both.

use controller::{Apply, Exit, Input, Reply, Request};
use platform::target::{Balanced, ReplicaPhase};

use crate::bench::{Bench, SMALL, Writes, strings, values};

fn obstructed(set: &[&str]) -> Request {
    Request::Apply(Box::new(Apply {
        values: values(set).into(),
        nodes: 1,
        programs: [].into(),
        obstacle: Some("port 10000 is taken by nginx (pid 7)".to_owned()),
    }))
}

#[test]
fn the_first_apply_brings_up_and_repeating_it_changes_nothing() {
    for (nodes, words) in [(1, "playground brought up on 1 node"), (2, "playground brought up on 2 nodes")] {
        let mut bench = Bench::new();
        assert_eq!(bench.controller.wanted(), None);
        assert_eq!(bench.apply(SMALL, nodes), Ok(strings(&[words])));
        assert_eq!(bench.controller.wanted(), Some((&values(SMALL).into(), nodes)));
        assert_eq!(bench.lines_with(&["platform"]), ["platform started", "platform ready"]);
        assert_eq!(bench.apply(SMALL, nodes), Ok(Vec::new()));
        assert_eq!(bench.lines(), ["reply 2 ok"]);
    }
}

#[test]
fn every_change_is_described() {
    let fixed = "tcp.autoscaling=null,tcp.replicas=2,kafka.enabled=false,memcached.enabled=false";
    let scaled = "kafka.enabled=false,memcached.enabled=false";
    let udp = "udp.enabled=true,udp.autoscaling=null,udp.replicas=1";
    let replaced = "tcp: template changed, its replicas are replaced one by one";
    for (before, after, expected) in [
        (vec![fixed], vec![fixed, "tcp.replicas=3"], vec!["tcp 2 → 3"]),
        (vec![fixed], vec![fixed, udp], vec!["udp: switched on", "gateway: listeners changed"]),
        (vec![fixed, udp], vec![fixed], vec!["udp: switched off", "gateway: listeners changed"]),
        (vec![fixed], vec![fixed, "tcp.adminPort=9101"], vec![replaced]),
        (vec![fixed], vec![scaled], vec!["tcp: autoscaling switched on"]),
        (vec![scaled], vec![fixed], vec!["tcp: autoscaling switched off", "tcp 1 → 2"]),
        (vec![scaled], vec![scaled, "tcp.autoscaling.maxReplicas=9"], vec!["tcp: autoscaling changed"]),
        (vec![fixed], vec![fixed, "metrics.window=90s"], vec!["metrics: intervals or source changed"]),
        (
            vec![fixed],
            vec![fixed, "gateway.maxConnections=7"],
            vec!["gateway: settings changed, gateways are replaced"],
        ),
    ] {
        let mut bench = Bench::up(&before);
        assert_eq!(bench.apply(&after, 1), Ok(strings(&expected)), "{after:?}");
        assert_eq!(bench.apply(&after, 1), Ok(Vec::new()), "{after:?} again");
    }
}

#[test]
fn every_setting_that_changed_is_listed() {
    let mut bench = Bench::up(SMALL);
    let id = bench.begin_apply(&[SMALL[0], "tcp.env.BUFF_SIZE=1024"], 2);
    let Some(Ok(Reply::Applied(applied))) = bench.reply(id) else { panic!() };
    let told: Vec<(&str, String)> = applied
        .settings
        .iter()
        .map(|change| (change.key.as_str(), change.new.as_ref().unwrap().to_string()))
        .collect();
    assert_eq!(told, [("nodes", "2".to_owned()), ("tcp.env.BUFF_SIZE", "1024".to_owned())]);
    let id = bench.begin_apply(&[SMALL[0], "tcp.env.BUFF_SIZE=1024"], 2);
    let Some(Ok(Reply::Applied(applied))) = bench.reply(id) else { panic!() };
    assert_eq!(applied.settings, []);
}

#[test]
fn a_bring_up_names_the_services_with_a_policy_of_their_own() {
    let mut bench = Bench::new();
    bench.apply(&[SMALL[0], "ws.enabled=true,ws.autoscaling=null,ws.replicas=1"], 1).unwrap();
    let started = "platform started, ws by least request of all";
    assert_eq!(bench.lines_with(&["platform started"]), [started]);
}

#[test]
fn a_number_that_was_set_by_hand_stays_until_the_values_change_it() {
    let mut bench = Bench::up(SMALL);
    bench.scale("tcp", 4).unwrap();
    assert!(bench.service("tcp").set_by_hand);
    assert!(bench.apply(&[SMALL[0], "tcp.env.BUFF_SIZE=7"], 1).is_ok());
    assert_eq!((bench.service("tcp").desired, bench.service("tcp").set_by_hand), (4, true));
    assert!(bench.apply(&[SMALL[0], "tcp.env.BUFF_SIZE=7,tcp.replicas=3"], 1).is_ok());
    assert_eq!((bench.service("tcp").desired, bench.service("tcp").set_by_hand), (3, false));
    // The number is the same, so it does not count as set.
    bench.scale("tcp", 3).unwrap();
    assert!(!bench.service("tcp").set_by_hand);
}

#[test]
fn a_number_that_a_balancer_ordered_was_not_set_by_hand() {
    let mut bench = Bench::up(SMALL);
    let order = |bench: &mut Bench, order: &str| {
        let balanced = Balanced { orders: vec![order.to_owned()], reason: "9 of 10 sessions".to_owned() };
        bench.ask(Request::Balanced { service: "tcp".to_owned(), balanced }).unwrap();
    };
    order(&mut bench, "1 → 2");
    bench.scale("tcp", 2).unwrap();
    assert!(!bench.service("tcp").set_by_hand);
    bench.scale("tcp", 4).unwrap();
    assert!(bench.service("tcp").set_by_hand, "it ordered another number");
    order(&mut bench, "4 → 1");
    bench.scale("tcp", 1).unwrap();
    assert!(!bench.service("tcp").set_by_hand, "it is the balancer's again");
    bench.scale("tcp", 4).unwrap();
    bench.scale("tcp", 1).unwrap();
    assert!(bench.service("tcp").set_by_hand, "it ordered that once, and this is the second time");
    // An order that was never carried out, with another change since.
    order(&mut bench, "1 → 3");
    for replicas in [5, 1, 3] {
        bench.scale("tcp", replicas).unwrap();
        assert!(bench.service("tcp").set_by_hand, "{replicas}: that order was given up");
    }
}

#[test]
fn a_service_that_was_switched_off_goes_with_its_last_replica() {
    let udp = [SMALL[0], "udp.enabled=true,udp.autoscaling=null,udp.replicas=2"];
    let mut bench = Bench::up(&udp);
    bench.stubborn.insert("udp-0".to_owned());
    bench.apply(SMALL, 1).unwrap();
    assert_eq!(bench.replicas("udp"), [("udp-0".to_owned(), ReplicaPhase::Draining)]);
    // Switched on again meanwhile, it gets all its replicas, and the old one still ends.
    let changes = bench.apply(&udp, 1).unwrap();
    assert_eq!(changes, ["udp: switched on", "gateway: listeners changed"]);
    assert_eq!(bench.names("udp"), ["udp-0", "udp-2", "udp-3"]);
    bench.apply(SMALL, 1).unwrap();
    bench.seconds(60);
    assert!(bench.snapshot().services.iter().all(|service| service.name != "udp"));
}

#[test]
fn unsupported_settings_are_refused_before_any_change() {
    let mut bench = Bench::up(SMALL);
    assert_eq!(bench.apply(SMALL, 0), Err("0 nodes: expected 1 to 5".to_owned()));
    assert_eq!(bench.apply(SMALL, 6), Err("6 nodes: expected 1 to 5".to_owned()));
    assert!(bench.apply(SMALL, 5).is_ok());
    assert_eq!(bench.snapshot().nodes, 5);
}

#[test]
fn a_bring_up_with_an_obstacle_ends_and_says_why() {
    let mut bench = Bench::new();
    let id = bench.begin(obstructed(SMALL));
    assert_eq!(bench.changes(id), Err("port 10000 is taken by nginx (pid 7)".to_owned()));
    assert!(bench.controller.is_finished());
    assert_eq!(bench.lines_with(&["start ", "kill"]), Vec::<String>::new());
}

#[test]
fn an_apply_with_an_obstacle_fails_alone() {
    // While the platform comes up for another client…
    let mut bench = Bench::new();
    bench.silent.insert("tcp-0".to_owned());
    let up = bench.begin_apply(SMALL, 1);
    let failed = bench.begin(obstructed(SMALL));
    let obstacle = "port 10000 is taken by nginx (pid 7)";
    assert_eq!(bench.changes(failed), Err(obstacle.to_owned()));
    assert!(!bench.controller.is_finished() && bench.reply(up).is_none());
    let run = bench.run("tcp-0");
    let started = controller::Started { address: None, detail: String::new() };
    bench.tell(Input::Started { run, result: Ok(started) });
    assert!(bench.changes(up).is_ok());
    // …and when it is up.
    bench.lines();
    let failed = bench.begin(obstructed(&[SMALL[0], "tcp.replicas=7"]));
    assert_eq!(bench.changes(failed), Err(obstacle.to_owned()));
    assert_eq!(bench.lines(), [format!("! {obstacle}"), format!("reply {} failed", failed.0)]);
    assert_eq!(bench.service("tcp").desired, 2);
}

#[test]
fn a_replica_that_dies_ends_the_bring_up() {
    for ready in [false, true] {
        let mut bench = Bench::new();
        bench.silent.insert(if ready { "tcp-1" } else { "tcp-0" }.to_owned());
        let id = bench.begin_apply(SMALL, 1);
        bench.lines();
        let run = bench.run("tcp-0");
        bench.tell(Input::Ended { run, exit: Exit::Code(3) });
        let failure = bench.reply(id).unwrap().unwrap_err();
        assert_eq!(failure.error.to_string(), "tcp-0 cannot start: exit code 3");
        assert_eq!(failure.output_of.as_deref(), Some("tcp-0"));
        assert!(bench.controller.is_finished());
        let lines = bench.lines_with(&["crashed", "platform", "start "]);
        assert_eq!(
            lines,
            ["tcp-0 crashed: exit code 3", "platform stopping, grace false", "platform stopped"]
        );
    }
}

#[test]
fn a_gateway_or_part_that_does_not_start_ends_the_bring_up() {
    for name in ["gateway-node-0", "kafka"] {
        let mut bench = Bench::new();
        bench.broken.insert(name.to_owned());
        let id = bench.begin_apply(&["tcp.autoscaling=null"], 1);
        let failure = bench.reply(id).unwrap().unwrap_err();
        assert_eq!(failure.error.to_string(), format!("{name} cannot start: no such file"));
        assert_eq!(failure.output_of, None, "what was not started has said nothing");
        assert!(bench.controller.is_finished());
    }
}

#[test]
fn a_new_replica_that_dies_fails_the_change_and_the_old_ones_keep_running() {
    let mut bench = Bench::up(SMALL);
    bench.broken.insert("tcp-2".to_owned());
    let error = bench.apply(&[SMALL[0], "tcp.env.BUFF_SIZE=7"], 1).unwrap_err();
    assert_eq!(error, "tcp-2 cannot start: no such file");
    assert_eq!([bench.phase("tcp-0"), bench.phase("tcp-1")], [ReplicaPhase::Ready; 2]);
    let said = bench.lines_with(&["!", "crashed"]);
    let expected = [
        "tcp-2 crashed: no such file, again in 0 ms",
        "! tcp-2 cannot start: no such file",
        "tcp-2 crashed: no such file, again in 10000 ms",
    ];
    assert_eq!(said, expected);
    // It keeps retrying.
    bench.broken.clear();
    bench.seconds(10);
    assert_eq!(bench.names("tcp"), ["tcp-2", "tcp-3"]);
}

#[test]
fn the_death_of_an_older_replica_fails_no_change() {
    let mut bench = Bench::up(SMALL);
    bench.silent.insert("tcp-2".to_owned());
    let id = bench.begin_apply(&[SMALL[0], "tcp.replicas=3"], 1);
    bench.dies("tcp-0");
    bench.dies("tcp-0");
    assert!(bench.reply(id).is_none());
    assert_eq!(bench.phase("tcp-0"), ReplicaPhase::BackOff);
}

#[test]
fn a_change_that_times_out_names_what_it_waits_for() {
    let mut bench = Bench::up(SMALL);
    bench.sick.extend(["tcp-2".to_owned(), "tcp-3".to_owned()]);
    let id = bench.begin_apply(&[SMALL[0], "tcp.replicas=4"], 1);
    bench.seconds(59);
    assert!(bench.reply(id).is_none());
    bench.seconds(1);
    let failure = bench.reply(id).unwrap().unwrap_err();
    assert_eq!(failure.error.to_string(), "not ready within 60 s: tcp-2, tcp-3");
    assert_eq!(failure.output_of.as_deref(), Some("tcp-2"));
    assert_eq!(bench.lines_with(&["!"]), ["! not ready within 60 s: tcp-2, tcp-3"]);
    // Existing replicas keep running, and so do the late ones.
    bench.sick.clear();
    bench.seconds(1);
    assert_eq!(bench.names("tcp").len(), 4);
}

#[test]
fn a_bring_up_that_takes_too_long_ends() {
    let mut bench = Bench::new();
    bench.sick.insert("tcp-0".to_owned());
    let id = bench.begin_apply(SMALL, 1);
    bench.seconds(60);
    assert_eq!(bench.changes(id), Err("not ready within 60 s: tcp-0".to_owned()));
    assert!(bench.controller.is_finished());
}

#[test]
fn a_later_change_has_its_own_time() {
    let mut bench = Bench::up(SMALL);
    bench.sick.insert("tcp-2".to_owned());
    let first = bench.begin_apply(&[SMALL[0], "tcp.replicas=3"], 1);
    bench.seconds(50);
    let second = bench.begin_apply(&[SMALL[0], "tcp.replicas=4"], 1);
    bench.seconds(10);
    assert_eq!(bench.changes(first), Err("not ready within 60 s: tcp-2".to_owned()));
    assert!(bench.reply(second).is_none());
    bench.sick.clear();
    bench.seconds(1);
    assert_eq!(bench.changes(second), Ok(strings(&["tcp 3 → 4"])));
}

#[test]
fn a_timeout_names_endpoints_gateways_and_irreplaceable_replicas_too() {
    let mut bench = Bench::up(SMALL);
    bench.writes = Writes::Fail;
    let id = bench.begin_apply(&[SMALL[0], "tcp.replicas=3"], 1);
    bench.seconds(60);
    let failure = bench.reply(id).unwrap().unwrap_err();
    assert_eq!(
        failure.error.to_string(),
        "not ready within 60 s: the endpoints cannot be written: disk full"
    );
    assert_eq!(failure.output_of, None);

    let mut bench = Bench::up(SMALL);
    bench.behind.insert("gateway-node-0".to_owned());
    bench.kill("gateway/node-0", true).unwrap();
    let id = bench.begin_apply(&[SMALL[0], "tcp.replicas=3"], 1);
    bench.seconds(60);
    assert_eq!(bench.changes(id), Err("not ready within 60 s: gateway-node-0".to_owned()));

    let capacity = controller::Capacity { ordinals: 2, replicas: 2, nodes: 1 };
    let mut bench = Bench::with(capacity);
    bench.apply(SMALL, 1).unwrap();
    let id = bench.begin_apply(&[SMALL[0], "tcp.env.BUFF_SIZE=7"], 1);
    bench.seconds(60);
    assert_eq!(bench.changes(id), Err("not ready within 60 s: tcp-0, tcp-1".to_owned()));
}
