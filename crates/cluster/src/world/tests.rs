use std::collections::BTreeMap;

use platform::{
    event::NodeState,
    target::{Decided, Traffic},
};
use proptest::prelude::*;

use super::*;
use crate::facts::{ContainerFacts, Ended, EndpointFacts, EventFacts, Object, Readiness, Selector, Writer};

/// Long after every held-back event is due.
const SETTLED_MS: u64 = 100_000;

fn at(t_ms: u64) -> Now {
    Now { t_ms, wall: Timestamp::from_millisecond(1_700_000_000_000 + t_ms.cast_signed()).unwrap() }
}

fn deployment(replicas: u32, writer: Writer) -> Object {
    Object::Workload(Box::new(WorkloadFacts {
        kind: "Deployment".to_owned(),
        name: "web".to_owned(),
        uid: "deployment".to_owned(),
        replicas,
        present: replicas,
        needs_scale: false,
        selector: Selector::parse("app=web"),
        writer,
        created: None,
        part: None,
    }))
}

pub(super) fn pod(name: &str, life: Life) -> PodFacts {
    PodFacts {
        name: name.to_owned(),
        uid: format!("{name}-uid"),
        labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        node: (life >= Life::Started).then(|| "node-1".to_owned()),
        ip: None,
        port: None,
        admin_port: None,
        traffic: Traffic::Active,
        deletion_cost: 0,
        phase: "Running".to_owned(),
        phase_reason: String::new(),
        ready: Some(Readiness { is_ready: life == Life::Ready, since: None, reason: String::new() }),
        unschedulable: None,
        created: None,
        started: None,
        deleting: (life == Life::Draining).then_some(30),
        containers: Vec::new(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    Pending,
    Started,
    Ready,
    Draining,
    /// The object is gone.
    Gone,
}

fn hpa() -> Object {
    use crate::facts::Facts as _;
    let text = include_str!("../../tests/recorded/hpa-limited.json").replace("chat-server", "web");
    let hpa: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler =
        serde_json::from_str(&text).unwrap();
    hpa.facts()
}

fn workloads() -> Stream {
    Stream::Workloads("Deployment".to_owned())
}

/// Two nodes, a Deployment with one pod, and its autoscaler, before anything happens.
fn world() -> World {
    let mut world = World::new(Scope::default());
    let start = at(0);
    world.take(start, &workloads(), Change::Is(deployment(1, Writer::Autoscaler)));
    world.take(start, &Stream::Hpas, Change::Is(hpa()));
    world.take(start, &Stream::Pods, Change::Is(Object::Pod(Box::new(pod("web-0", Life::Ready)))));
    world.take(start, &Stream::Nodes, Change::Is(node("node-1", true, true)));
    world.go_live(start);
    world
}

fn node(name: &str, ready: bool, schedulable: bool) -> Object {
    Object::Node(NodeFacts {
        name: name.to_owned(),
        ready,
        reason: "kubelet is silent".to_owned(),
        schedulable,
        cpu_cores: None,
        memory_bytes: None,
    })
}

fn rescaled(to: u32, count: i32) -> Object {
    Object::Event(EventFacts {
        name: format!("said-{to}"),
        count,
        kind: "HorizontalPodAutoscaler".to_owned(),
        about: "chat-hpa".to_owned(),
        reason: "SuccessfulRescale".to_owned(),
        reporter: String::new(),
        message: format!("New size: {to}; reason: pods metric http_requests above target"),
        is_warning: false,
        last: None,
    })
}

/// The events so far, without reconciliations, which come with every status.
fn told(world: &mut World, t_ms: u64) -> Vec<(u64, EventKind)> {
    let mut events = world.events(at(t_ms));
    events.retain(|(_, event)| !matches!(event, EventKind::HpaSynced { .. }));
    events
}

#[test]
fn the_past_is_not_told_and_the_present_is() {
    let mut world = world();
    let events = world.events(at(SETTLED_MS));
    let [(0, EventKind::HpaSynced { service, desired: 3, reason, .. })] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(service, "web");
    assert_eq!(reason, "the desired replica count is increasing faster than the maximum scale rate");
    let infos = world.service_infos();
    assert_eq!((infos[0].name.as_str(), infos[0].replicas, infos[0].autoscaled), ("web", 1, Some([1, 10])));
    let targets = [("cpu".to_owned(), 80_000), ("http_requests".to_owned(), 100_000)];
    assert_eq!(infos[0].targets_milli, BTreeMap::from(targets));
}

#[test]
fn a_scale_up_is_told_with_the_controllers_reason_before_the_pods_it_starts() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let began_ms = SETTLED_MS + 1_000;
    // The pod's watch was faster than the others.
    let started = Object::Pod(Box::new(pod("web-1", Life::Started)));
    world.take(at(began_ms), &Stream::Pods, Change::Is(started));
    world.take(at(began_ms + 20), &workloads(), Change::Is(deployment(3, Writer::Autoscaler)));
    assert_eq!(told(&mut world, began_ms + 200), []);
    world.take(at(began_ms + 210), &Stream::Events, Change::Is(rescaled(3, 1)));
    let ready = Object::Pod(Box::new(pod("web-1", Life::Ready)));
    world.take(at(began_ms + 400), &Stream::Pods, Change::Is(ready));
    let events = told(&mut world, began_ms + 5_000);
    let [(crossed_ms, crossed), (first_ms, first), (_, second), (_, third)] = events.as_slice() else {
        panic!("{events:?}")
    };
    // The controller noticed it before our own poll did.
    let EventKind::MetricCrossed { metric, average_milli, target_milli, above: true, not_before_ms, .. } =
        crossed
    else {
        panic!("{crossed:?}")
    };
    assert_eq!((metric.as_str(), *average_milli, *target_milli), ("http_requests", 250_000, 100_000));
    assert_eq!((*crossed_ms, *not_before_ms), (began_ms, Some(0)), "no look came before it");
    let EventKind::DesiredChanged { from: 1, to: 3, reason, explanation, metrics, .. } = first else {
        panic!("{first:?}")
    };
    assert_eq!(*first_ms, began_ms, "not after its effect");
    assert_eq!(reason, "New size: 3; reason: pods metric http_requests above target");
    assert_eq!(explanation, "http_requests 250 per pod of 100: wants 3");
    assert_eq!(metrics.len(), 2);
    assert!(matches!(second, EventKind::PodStarting { .. }), "{second:?}");
    assert_eq!(
        *third,
        EventKind::PodReady { service: "web".to_owned(), pod: "web-1".to_owned(), after_ms: 400 }
    );
}

/// The autoscaler, with this average of `http_requests` in its status.
fn hpa_at(average: &str) -> Object {
    use crate::facts::Facts as _;
    let text = include_str!("../../tests/recorded/hpa-limited.json").replace("chat-server", "web");
    let mut hpa: serde_json::Value = serde_json::from_str(&text).unwrap();
    for metric in hpa["status"]["currentMetrics"].as_array_mut().unwrap() {
        if metric["type"] == "Pods" {
            metric["pods"]["current"]["averageValue"] = average.into();
        }
    }
    serde_json::from_value::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>(hpa).unwrap().facts()
}

#[test]
fn a_crossing_seen_first_by_the_controller_is_dated_after_our_last_poll_below_the_line() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let looked_ms = SETTLED_MS + 1_000;
    let below = BTreeMap::from([("web-0".to_owned(), 10_000)]);
    world.scraped(at(looked_ms), "chat-hpa", "http_requests", below);
    let decided_ms = looked_ms + 9_000;
    world.take(at(decided_ms), &workloads(), Change::Is(deployment(3, Writer::Autoscaler)));
    world.take(at(decided_ms), &Stream::Events, Change::Is(rescaled(3, 1)));
    let crossings: Vec<_> = told(&mut world, decided_ms + 5_000)
        .into_iter()
        .filter_map(|(at_ms, event)| match event {
            EventKind::MetricCrossed { not_before_ms, .. } => Some((at_ms, not_before_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(crossings, [(decided_ms, Some(looked_ms))]);
}

#[test]
fn metrics_that_share_a_name_cross_their_own_targets() {
    use crate::facts::Facts as _;
    let text = include_str!("../../tests/recorded/hpa-limited.json").replace("chat-server", "web");
    let mut hpa: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rooms = |room: &str, target: &str| {
        serde_json::json!({"type": "Pods", "pods": {"target": {"type": "AverageValue", "averageValue": target},
            "metric": {"name": "users", "selector": {"matchLabels": {"room": room}}}}})
    };
    let container = serde_json::json!({"type": "ContainerResource", "containerResource":
        {"name": "cpu", "container": "app", "target": {"type": "Utilization", "averageUtilization": 30}}});
    let metrics = hpa["spec"]["metrics"].as_array_mut().unwrap();
    metrics.extend([container, rooms("a", "10"), rooms("b", "1000")]);
    let hpa: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler =
        serde_json::from_value(hpa).unwrap();

    let mut world = world();
    world.take(at(1), &Stream::Hpas, Change::Is(hpa.facts()));
    let targets = world.service_infos().remove(0).targets_milli;
    let told_targets: Vec<_> = targets.iter().map(|(metric, milli)| (metric.as_str(), *milli)).collect();
    assert_eq!(
        told_targets,
        [
            ("cpu", 80_000),
            ("cpu of container app", 30_000),
            ("http_requests", 100_000),
            ("users {room=a}", 10_000),
            ("users {room=b}", 1_000_000),
        ]
    );
    let _ = told(&mut world, SETTLED_MS);
    for metric in ["users {room=a}", "users {room=b}"] {
        let values = BTreeMap::from([("web-0".to_owned(), 100_000)]);
        world.scraped(at(SETTLED_MS + 1_000), "chat-hpa", metric, values);
    }
    let crossed: Vec<_> = told(&mut world, SETTLED_MS + 2_000)
        .into_iter()
        .filter_map(|(_, event)| match event {
            EventKind::MetricCrossed { metric, target_milli, above, .. } => {
                Some((metric, target_milli, above))
            }
            _ => None,
        })
        .collect();
    assert_eq!(crossed, [("users {room=a}".to_owned(), 10_000, true)]);
}

#[test]
fn an_outdated_poll_does_not_undo_what_the_controller_saw() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let began_ms = SETTLED_MS + 1_000;
    world.take(at(began_ms), &workloads(), Change::Is(deployment(3, Writer::Autoscaler)));
    world.take(at(began_ms), &Stream::Events, Change::Is(rescaled(3, 1)));
    let crossings = |world: &mut World, t_ms: u64, load: i64| -> Vec<bool> {
        world.scraped(at(t_ms), "chat-hpa", "http_requests", BTreeMap::from([("web-0".to_owned(), load)]));
        let events = told(world, t_ms + 500).into_iter();
        let crossings = events.filter_map(|(_, event)| match event {
            EventKind::MetricCrossed { above, .. } => Some(above),
            _ => None,
        });
        crossings.collect()
    };
    let _ = told(&mut world, began_ms + 5_000);
    // Our poll's values are from before the load at first, and only then what the controller found.
    assert_eq!(crossings(&mut world, began_ms + 6_000, 10_000), [false; 0]);
    assert_eq!(crossings(&mut world, began_ms + 7_000, 250_000), [false; 0]);
    // From now on both have seen it, and a fall is reported.
    assert_eq!(crossings(&mut world, began_ms + 8_000, 10_000), [false]);
    assert_eq!(crossings(&mut world, began_ms + 9_000, 250_000), [true]);

    // Also if the controller has seen the fall before we saw the rise.
    let mut world = self::world();
    world.take(at(began_ms), &workloads(), Change::Is(deployment(3, Writer::Autoscaler)));
    world.take(at(began_ms), &Stream::Events, Change::Is(rescaled(3, 1)));
    let _ = told(&mut world, began_ms + 5_000);
    world.take(at(began_ms + 6_000), &Stream::Hpas, Change::Is(hpa_at("10")));
    assert_eq!(crossings(&mut world, began_ms + 7_000, 10_000), [false]);
}

#[test]
fn a_namespace_with_nothing_to_follow_is_said_to_lack_only_what_was_read() {
    let mut world = World::new(Scope::default());
    let nothing = |world: &World| world.nothing_to_follow("here");
    let lacks = |kinds: &str| Some(format!("namespace here has no {kinds}, or does not exist"));
    assert_eq!(nothing(&world), lacks("Deployment, StatefulSet or autoscaler"));
    world.deny(Stream::Workloads("StatefulSet".to_owned()));
    assert_eq!(nothing(&world), lacks("Deployment or autoscaler"));
    world.deny(Stream::Hpas);
    assert_eq!(nothing(&world), lacks("Deployment"));
    world.deny(workloads());
    assert_eq!(nothing(&world), None);
    // It may have become readable.
    world.take(at(0), &workloads(), Change::Is(deployment(1, Writer::Unknown)));
    assert!(!world.is_denied("Deployment"));
}

#[test]
fn a_metric_without_a_value_is_not_said_to_lack_it_for_a_reason_that_nobody_gave() {
    use crate::facts::Facts as _;
    let words = |text: &str| {
        let hpa: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler =
            serde_json::from_str(text).unwrap();
        let Object::Hpa(hpa) = hpa.facts() else { panic!("{text}") };
        assert!(!hpa.words().is_empty());
        proposals(&hpa, at(0).wall).into_iter().map(|one| one.words).collect::<Vec<_>>()
    };
    // The controller complains about the pods' requests, not about the metrics API.
    assert_eq!(words(include_str!("../../tests/recorded/hpa-without-requests.json")), ["no value"]);
    // There it did not get as far as its metrics.
    assert_eq!(words(include_str!("../../tests/recorded/hpa-without-target.json")), Vec::<String>::new());
    let limited = words(include_str!("../../tests/recorded/hpa-limited.json"));
    assert!(limited.len() == 2 && !limited.contains(&"no value".to_owned()), "{limited:?}");
}

#[test]
fn pods_that_may_not_be_read_are_not_counted_as_none() {
    let mut world = world();
    let unseen = |world: &World| {
        let (_, service) = world.services().next().unwrap();
        world.pods_unseen(service)
    };
    assert_eq!(unseen(&world), None);
    world.deny(Stream::Pods);
    assert_eq!(unseen(&world), Some("its pods may not be read"));

    // Which pods are its own, only the Deployment says.
    let mut world = World::new(Scope::default());
    world.deny(workloads());
    world.take(at(0), &Stream::Hpas, Change::Is(hpa()));
    world.complete();
    assert!(unseen(&world).unwrap().contains("which pods are its own"));
}

#[test]
fn an_event_is_news_once_for_each_time_it_was_said() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    for (to, count, t_ms) in [(3, 1, 0), (1, 1, 10_000), (3, 2, 20_000)] {
        let t_ms = SETTLED_MS + t_ms;
        world.take(at(t_ms), &workloads(), Change::Is(deployment(to, Writer::Autoscaler)));
        world.take(at(t_ms), &Stream::Events, Change::Is(rescaled(to, count)));
        // The same again, by a list after a lost connection.
        world.take(at(t_ms + 500), &Stream::Events, Change::Listing);
        world.take(at(t_ms + 500), &Stream::Events, Change::Is(rescaled(to, count)));
        let events = told(&mut world, t_ms + 9_000);
        let changes: Vec<_> = events
            .iter()
            .filter_map(|(_, event)| match event {
                EventKind::DesiredChanged { to, reason, .. } => Some((*to, reason.starts_with("New size"))),
                _ => None,
            })
            .collect();
        assert_eq!(changes, [(to, true)]);
    }
}

#[test]
fn a_pod_of_a_statefulset_that_was_replaced_unseen_is_another() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let another = PodFacts { uid: "another".to_owned(), ..pod("web-0", Life::Ready) };
    world.take(at(SETTLED_MS), &Stream::Pods, Change::Is(Object::Pod(Box::new(another))));
    let events = told(&mut world, SETTLED_MS * 2);
    let kinds: Vec<_> = events.iter().map(|(_, event)| event).collect();
    assert!(
        matches!(
            kinds[..],
            [EventKind::PodGone { .. }, EventKind::PodStarting { .. }, EventKind::PodReady { .. }]
        ),
        "{kinds:?}"
    );
}

#[test]
fn a_pod_that_is_deleted_without_grace_is_killed_and_does_not_drain() {
    let gone = |grace: i64| {
        let mut world = world();
        let _ = world.events(at(SETTLED_MS));
        let facts = |deleting: i64| {
            let facts = PodFacts { deleting: Some(deleting), ..pod("web-0", Life::Draining) };
            Object::Pod(Box::new(facts))
        };
        world.take(at(SETTLED_MS), &Stream::Pods, Change::Is(facts(grace)));
        // The kubelet's final deletion has no grace period.
        world.take(at(SETTLED_MS + 700), &Stream::Pods, Change::Is(facts(0)));
        world.take(at(SETTLED_MS + 700), &Stream::Pods, Change::Gone(facts(0)));
        told(&mut world, SETTLED_MS * 2).into_iter().map(|(_, event)| event).collect::<Vec<_>>()
    };
    let (service, pod) = ("web".to_owned(), "web-0".to_owned());
    let draining = EventKind::PodDraining { service: service.clone(), pod: pod.clone(), connections: None };
    let end =
        |forced| EventKind::PodGone { service: service.clone(), pod: pod.clone(), after_ms: 700, forced };
    assert_eq!(gone(30), [draining, end(false)]);
    assert_eq!(gone(0), [end(true)]);
}

#[test]
fn a_container_that_ends_is_told_with_its_end_and_when_it_starts_again() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let container = |restarts: u32, runs: bool, ended: Option<&str>, wait: &str| ContainerFacts {
        name: "app".to_owned(),
        restarts,
        running: runs.then_some(Timestamp::UNIX_EPOCH),
        waiting: (!runs).then(|| ("CrashLoopBackOff".to_owned(), format!("back-off {wait} restarting"))),
        ended: ended.map(|id| Ended { id: id.to_owned(), exit_code: 1, words: "exit status 1".to_owned() }),
    };
    let steps = [
        (Life::Ready, container(1, true, Some("first"), "")),
        (Life::Started, container(1, false, Some("second"), "1m20s")),
        (Life::Started, container(2, true, Some("second"), "")),
        (Life::Ready, container(2, true, Some("second"), "")),
    ];
    for (life, container) in steps {
        let facts = PodFacts { containers: vec![container], ..pod("web-0", life) };
        world.take(at(SETTLED_MS), &Stream::Pods, Change::Is(Object::Pod(Box::new(facts))));
    }
    let told: Vec<(&str, u64)> = told(&mut world, SETTLED_MS * 2)
        .iter()
        .map(|(_, event)| match event {
            EventKind::PodCrashed { restart_in_ms, .. } => ("crashed", restart_in_ms.unwrap()),
            EventKind::PodStarting { restarts, .. } => ("starting", u64::from(*restarts)),
            EventKind::PodReady { .. } => ("ready", 0),
            other => panic!("{other:?}"),
        })
        .collect();
    let restarted = [("crashed", 0), ("starting", 1), ("ready", 0)];
    let backed_off = [("crashed", 80_000), ("starting", 2), ("ready", 0)];
    assert_eq!(told, [restarted, backed_off].concat());
}

#[test]
fn endpoints_are_the_pods_of_all_slices() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let slice = |name: &str, ready: bool| {
        let endpoint = EndpointFacts { pod: "web-0".to_owned(), ready, draining: !ready };
        Change::Is(Object::Slice(SliceFacts { name: name.to_owned(), endpoints: vec![endpoint] }))
    };
    let changed = |ready: &[&str], draining: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        EventKind::EndpointsChanged {
            service: "web".to_owned(),
            ready: names(ready),
            draining: names(draining),
        }
    };
    let mut take = |change: Change| {
        world.take(at(SETTLED_MS), &Stream::Slices, change);
        told(&mut world, SETTLED_MS + 10_000).into_iter().map(|(_, event)| event).collect::<Vec<_>>()
    };
    assert_eq!(take(slice("a", true)), [changed(&["web-0"], &[])]);
    assert_eq!(take(slice("b", true)), [], "it is one pod all the same");
    assert_eq!(take(slice("a", false)), [changed(&["web-0"], &["web-0"])]);
    assert_eq!(take(slice("b", false)), [changed(&[], &["web-0"])]);
}

#[test]
fn nodes_come_fail_are_cordoned_and_go() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let changes = [
        Change::Is(node("node-2", false, true)),
        Change::Is(node("node-2", true, true)),
        Change::Is(node("node-2", true, true)),
        Change::Is(node("node-2", true, false)),
        Change::Gone(node("node-2", true, false)),
    ];
    for change in changes {
        world.take(at(SETTLED_MS), &Stream::Nodes, change);
    }
    let states: Vec<NodeState> = told(&mut world, SETTLED_MS * 2)
        .into_iter()
        .filter_map(|(_, event)| match event {
            EventKind::NodeChanged { state, .. } => Some(state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [NodeState::NotReady, NodeState::Ready, NodeState::Cordoned, NodeState::Gone]);
}

#[test]
fn a_balancers_changes_and_decisions_are_reported() {
    let mut world = world();
    let _ = world.events(at(SETTLED_MS));
    let inactive = PodFacts { traffic: Traffic::Inactive, ..pod("web-0", Life::Ready) };
    for facts in [inactive.clone(), inactive, pod("web-0", Life::Ready)] {
        world.take(at(SETTLED_MS), &Stream::Pods, Change::Is(Object::Pod(Box::new(facts))));
    }
    let said = |about: &str, reporter: &str| {
        Change::Is(Object::Event(EventFacts {
            name: format!("{about} {reporter}"),
            count: 1,
            kind: "Deployment".to_owned(),
            about: about.to_owned(),
            reason: "Balanced".to_owned(),
            reporter: reporter.to_owned(),
            message: "web-0 sheds 7, web-1 becomes active: web-0 has 20, fair are 12".to_owned(),
            is_warning: false,
            last: Some(Timestamp::UNIX_EPOCH),
        }))
    };
    for (about, reporter) in [("web", "playctl/balancer"), ("other", "playctl/balancer"), ("web", "another")]
    {
        world.take(at(SETTLED_MS), &Stream::Events, said(about, reporter));
    }
    let (service, pod) = ("web".to_owned(), "web-0".to_owned());
    let changed = |traffic| {
        let (service, pod) = (service.clone(), pod.clone());
        EventKind::TrafficChanged { service, pod, traffic }
    };
    let orders = ["web-0 sheds 7", "web-1 becomes active"].map(ToOwned::to_owned).to_vec();
    let reason = "web-0 has 20, fair are 12".to_owned();
    let last = Decided { at: Timestamp::UNIX_EPOCH, orders: orders.clone(), reason: reason.clone() };
    let (_, web) = world.services().find(|(name, _)| *name == "web").unwrap();
    assert_eq!(world.balanced(web), Some(&last));
    let balanced = EventKind::Balanced { service: service.clone(), orders, reason };
    let told: Vec<_> = told(&mut world, SETTLED_MS * 2).into_iter().map(|(_, event)| event).collect();
    assert_eq!(told, [changed(Traffic::Inactive), changed(Traffic::Active), balanced]);
}

#[test]
fn two_workloads_of_one_name_are_told_apart() {
    let mut world = world();
    let Object::Workload(mut set) = deployment(2, Writer::Unknown) else { unreachable!() };
    set.kind = "StatefulSet".to_owned();
    let stream = Stream::Workloads("StatefulSet".to_owned());
    world.take(at(0), &stream, Change::Is(Object::Workload(set)));
    let names: Vec<&String> = world.services().map(|(name, _)| name).collect();
    assert_eq!(names, ["web", "web.statefulset"]);
    assert_eq!(world.services().next().unwrap().1.hpa.as_deref(), Some("chat-hpa"));
}

#[test]
fn an_autoscaler_of_another_groups_deployment_does_not_get_apps_one() {
    let mut world = World::new(Scope::default());
    let Object::Hpa(mut foreign) = hpa() else { unreachable!() };
    foreign.target.api_version = Some("apps.example.com/v1".to_owned());
    world.take(at(0), &workloads(), Change::Is(deployment(1, Writer::Unknown)));
    world.take(at(0), &Stream::Hpas, Change::Is(Object::Hpa(foreign)));
    world.complete();
    let services: Vec<_> = world.services().collect();
    let [(_, scaled), (_, other)] = services[..] else { panic!("{services:?}") };
    assert_eq!(scaled.workload, ("Deployment.apps.example.com".to_owned(), "web".to_owned()));
    assert!(scaled.hpa.is_some() && world.workload(scaled).is_none());
    assert_eq!((other.workload.0.as_str(), &other.hpa), ("Deployment", &None));
}

#[test]
fn an_autoscaler_alone_has_one_service() {
    let mut world = World::new(Scope { hpa: Some("other".to_owned()) });
    world.take(at(0), &workloads(), Change::Is(deployment(1, Writer::Unknown)));
    world.take(at(0), &Stream::Hpas, Change::Is(hpa()));
    world.complete();
    assert_eq!(world.services().count(), 0);
}

/// What a watch shows of a pod's life from `seen` to `life`: all of it, or only the result in a list.
fn lives() -> impl Strategy<Value = Vec<(usize, bool)>> {
    proptest::collection::vec((0..4_usize, any::<bool>()), 1..60)
}

proptest! {
    /// Whatever a watch misses and a list makes up for: each pod starts, becomes ready and disappears at most once, in
    /// this order, and everything that exists in the end has been reported.
    #[test]
    fn nothing_is_told_twice_or_forgotten_however_the_watch_breaks(steps in lives()) {
        let mut world = world();
        let _ = world.events(at(SETTLED_MS));
        // Each slot has one pod after another.
        let mut slots = [(0_usize, Life::Pending); 4];
        let name = |slot: usize, of: usize| format!("pod-{slot}-{of}");
        let mut present = BTreeMap::from([("web-0".to_owned(), pod("web-0", Life::Ready))]);
        let mut is_lost = false;
        let mut t_ms = SETTLED_MS;
        let mut events = Vec::new();
        for (slot, toggles) in steps {
            t_ms += 100;
            let (of, life) = &mut slots[slot];
            let next = match life {
                Life::Pending => Life::Started,
                Life::Started => Life::Ready,
                Life::Ready => Life::Draining,
                Life::Draining => Life::Gone,
                Life::Gone => { *of += 1; Life::Pending }
            };
            *life = next;
            let facts = pod(&name(slot, *of), next);
            let change = if next == Life::Gone {
                present.remove(&facts.name);
                Change::Gone(Object::Pod(Box::new(facts)))
            } else {
                present.insert(facts.name.clone(), facts.clone());
                Change::Is(Object::Pod(Box::new(facts)))
            };
            if !is_lost {
                world.take(at(t_ms), &Stream::Pods, change);
            }
            if toggles {
                is_lost = !is_lost;
                if is_lost {
                    world.take(at(t_ms), &Stream::Pods, Change::Broken);
                } else {
                    list(&mut world, t_ms, &present);
                }
            }
            events.extend(world.events(at(t_ms)));
        }
        list(&mut world, t_ms, &present);
        events.extend(world.events(at(t_ms + SETTLED_MS)));
        let mut told: BTreeMap<String, Vec<Life>> = BTreeMap::new();
        for (_, event) in events {
            let (pod, life) = match event {
                EventKind::PodStarting { pod, .. } => (pod, Life::Started),
                EventKind::PodReady { pod, .. } => (pod, Life::Ready),
                EventKind::PodDraining { pod, .. } => (pod, Life::Draining),
                EventKind::PodGone { pod, .. } => (pod, Life::Gone),
                _ => continue,
            };
            told.entry(pod).or_default().push(life);
        }
        for (pod, lives) in &told {
            prop_assert!(lives.is_sorted_by(|one, next| one < next), "{pod}: {lives:?}");
        }
        for (slot, (of, life)) in slots.iter().enumerate() {
            let last = told.get(&name(slot, *of)).and_then(|lives| lives.last());
            match life {
                Life::Pending => prop_assert_eq!(last, None),
                // Gone before anyone saw it.
                Life::Gone => prop_assert!(last.is_none_or(|last| *last == Life::Gone)),
                life => prop_assert_eq!(last, Some(life)),
            }
        }
        prop_assert_eq!(world.pods.len(), present.len());
    }
}

fn list(world: &mut World, t_ms: u64, present: &BTreeMap<String, PodFacts>) {
    world.take(at(t_ms), &Stream::Pods, Change::Listing);
    for facts in present.values() {
        world.take(at(t_ms), &Stream::Pods, Change::Is(Object::Pod(Box::new(facts.clone()))));
    }
    world.take(at(t_ms), &Stream::Pods, Change::Listed);
}
