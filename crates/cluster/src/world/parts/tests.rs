use std::collections::BTreeMap;

use super::*;
use crate::{
    facts::{Object, Selector, Writer},
    world::{
        Change, Scope, Stream,
        tests::{self, Life},
    },
};

fn at(t_ms: u64) -> Now {
    Now { t_ms, wall: jiff::Timestamp::UNIX_EPOCH }
}

fn set(name: &str, part: Option<PartKind>, replicas: u32) -> Change {
    Change::Is(Object::Workload(Box::new(WorkloadFacts {
        kind: "StatefulSet".to_owned(),
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        replicas,
        present: replicas,
        needs_scale: false,
        selector: Selector::parse(&format!("app={name}")),
        writer: Writer::Other("playctl".to_owned()),
        created: None,
        part,
    })))
}

fn pod(of: &str, ordinal: u32, is_ready: bool) -> PodFacts {
    PodFacts {
        labels: BTreeMap::from([("app".to_owned(), of.to_owned())]),
        ..tests::pod(&format!("{of}-{ordinal}"), if is_ready { Life::Ready } else { Life::Started })
    }
}

fn is(pod: PodFacts) -> Change {
    Change::Is(Object::Pod(Box::new(pod)))
}

fn sets() -> Stream {
    Stream::Workloads("StatefulSet".to_owned())
}

/// Kafka, three members of etcd, and somebody else's Kafka, all ready.
fn world() -> World {
    let mut world = World::new(Scope::default());
    for (name, part, replicas) in [
        ("playground-kafka", Some(PartKind::Kafka), 1),
        ("playground-etcd", Some(PartKind::Etcd), 3),
        ("their-kafka", None, 1),
    ] {
        world.take(at(0), &sets(), set(name, part, replicas));
        for ordinal in 0..replicas {
            world.take(at(0), &Stream::Pods, is(pod(name, ordinal, true)));
        }
    }
    world.go_live(at(0));
    world
}

/// The news of parts so far: the name, whether it is ready, and after how long.
fn told(world: &mut World) -> Vec<(String, bool, u64)> {
    let events = world.events(at(u64::MAX / 2)).into_iter();
    let part = |(_, event)| match event {
        EventKind::PartReady { part, after_ms, .. } => Some((part, true, after_ms)),
        EventKind::PartStopped { part, after_ms } => Some((part, false, after_ms)),
        _ => None,
    };
    events.filter_map(part).collect()
}

#[test]
fn a_part_that_stops_and_one_that_is_back_are_told_once() {
    let mut world = world();
    assert_eq!(told(&mut world), [], "what it was before is no news");
    let kafka = |replicas| set("playground-kafka", Some(PartKind::Kafka), replicas);
    world.take(at(1_000), &sets(), kafka(0));
    let ending = PodFacts { deleting: Some(60), ..pod("playground-kafka", 0, true) };
    world.take(at(1_100), &Stream::Pods, is(ending.clone()));
    assert_eq!(told(&mut world), [], "it is still ending");
    world.take(at(4_000), &Stream::Pods, Change::Gone(Object::Pod(Box::new(ending))));
    assert_eq!(told(&mut world), [("kafka".to_owned(), false, 3_000)]);
    world.take(at(30_000), &sets(), kafka(1));
    let again = |is_ready| PodFacts { uid: "new".to_owned(), ..pod("playground-kafka", 0, is_ready) };
    world.take(at(30_500), &Stream::Pods, is(again(false)));
    assert_eq!(told(&mut world), [], "it is not ready yet");
    world.take(at(34_000), &Stream::Pods, is(again(true)));
    world.take(at(34_100), &Stream::Pods, is(again(true)));
    assert_eq!(told(&mut world), [("kafka".to_owned(), true, 4_000)]);
}

#[test]
fn a_part_that_is_started_while_it_ends_is_ready_only_once_its_new_pod_is() {
    let mut world = world();
    let kafka = |replicas| set("playground-kafka", Some(PartKind::Kafka), replicas);
    world.take(at(1_000), &sets(), kafka(0));
    let ending = PodFacts { deleting: Some(60), ..pod("playground-kafka", 0, true) };
    world.take(at(1_100), &Stream::Pods, is(ending));
    world.take(at(2_000), &sets(), kafka(1));
    assert_eq!(told(&mut world), []);
    // A list after a lost connection shows the new pod only.
    let new = PodFacts { uid: "new".to_owned(), ..pod("playground-kafka", 0, true) };
    world.take(at(5_000), &Stream::Pods, is(new));
    assert_eq!(told(&mut world), [("kafka".to_owned(), true, 3_000)]);
}

#[test]
fn a_member_that_is_killed_and_replaced_is_a_part_of_its_own() {
    let mut world = world();
    let killed = pod("playground-etcd", 1, true);
    world.take(at(1_000), &Stream::Pods, Change::Gone(Object::Pod(Box::new(killed.clone()))));
    let new = PodFacts { uid: "new".to_owned(), ..killed };
    world.take(at(3_000), &Stream::Pods, is(new));
    assert_eq!(told(&mut world), [("etcd02".to_owned(), true, 2_000)]);
}

#[test]
fn parts_are_found_by_their_names_and_everything_else_keeps_its_own() {
    let mut world = world();
    let names = |world: &World| world.parts().into_iter().map(|part| part.name).collect::<Vec<_>>();
    assert_eq!(names(&world), ["etcd01", "etcd02", "etcd03", "kafka"]);
    let full = |world: &World, text: &str| world.in_full(&text.parse().unwrap()).to_string();
    for (text, expected) in [
        ("kafka", "playground-kafka"),
        ("etcd02", "playground-etcd/playground-etcd-1"),
        ("playground-kafka", "playground-kafka"),
        ("their-kafka/fullest", "their-kafka/fullest"),
        ("redis", "redis"),
    ] {
        assert_eq!(full(&world, text), expected);
    }
    // A workload that is called kafka is meant before a part.
    world.take(at(1), &sets(), set("kafka", None, 1));
    assert_eq!(full(&world, "kafka"), "kafka");
}

#[test]
fn a_part_of_two_releases_is_none() {
    let mut world = world();
    world.take(at(1), &sets(), set("other-kafka", Some(PartKind::Kafka), 1));
    assert!(world.parts().iter().all(|part| part.name != "kafka"), "{:?}", world.parts());
    assert_eq!(world.in_full(&Subject::whole("kafka")), Subject::whole("kafka"));
}
