//! The parts that services depend on: embedded, servers, or given.

use controller::{Input, PartKind, Started};
use platform::target::PartOrigin;

use crate::bench::{Bench, strings};

const TCP: &str = "tcp.autoscaling=null,tcp.replicas=1";

#[test]
fn services_wait_for_their_parts_once() {
    let mut bench = Bench::new();
    bench.silent.insert("kafka".to_owned());
    let id = bench.begin_apply(&[TCP], 1);
    assert_eq!(bench.lines_with(&["start "]), ["start kafka", "start memcached"]);
    let run = bench.run("kafka");
    bench.tell(Input::Started {
        run,
        result: Ok(Started { address: Some("k:1".into()), detail: "in memory".into() }),
    });
    let lines = bench.lines_with(&["start ", "ready"]);
    let expected = [
        "kafka ready: in memory",
        "start tcp-0",
        "tcp-0 ready",
        "start gateway-node-0",
        "gateway-node-0 ready: made here",
        "platform ready",
    ];
    let (mut found, mut wanted) = (lines, strings(&expected));
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    assert!(bench.changes(id).is_ok());
    // A part that dies later delays nothing.
    bench.dies("kafka");
    bench.scale("tcp", 2).unwrap();
    assert_eq!(bench.names("tcp").len(), 2);
}

#[test]
fn a_part_that_dies_is_reported_and_restarts_like_a_replica() {
    let mut bench = Bench::up(&[TCP]);
    let part = bench.part("kafka");
    assert_eq!((part.address.as_deref(), part.detail.as_str()), (Some("kafka:1"), "made here"));
    bench.silent.insert("kafka".to_owned());
    bench.dies("kafka");
    bench.dies("kafka");
    let warning = |when: &str| format!("! kafka: exit code 1; it starts again {when}");
    assert_eq!(bench.lines_with(&["!"]), [warning("now"), warning("in 10 s")]);
    assert!(!bench.part("kafka").healthy);
    bench.seconds(9);
    assert_eq!(bench.lines_with(&["start "]), Vec::<String>::new());
    bench.seconds(1);
    assert_eq!(bench.lines_with(&["start "]), ["start kafka"]);
    let part = bench.part("kafka");
    assert_eq!((part.restarts, part.detail.as_str()), (2, "made here, 2 restarts"));
}

#[test]
fn the_death_of_a_part_does_not_fail_a_change_that_does_not_wait_for_it() {
    let mut bench = Bench::up(&[TCP]);
    bench.silent.insert("tcp-1".to_owned());
    let id = bench.begin_apply(&[TCP, "tcp.env.BUFF_SIZE=900"], 1);
    bench.dies("kafka");
    assert_eq!(bench.lines_with(&["!"]), ["! kafka: exit code 1; it starts again now"]);
    assert!(bench.reply(id).is_none());
}

#[test]
fn an_embedded_part_is_ready_when_it_runs_and_a_server_when_it_answers() {
    let mut bench = Bench::new();
    bench.sick.extend(["kafka".to_owned(), "memcached".to_owned()]);
    let id = bench.begin_apply(&[TCP, "kafka.real=true"], 1);
    assert!(bench.part("memcached").healthy, "it is not probed");
    assert_eq!(
        (bench.part("memcached").origin, bench.part("kafka").origin),
        (PartOrigin::Embedded, PartOrigin::Found)
    );
    assert!(!bench.part("kafka").healthy);
    bench.seconds(4);
    assert!(bench.reply(id).is_none());
    bench.sick.clear();
    bench.seconds(1);
    assert!(bench.part("kafka").healthy && bench.changes(id).is_ok());
    bench.sick.insert("kafka".to_owned());
    bench.seconds(15);
    assert_eq!(bench.lines_with(&["!"]), ["! kafka has stopped answering: it answered 503 draining"]);
}

#[test]
fn a_given_part_is_named_and_never_started() {
    let mut bench = Bench::new();
    let given = "kafka.brokers=there:9092,memcached.host=here,elasticsearch.enabled=true,elasticsearch.url=http://e:9200";
    bench.apply(&[TCP, given], 1).unwrap();
    let lines = bench.lines_with(&["given", "start "]);
    let expected = [
        "kafka ready: given, there:9092",
        "memcached ready: given, here:11211",
        "elasticsearch ready: given, http://e:9200",
        "start tcp-0",
        "start gateway-node-0",
    ];
    assert_eq!(lines, expected);
    assert_eq!(bench.part("kafka").origin, PartOrigin::Given);
    assert_eq!(bench.part("kafka").address.as_deref(), Some("there:9092"));
}

#[test]
fn every_change_of_a_part_is_described() {
    for (before, after, words) in [
        ("kafka.enabled=true", "kafka.enabled=false", "kafka: off"),
        ("kafka.enabled=false", "kafka.enabled=true", "kafka: embedded"),
        ("kafka.real=false", "kafka.brokers=k:1", "kafka: given, k:1"),
        ("memcached.real=false", "memcached.real=true", "memcached: a server of its own, /bin/memcached 1"),
        ("memcached.port=1", "memcached.port=2", "memcached: embedded"),
        (
            "prometheus.enabled=false",
            "prometheus.enabled=true",
            "prometheus: a server of its own, /bin/prometheus 1",
        ),
        ("elasticsearch.enabled=false", "elasticsearch.enabled=true", "elasticsearch: embedded"),
        ("redis.enabled=false", "redis.enabled=true", "redis: embedded"),
        ("redis.enabled=true", "redis.enabled=true,redis.address=r:1", "redis: given, r:1"),
        ("etcd.enabled=false", "etcd.enabled=true", "etcd01: a server of its own, /bin/etcd 1"),
        ("etcd.enabled=true", "etcd.enabled=true,etcd.endpoints=http://e:1", "etcd: given, http://e:1"),
    ] {
        let mut bench = Bench::new();
        bench.programs =
            PartKind::ALL.map(|kind| (kind.name().to_owned(), format!("/bin/{} 1", kind.name()))).into();
        bench.apply(&[TCP, before], 1).unwrap();
        let changes = bench.apply(&[TCP, after], 1).unwrap();
        assert_eq!(changes[0], words, "{before} to {after}");
        assert_eq!(bench.apply(&[TCP, after], 1), Ok(Vec::new()), "{after} again");
    }
}

#[test]
fn another_version_of_its_program_replaces_a_part() {
    let mut bench = Bench::new();
    bench.programs = [("kafka".to_owned(), "/bin/kafka 1".to_owned())].into();
    bench.apply(&[TCP, "kafka.real=true"], 1).unwrap();
    bench.programs = [("kafka".to_owned(), "/bin/kafka 2".to_owned())].into();
    bench.lines();
    let changes = bench.apply(&[TCP, "kafka.real=true"], 1);
    assert_eq!(changes, Ok(strings(&["kafka: a server of its own, /bin/kafka 2"])));
    // Both have the same address, so the old one ends first.
    assert_eq!(
        bench.lines_with(&["kafka"]),
        ["terminate kafka", "kafka stopped", "start kafka", "kafka ready: made here"]
    );
}

#[test]
fn the_old_part_serves_until_the_new_one_is_ready() {
    let mut bench = Bench::up(&[TCP]);
    bench.sick.insert("kafka".to_owned());
    let old = bench.run("kafka");
    let id = bench.begin_apply(&[TCP, "kafka.real=true"], 1);
    bench.seconds(10);
    assert_eq!(bench.lines_with(&["kafka", "tcp-"]), ["start kafka"], "beside the old one");
    assert_eq!(bench.snapshot().parts.iter().filter(|part| part.name == "kafka").count(), 2);
    bench.sick.clear();
    bench.seconds(5);
    let lines = bench.lines_with(&["kafka"]);
    assert_eq!(lines, ["kafka ready: made here", "terminate kafka", "kafka stopped"]);
    assert_ne!(old, bench.run("kafka"));
    assert_eq!(bench.changes(id), Ok(strings(&["kafka: a server of its own, "])));
}

#[test]
fn replicas_find_all_members_of_etcd_or_none() {
    let etcd = |set: &[&str]| Bench::up(set).templates["tcp-0"].backends.etcd.clone();
    assert_eq!(etcd(&[TCP]), None);
    assert_eq!(etcd(&[TCP, "etcd.enabled=true"]).as_deref(), Some("etcd01:1,etcd02:1,etcd03:1"));
    assert_eq!(etcd(&[TCP, "etcd.enabled=true,etcd.endpoints=http://e:1"]).as_deref(), Some("http://e:1"));
}

#[test]
fn an_old_part_that_does_not_work_is_not_kept() {
    let mut bench = Bench::up(&[TCP]);
    // It starts again, and nothing is reported.
    bench.silent.insert("kafka".to_owned());
    bench.dies("kafka");
    bench.seconds(10);
    let id = bench.begin_apply(&[TCP, "kafka.real=true"], 1);
    bench.seconds(70);
    bench.changes(id).unwrap_err();
    bench.silent.clear();
    assert_eq!(bench.apply(&[TCP, "kafka.real=true"], 1), Ok(Vec::new()), "the new one is still wanted");
}

#[test]
fn when_a_new_part_fails_the_old_one_stays_and_the_next_apply_retries() {
    let mut bench = Bench::up(&[TCP]);
    bench.silent.insert("kafka".to_owned());
    let id = bench.begin_apply(&[TCP, "kafka.real=true"], 1);
    bench.dies("kafka");
    assert_eq!(bench.changes(id), Err("kafka cannot start: exit code 1".to_owned()));
    bench.seconds(60);
    let parts = bench.snapshot().parts;
    let kafkas: Vec<_> = parts.iter().filter(|part| part.name == "kafka").collect();
    assert_eq!(kafkas.len(), 1);
    assert!(kafkas[0].healthy && kafkas[0].origin == PartOrigin::Embedded);
    bench.silent.clear();
    let changes = bench.apply(&[TCP, "kafka.real=true"], 1).unwrap();
    assert_eq!(changes, ["kafka: a server of its own, "]);
    assert_eq!(bench.part("kafka").origin, PartOrigin::Found);
}

#[test]
fn a_given_part_serves_until_our_own_is_ready() {
    let mut bench = Bench::up(&[TCP, "kafka.brokers=there:9092"]);
    bench.silent.insert("kafka".to_owned());
    let id = bench.begin_apply(&[TCP], 1);
    bench.drain("tcp/tcp-0").unwrap();
    assert_eq!(bench.names("tcp"), ["tcp-1"]);
    let run = bench.run("kafka");
    bench.tell(Input::Started {
        run,
        result: Ok(Started { address: Some("here:1".into()), detail: String::new() }),
    });
    // The address changed, so everything that depends on it is replaced.
    let changes = bench.changes(id).unwrap();
    let expected = [
        "kafka: embedded",
        "tcp: template changed, its replicas are replaced one by one",
        "gateway: settings changed, gateways are replaced",
    ];
    assert_eq!(changes, expected);
    assert_eq!(bench.names("tcp"), ["tcp-2"]);
}

#[test]
fn a_part_restarted_by_hand_keeps_its_address_and_replaces_nothing() {
    let mut bench = Bench::up(&[TCP]);
    bench.stop("kafka").unwrap();
    assert_eq!((bench.part("kafka").detail.as_str(), bench.part("kafka").healthy), ("stopped", false));
    bench.seconds(600);
    assert_eq!(bench.lines_with(&["kafka"]), ["terminate kafka", "kafka stopped"]);
    bench.start("kafka").unwrap();
    assert_eq!(bench.lines_with(&["start ", "ready"]), ["start kafka", "kafka ready: made here"]);
    assert_eq!(bench.names("tcp"), ["tcp-0"]);
}

#[test]
fn a_part_started_while_it_still_ends_waits_for_the_end() {
    let mut bench = Bench::up(&[TCP]);
    bench.stubborn.insert("kafka".to_owned());
    bench.stop("kafka").unwrap();
    bench.start("kafka").unwrap();
    bench.lines();
    bench.seconds(9);
    assert_eq!(bench.lines_with(&["kafka"]), Vec::<String>::new());
    bench.seconds(1);
    let lines = bench.lines_with(&["kafka"]);
    assert_eq!(lines, ["kill kafka", "kafka stopped", "start kafka", "kafka ready: made here"]);
}

#[test]
fn a_bring_up_does_not_wait_for_a_part_that_was_stopped() {
    let mut bench = Bench::new();
    bench.silent.insert("kafka".to_owned());
    let id = bench.begin_apply(&[TCP], 1);
    bench.stop("kafka").unwrap();
    assert!(bench.changes(id).is_ok());
    let again = bench.begin_apply(&[TCP], 1);
    assert!(bench.reply(again).is_none(), "it was asked for again");
}

#[test]
fn an_apply_starts_stopped_parts_and_services() {
    let mut bench = Bench::up(&[TCP]);
    bench.stop("kafka").unwrap();
    bench.stop("tcp").unwrap();
    assert_eq!(bench.apply(&[TCP], 1), Ok(strings(&["kafka: started again", "tcp: started again"])));
    assert!(bench.part("kafka").healthy);
    assert_eq!(bench.names("tcp").len(), 1);
}

#[test]
fn a_new_gateway_port_of_ws_replaces_only_ws_client() {
    const SOCKETS: &str = "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false,ws.enabled=true,ws-client.enabled=true";
    let listeners = |port: u16| {
        let port = format!("gateway.listeners[0].port={port}");
        format!(
            "gateway.listeners[0].name=ws,gateway.listeners[0].service=ws,gateway.listeners[0].protocol=TCP,{port}"
        )
    };
    let mut bench = Bench::up(&[SOCKETS, &listeners(8000)]);
    let (servers, clients) = (bench.names("ws"), bench.names("ws-client"));
    bench.apply(&[SOCKETS, &listeners(8100)], 1).unwrap();
    bench.seconds(600);
    assert_eq!(bench.names("ws"), servers);
    let starts = bench.lines_with(&["start ws"]);
    assert!(starts.iter().all(|line| line.starts_with("start ws-client-")), "{starts:?}");
    assert!(starts.len() >= clients.len(), "{starts:?}");
}
