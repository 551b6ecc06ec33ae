//! Clients' requests: every error names the subject and the next step.

use std::time::Duration;

use controller::{Reply, Request, RunId, Sample, Usage};
use platform::target::ReplicaPhase;

use crate::bench::{Bench, subject};

const PLATFORM: &[&str] =
    &["tcp.autoscaling=null,tcp.replicas=3", "memcached.host=there,kafka.real=true", "udp.enabled=true"];

fn sample(connections: u64) -> Sample {
    let usage = Usage { cpu: Duration::ZERO, memory_bytes: 1 };
    Sample { connections: Some(connections), packets: None, sessions: None, usage: Some(usage) }
}

#[test]
fn errors_name_the_thing_and_what_to_do() {
    let mut bench = Bench::up(PLATFORM);
    let kill = |bench: &mut Bench, what: &str, restart| bench.kill(what, restart).unwrap_err();
    let unknown = "there is no tpc on this platform; it has: tcp, udp";
    assert_eq!(bench.scale("tpc", 1).unwrap_err(), unknown);
    let unknown = "there is no tpc on this platform; it has: tcp, udp, gateway, kafka";
    assert_eq!(kill(&mut bench, "tpc", true), unknown);
    assert_eq!(bench.drain("tpc/tpc-0").unwrap_err(), unknown);
    assert_eq!(bench.stop("tpc").unwrap_err(), unknown);
    assert_eq!(bench.scale("tcp", 201).unwrap_err(), "201 replicas of tcp: expected 0 to 200");
    let unknown = "tcp has no replica tcp-7; it has: tcp-0, tcp-1, tcp-2";
    assert_eq!(kill(&mut bench, "tcp/tcp-7", true), unknown);
    assert_eq!(bench.drain("tcp/tcp-7").unwrap_err(), unknown);
    assert_eq!(bench.start("tcp/tcp-7").unwrap_err(), unknown);

    assert_eq!(
        kill(&mut bench, "gateway/node-7", true),
        "gateway has no replica node-7; it has: gateway-node-0, gateway-udp-node-0"
    );
    assert_eq!(
        kill(&mut bench, "gateway/fullest", true),
        "expected one gateway by its node, such as gateway/node-0"
    );
    assert_eq!(
        kill(&mut bench, "gateway/node-0", false),
        "gateway-node-0 always starts again, as every node has a gateway; to remove a node: playctl node remove"
    );
    assert_eq!(
        bench.stop("gateway").unwrap_err(),
        "stop gateway is not possible here: clients come in through the gateways; kill and drain work on one of them"
    );
    assert_eq!(
        bench.start("gateway/node-0").unwrap_err(),
        "start gateway/node-0: expected a service, a part, or one replica by its name"
    );

    let given = "it runs elsewhere, at there:11211, and is not ours to control; do it there";
    for verb in ["kill", "stop", "start"] {
        let error = match verb {
            "kill" => kill(&mut bench, "memcached", true),
            "stop" => bench.stop("memcached").unwrap_err(),
            _ => bench.start("memcached").unwrap_err(),
        };
        assert_eq!(error, format!("{verb} memcached is not possible here: {given}"));
    }
    assert_eq!(
        bench.stop("elasticsearch").unwrap_err(),
        "stop elasticsearch is not possible here: it is off on this platform"
    );
    assert_eq!(
        bench.drain("kafka").unwrap_err(),
        "drain kafka is not possible here: only replicas and gateways drain; a part is stopped: playctl stop kafka"
    );
    assert_eq!(
        kill(&mut bench, "kafka", false),
        "kafka always starts again; to end it for good: playctl stop kafka"
    );
    bench.stop("kafka").unwrap();
    assert_eq!(kill(&mut bench, "kafka", true), "kafka does not run; start it with: playctl start kafka");

    assert_eq!(
        bench.stop("tcp/tcp-0").unwrap_err(),
        "stop tcp/tcp-0: only a service or a part is stopped; for one replica: playctl drain tcp/tcp-0, or playctl \
         kill tcp/tcp-0 --no-restart"
    );
    assert_eq!(
        bench.start("tcp/fullest").unwrap_err(),
        "start tcp/fullest: expected a service, a part, or one replica by its name"
    );
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    assert_eq!(bench.drain("tcp/tcp-0").unwrap_err(), "tcp-0 is draining already");
    bench.stop("tcp").unwrap();
    assert_eq!(kill(&mut bench, "tcp", true), "no replica of tcp is running; playctl status shows what is");
}

#[test]
fn an_embedded_part_is_stopped_and_not_killed() {
    let mut bench = Bench::up(&["tcp.autoscaling=null"]);
    let error = bench.kill("kafka", true).unwrap_err();
    let expected =
        "kill kafka is not possible here: it is embedded, not a process of its own; use: playctl stop kafka";
    assert_eq!(error, expected);
}

#[test]
fn before_the_first_apply_nothing_runs() {
    let mut bench = Bench::new();
    let expected = "platform playground is not running; start it with: playctl up";
    for what in ["tcp", "kafka", "gateway"] {
        assert_eq!(bench.kill(what, true).unwrap_err(), expected, "{what}");
    }
    assert_eq!(bench.scale("tcp", 1).unwrap_err(), expected);
    assert_eq!(bench.controller.autoscaler("tcp").unwrap_err().to_string(), expected);
}

#[test]
fn scale_reports_both_counts_and_who_else_decides() {
    let mut bench = Bench::up(&["kafka.enabled=false,memcached.enabled=false"]);
    let Ok(Reply::Scaled(scaled)) = bench.scale("tcp", 3) else { panic!() };
    assert_eq!((scaled.from, scaled.to, scaled.autoscaled), (1, 3, Some((1, 5))));
    assert_eq!(bench.lines_with(&["set"]), ["tcp set 1 → 3"]);
    let Ok(Reply::Scaled(scaled)) = bench.scale("tcp", 200) else { panic!() };
    assert_eq!((scaled.from, bench.names("tcp").len()), (3, 200));
}

#[test]
fn fullest_and_emptiest_use_the_known_loads() {
    let mut bench = Bench::up(PLATFORM);
    let killed = |bench: &mut Bench, what: &str, loads: &[(RunId, u64)]| {
        let request = Request::Kill { what: subject(what), restart: true, loads: loads.to_vec() };
        match bench.ask(request) {
            Ok(Reply::Killed { killed, run }) => (killed.replica, run),
            other => panic!("{other:?}"),
        }
    };
    let run = |bench: &Bench, name: &str| bench.run(name);
    // By the last scrape…
    bench.samples.extend([
        ("tcp-0".to_owned(), sample(5)),
        ("tcp-1".to_owned(), sample(9)),
        ("tcp-2".to_owned(), sample(7)),
    ]);
    bench.seconds(7);
    let before = run(&bench, "tcp-1");
    assert_eq!(killed(&mut bench, "tcp/fullest", &[]), ("tcp-1".to_owned(), before));
    bench.seconds(7);
    assert_eq!(killed(&mut bench, "tcp/emptiest", &[]).0, "tcp-0");
    bench.seconds(20);
    // …unless the current load is known.
    let loads = [(run(&bench, "tcp-2"), 100)];
    assert_eq!(killed(&mut bench, "tcp/fullest", &loads).0, "tcp-2");
    bench.seconds(600);
    bench.seconds(7);
    bench.samples.clear();
    bench.seconds(7);
    // The oldest of equals.
    assert_eq!(killed(&mut bench, "tcp/fullest", &[]).0, "tcp-0");
    bench.seconds(300);
    assert_eq!(killed(&mut bench, "tcp/emptiest", &[]).0, "tcp-0");
    // Without a selection, the lowest running ordinal.
    assert_eq!(bench.phase("tcp-0"), ReplicaPhase::BackOff);
    assert_eq!(killed(&mut bench, "tcp", &[]).0, "tcp-1");
}

#[test]
fn a_drain_says_how_much_it_holds_and_for_how_long() {
    let mut bench = Bench::up(PLATFORM);
    bench.samples.insert("tcp-0".to_owned(), sample(12));
    bench.seconds(7);
    let Ok(Reply::Drained { run, drained }) = bench.drain("tcp/tcp-0") else { panic!() };
    assert_eq!(run, Some(bench.run("tcp-0")));
    assert_eq!((drained.connections, drained.grace), (Some(12), Duration::from_mins(1)));
    let what = subject("tcp/tcp-1");
    let loads = vec![(bench.run("tcp-1"), 77)];
    let Ok(Reply::Drained { drained, .. }) = bench.ask(Request::Drain { what, loads }) else { panic!() };
    assert_eq!(drained.connections, Some(77));
    let Ok(Reply::Drained { drained, .. }) = bench.drain("gateway") else { panic!() };
    assert_eq!((drained.replica.as_str(), drained.grace), ("gateway-node-0", Duration::from_secs(90)));
}

#[test]
fn a_disabled_service_accepts_only_requests_that_hurry_its_end() {
    let mut bench = Bench::up(PLATFORM);
    bench.stubborn.insert("udp-0".to_owned());
    bench.apply(&PLATFORM[..2], 1).unwrap();
    let there_is_no = |known: &str| Err(format!("there is no udp on this platform; it has: {known}"));
    assert_eq!(bench.scale("udp", 2), there_is_no("tcp"));
    assert_eq!(bench.stop("udp"), there_is_no("tcp"));
    assert_eq!(bench.start("udp"), there_is_no("tcp"));
    assert!(matches!(bench.kill("udp/udp-0", true), Ok(Reply::Killed { killed, .. }) if killed.draining));
    assert_eq!(bench.kill("udp/udp-0", true), there_is_no("tcp, gateway, kafka"));
}

#[test]
fn killing_a_draining_replica_says_so_and_restarts_nothing() {
    let mut bench = Bench::up(PLATFORM);
    bench.stubborn.insert("tcp-0".to_owned());
    bench.drain("tcp/tcp-0").unwrap();
    let Ok(Reply::Killed { killed, .. }) = bench.kill("tcp/tcp-0", true) else { panic!() };
    assert_eq!((killed.draining, killed.restart_in), (true, None));
    assert_eq!(bench.names("tcp"), ["tcp-1", "tcp-2", "tcp-3"]);
}

#[test]
fn stop_and_start_say_whether_they_did_anything() {
    let mut bench = Bench::up(PLATFORM);
    for what in ["tcp", "kafka"] {
        for expected in [true, false] {
            let Ok(Reply::Stopped(stopped)) = bench.stop(what) else { panic!() };
            assert_eq!((stopped.name.as_str(), stopped.was_running), (what, expected));
        }
        for expected in [true, false] {
            let Ok(Reply::Started(started)) = bench.start(what) else { panic!() };
            assert_eq!((started.name.as_str(), started.was_stopped), (what, expected));
        }
    }
    assert_eq!(bench.lines_with(&["tcp set"]), ["tcp set 3 → 0", "tcp set 0 → 3"]);
}

#[test]
fn etcd_is_stopped_member_by_member() {
    let mut bench = Bench::up(&["tcp.autoscaling=null,tcp.replicas=1,etcd.enabled=true"]);
    let members = "stop etcd is not possible here: expected one of its members: etcd01, etcd02, etcd03";
    assert_eq!(bench.stop("etcd").unwrap_err(), members);
    bench.stop("etcd02").unwrap();
    assert_eq!(bench.lines_with(&["etcd02 stopped"]), ["etcd02 stopped"]);
    let off = "stop etcd is not possible here: it is off on this platform";
    assert_eq!(Bench::up(PLATFORM).stop("etcd").unwrap_err(), off);
}

#[test]
fn without_a_gateway_none_can_be_killed() {
    let mut bench = Bench::up(&["tcp.enabled=false,memcached.enabled=false,logger.enabled=true"]);
    let none = "no gateway is running; playctl status shows what is";
    assert_eq!(bench.kill("gateway/node-0", true).unwrap_err(), none);
    assert_eq!(bench.kill("gateway", true).unwrap_err(), none);
}

#[test]
fn stopping_a_service_without_replicas_sets_none() {
    let mut bench = Bench::up(PLATFORM);
    bench.scale("tcp", 0).unwrap();
    bench.lines();
    bench.stop("tcp").unwrap();
    bench.start("tcp").unwrap();
    assert_eq!(bench.lines_with(&["tcp set"]), [""; 0]);
}

#[test]
fn starting_a_service_starts_its_dead_replicas() {
    let mut bench = Bench::up(PLATFORM);
    bench.kill("tcp/tcp-0", false).unwrap();
    bench.kill("tcp/tcp-2", false).unwrap();
    let Ok(Reply::Started(started)) = bench.start("tcp") else { panic!() };
    assert!(started.was_stopped);
    let phases: Vec<_> = bench.replicas("tcp").into_iter().map(|(_, phase)| phase).collect();
    assert_eq!(phases, [ReplicaPhase::Ready; 3]);
}
