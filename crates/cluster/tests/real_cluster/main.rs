//! Against a real control plane: `infrastructure/testbed/test cluster`.
//!
//! The real controller scales pods on kwok's nodes by metrics that this test serves. The Deployment and its autoscaler
//! are somebody else's, and the account that watches them may only read.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod argocd;
mod balance;
mod cut;
mod foreign;
mod load;
mod metrics;
mod nodes;
mod proxied;
mod world;

use std::{collections::BTreeMap, time::Duration};

use autoscale::explain;
use cluster::ClusterTarget;
use platform::{
    EventKind, Target, TargetError,
    event::NodeState,
    target::{ReplicaPhase, Subject},
};
use serde_json::json;
use world::{Namespace, Watched};

/// Everything that the documentation asks for, and nothing else.
fn reading() -> serde_json::Value {
    let watch = ["get", "list", "watch"];
    json!([
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": watch},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": watch},
        {"apiGroups": [""], "resources": ["pods", "events"], "verbs": watch},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch},
        {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["custom.metrics.k8s.io"], "resources": ["pods/load"], "verbs": ["get"]},
    ])
}

#[test]
fn an_autoscaler_that_is_not_ours_is_followed_and_explained_with_a_read_only_account() {
    let namespace = Namespace::new("follow");
    namespace.application("chat", 1);
    namespace.autoscaler("chat", 1, 6);
    let target = namespace.account("reader", &reading(), true);
    let watched = Watched::new(&target);

    let raised = clock::wall();
    namespace.load("chat", 250_000);
    watched.until("6 replicas", |events| events.iter().any(|event| desired(event) == Some((6, true))));
    let seen_up = clock::wall();
    watched.until("6 pods ready", |events| {
        events.iter().filter(|event| matches!(event, EventKind::PodReady { .. })).count() == 5
    });
    explained(&target, &namespace, 6);
    let snapshot = target.snapshot().unwrap();
    assert_eq!(snapshot.problems, Vec::<String>::new());
    let service = &snapshot.services[0];
    assert_eq!((service.name.as_str(), service.desired), ("chat", 6));
    assert!(service.replicas.iter().all(|replica| replica.phase == ReplicaPhase::Ready));
    let autoscaler = service.autoscaler.as_ref().unwrap();
    assert_eq!((autoscaler.min, autoscaler.max), (1, 6));
    assert_eq!(snapshot.nodes, u32::try_from(snapshot.node_list.len()).unwrap());

    let lowered = clock::wall();
    namespace.load("chat", 10_000);
    watched.until("1 replica", |events| events.iter().any(|event| desired(event) == Some((1, true))));
    let seen_down = clock::wall();
    watched.until("5 pods gone", |events| {
        events.iter().filter(|event| matches!(event, EventKind::PodGone { .. })).count() == 5
    });
    explained(&target, &namespace, 1);

    let events = watched.events();
    let kinds: Vec<&EventKind> = events.iter().map(|event| &event.kind).collect();
    assert!(matches!(kinds[0], EventKind::PlatformStarted { .. }), "{:?}", kinds[0]);
    let warnings: Vec<_> = kinds.iter().filter(|kind| matches!(kind, EventKind::Warning { .. })).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(
        kinds.iter().any(|kind| matches!(kind, EventKind::MetricScraped { metric, .. } if metric == "load"))
    );
    assert!(kinds.iter().any(|kind| matches!(kind, EventKind::ScaleDownHeld { .. })));
    assert!(events.is_sorted_by_key(|event| event.t_ms), "in order");
    each_pod_once(&kinds, 5);

    // What the controller says itself. How far its instants and ours are apart is measured where the machine is not busy
    // (infrastructure/cluster/scaling); here each lies between what caused it and when it was seen.
    let said = namespace.rescales("chat");
    let told: Vec<(&String, jiff::Timestamp, bool)> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::DesiredChanged { reason, from, to, .. } => Some((reason, event.wall, to > from)),
            _ => None,
        })
        .collect();
    assert_eq!(
        told.iter().map(|(reason, ..)| *reason).collect::<Vec<_>>(),
        said.iter().map(|(reason, _)| reason).collect::<Vec<_>>()
    );
    for ((reason, ours, is_up), (_, theirs)) in told.iter().zip(&said) {
        let (caused, seen) = if *is_up { (raised, seen_up) } else { (lowered, seen_down) };
        assert!(caused <= *ours && *ours <= seen, "{reason}: {ours} is not within {caused} and {seen}");
        // It has whole seconds.
        assert!(caused.as_second() <= theirs.as_second(), "{reason}: {theirs} is before {caused}");
    }
    let first = kinds.iter().find_map(|kind| match kind {
        EventKind::DesiredChanged { from: 1, explanation, .. } => Some(explanation),
        _ => None,
    });
    let first = first.unwrap();
    assert!(first.starts_with("load 250 per pod of 100: wants 3"), "{first}");
}

/// The count that an event sets, and whether the controller did.
fn desired(event: &EventKind) -> Option<(u32, bool)> {
    match event {
        EventKind::DesiredChanged { to, .. } => Some((*to, true)),
        EventKind::ReplicasSet { to, .. } => Some((*to, false)),
        _ => None,
    }
}

/// Each pod that came started once and was ready once; each that went drained once and was gone once.
fn each_pod_once(kinds: &[&EventKind], expected: usize) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for kind in kinds {
        let (what, pod) = match kind {
            EventKind::PodStarting { pod, .. } => ("starting", pod),
            EventKind::PodReady { pod, .. } => ("ready", pod),
            EventKind::PodGone { pod, .. } => ("gone", pod),
            _ => continue,
        };
        *counts.entry((what, pod)).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    let started = counts.keys().filter(|(what, _)| *what == "starting").count();
    assert_eq!(started, expected, "{counts:?}");
}

/// Our engine, shown what the APIs say, decides as the controller did.
fn explained(target: &ClusterTarget, namespace: &Namespace, replicas: i32) {
    namespace.settled("chat", replicas);
    let explanation = explain::explain(&target.autoscaler("chat").unwrap()).unwrap();
    assert_eq!((explanation.current, explanation.desired), (replicas, replicas), "{explanation:?}");
    assert!(explanation.error.is_none(), "{explanation:?}");
    let reported = target.reported("chat").unwrap().unwrap();
    assert_eq!(i64::from(reported.desired), i64::from(replicas));
    let conditions = ["ScalingActive", "ScalingLimited"];
    for kind in conditions {
        let ours = &explanation.conditions[kind];
        let [status, reason, _] = &reported.conditions[kind];
        assert_eq!((ours.status, &ours.reason), (status.as_str(), reason), "{kind}");
    }
}

#[test]
fn missing_read_permissions_are_named_and_the_rest_works() {
    let namespace = Namespace::new("partial");
    namespace.application("chat", 1);
    namespace.autoscaler("chat", 1, 4);
    let some = json!([
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    ]);
    let target = namespace.account("partial", &some, false);
    let snapshot = target.snapshot().unwrap();
    assert!(snapshot.since.is_some(), "it sees the Deployment's age");
    let problems = snapshot.problems.join("\n");
    for resource in [
        "statefulsets.apps in namespace",
        "endpointslices.discovery.k8s.io in namespace",
        "list and watch events in namespace",
        "nodes in the cluster",
        "pods.metrics.k8s.io",
    ] {
        assert!(problems.contains(resource), "{resource} is missing in:\n{problems}");
    }
    let watched = Watched::new(&target);
    namespace.load("chat", 250_000);
    // Without its events, the controller is known by what it wrote.
    watched.until("the controller's change", |events| {
        events.iter().any(|event| matches!(desired(event), Some((_, true))))
    });
    watched.until("a pod", |events| events.iter().any(|event| matches!(event, EventKind::PodReady { .. })));
    let refused = target.scale("chat", 3).unwrap_err().to_string();
    assert!(refused.contains("not allowed") && refused.contains("deployments/scale"), "{refused}");
    assert!(watched.warnings().iter().any(|warning| warning.contains("nodes in the cluster")));
    watched.until_warned("load, a metric of autoscaler chat, cannot be read: pods.custom.metrics.k8s.io");
    let reported = target.reported("chat").unwrap().unwrap();
    assert!(reported.unread[0].starts_with("load: pods.custom.metrics.k8s.io"), "{:?}", reported.unread);

    let less = json!([some[0], some[2]]);
    let snapshot = namespace.account("blind", &less, false).snapshot().unwrap();
    assert_eq!((snapshot.since, snapshot.services.len()), (None, 1), "it sees no workload, so no age");
}

#[test]
fn changes_during_a_network_outage_are_reported_once_afterwards() {
    let namespace = Namespace::new("away");
    namespace.application("chat", 2);
    let (target, cut) = namespace.through_a_cut("away", &reading());
    let watched = Watched::new(&target);
    namespace.replicas("chat", 3);
    watched.until("a pod", |events| events.iter().any(|event| matches!(event, EventKind::PodReady { .. })));

    cut.cut();
    watched.until_warned("lost the connection");
    namespace.replicas("chat", 1);
    namespace.settled("chat", 1);
    namespace.replicas("chat", 5);
    namespace.settled("chat", 5);
    cut.mend();

    watched.until_warned("answers again");
    watched.until("5 pods of which each was ready", |events| {
        let count = |what: fn(&EventKind) -> bool| events.iter().filter(|event| what(event)).count();
        let ready = count(|event| matches!(event, EventKind::PodReady { .. }));
        let gone = count(|event| matches!(event, EventKind::PodGone { .. }));
        2 + ready - gone == 5 && gone > 0
    });
    let events = watched.events();
    let kinds: Vec<&EventKind> = events.iter().map(|event| &event.kind).collect();
    // One of the three is left at 1, and 4 came.
    each_pod_once(&kinds, 1 + 4);
    let set: Vec<_> = kinds.iter().filter_map(|kind| desired(kind)).collect();
    assert!(set.starts_with(&[(3, false)]) && set.ends_with(&[(5, false)]), "{set:?}");
}

#[test]
fn an_api_server_that_is_killed_in_the_middle_of_a_watch_loses_nothing() {
    let namespace = Namespace::new("killed");
    namespace.application("chat", 1);
    namespace.autoscaler("chat", 1, 6);
    let target = namespace.account("reader", &reading(), true);
    let watched = Watched::new(&target);
    watched.until("its first event", |events| !events.is_empty());

    world::kill_api_server();
    watched.until_warned("lost the connection");
    namespace.load("chat", 1_000_000);
    watched.until_warned("answers again");
    watched.until("6 replicas", |events| events.iter().any(|event| desired(event) == Some((6, true))));
    watched.until("6 pods ready", |events| {
        events.iter().filter(|event| matches!(event, EventKind::PodReady { .. })).count() == 5
    });
    let events = watched.events();
    let kinds: Vec<&EventKind> = events.iter().map(|event| &event.kind).collect();
    each_pod_once(&kinds, 5);
    let changes: Vec<(u32, u32, &String)> = kinds
        .iter()
        .filter_map(|kind| match kind {
            EventKind::DesiredChanged { from, to, reason, .. } => Some((*from, *to, reason)),
            _ => None,
        })
        .collect();
    let is_next = |pair: &[(u32, u32, &String)]| pair[0].1 == pair[1].0;
    assert!(changes.windows(2).all(is_next), "{changes:?}");
    assert_eq!((changes.first().map(|one| one.0), changes.last().map(|one| one.1)), (Some(1), Some(6)));
    // The controller's own events get lost or come late where there is no API server to take them. What it says is told.
    for (said, _) in namespace.rescales("chat") {
        let is_told = |(_, to, reason): &(u32, u32, &String)| {
            **reason == said || said.starts_with(&format!("New size: {to};"))
        };
        assert!(changes.iter().any(is_told), "{said} is missing in {changes:?}");
    }
}

#[test]
fn pods_and_nodes_are_acted_upon_and_what_is_not_possible_says_why() {
    let namespace = Namespace::new("act");
    namespace.application("chat", 2);
    let target = namespace.admin();
    let subject = |text: &str| text.parse::<Subject>().unwrap();
    let watched = Watched::new(&target);

    let scaled = target.scale("chat", 3).unwrap();
    assert_eq!((scaled.from, scaled.to, scaled.autoscaled), (2, 3, None));
    namespace.settled("chat", 3);
    let killed = target.kill(&subject("chat"), true).unwrap();
    assert!(killed.replaced && !killed.draining);
    watched.until("the killed pod gone", |events| {
        events.iter().any(
            |event| matches!(event, EventKind::PodGone { pod, forced: true, .. } if *pod == killed.replica),
        )
    });
    namespace.settled("chat", 3);
    let pod = namespace.pods("chat").remove(0);
    let drained = target.drain(&Subject::replica("chat", &pod)).unwrap();
    assert_eq!((drained.replica.as_str(), drained.grace), (pod.as_str(), Duration::from_secs(30)));
    watched.until("the drained pod gone", |events| {
        events.iter().any(|event| matches!(event, EventKind::PodGone { pod: gone, .. } if *gone == pod))
    });
    namespace.settled("chat", 3);

    assert!(target.stop(&subject("chat")).unwrap().was_running);
    assert!(!target.stop(&subject("chat")).unwrap().was_running);
    namespace.settled("chat", 0);
    assert!(target.start(&subject("chat")).unwrap().was_stopped);
    assert!(!target.start(&subject("chat")).unwrap().was_stopped);
    namespace.settled("chat", 3);

    let node = namespace.node_of("chat");
    let drained = target.drain(&subject(&format!("node/{node}"))).unwrap();
    assert_eq!(drained.replica, node);
    watched.until("the node cordoned", |events| node_is(events, &node, NodeState::Cordoned));
    namespace.settled("chat", 3);
    assert!(!namespace.nodes_of("chat").contains(&node));
    assert!(target.start(&subject(&format!("node/{node}"))).unwrap().was_stopped);
    watched.until("the node ready", |events| node_is(events, &node, NodeState::Ready));

    let refused = |result: Result<(), TargetError>| match result.unwrap_err() {
        TargetError::Unsupported { what, why } => format!("{what}: {why}"),
        other => panic!("{other:?}"),
    };
    assert!(refused(target.kill(&subject("chat"), false).map(drop)).contains("replaces the pod"));
    assert!(refused(target.kill(&subject("chat/fullest"), true).map(drop)).contains("no pod metric"));
    assert!(refused(target.stop(&subject("chat/x")).map(drop)).contains("drain the pod"));
    assert!(refused(target.endpoint("chat").map(drop)).contains("LoadBalancer"));
    let unknown = target.scale("chad", 1).unwrap_err().to_string();
    assert!(unknown.contains("chad") && unknown.contains("chat"), "{unknown}");
}

#[test]
fn a_part_of_our_chart_is_stopped_and_started_by_its_name_and_tells_both() {
    let namespace = Namespace::new("part");
    let labels = json!({"app.kubernetes.io/name": "kafka", "app.kubernetes.io/part-of": "playground",
        "app.kubernetes.io/instance": "playground"});
    let container = json!({"name": "kafka", "image": "somebody/else:1"});
    namespace.put(&json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "playground-kafka", "labels": labels},
        "spec": {"replicas": 1, "serviceName": "playground-kafka", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}}));
    let target = namespace.admin();
    let kafka = || {
        let parts = target.snapshot().unwrap().parts;
        assert!(parts.len() == 1 && parts[0].name == "kafka", "{parts:?}");
        (parts[0].healthy, parts[0].detail.clone())
    };
    let is = |healthy: bool, detail: &str| {
        world::until(detail, || (kafka() == (healthy, detail.to_owned())).then_some(()));
    };
    is(true, "StatefulSet playground-kafka, 1 of 1 ready");
    let watched = Watched::new(&target);
    watched.until("its first event", |events| !events.is_empty());
    let stopped = target.stop(&Subject::whole("kafka")).unwrap();
    assert_eq!((stopped.name.as_str(), stopped.was_running), ("kafka", true));
    watched.until("kafka stopped", |events| {
        events.iter().any(|event| matches!(event, EventKind::PartStopped { part, .. } if part == "kafka"))
    });
    is(false, "StatefulSet playground-kafka, stopped");
    assert!(target.start(&Subject::whole("kafka")).unwrap().was_stopped);
    watched.until("kafka ready", |events| {
        events.iter().any(|event| matches!(event, EventKind::PartReady { part, .. } if part == "kafka"))
    });
    is(true, "StatefulSet playground-kafka, 1 of 1 ready");
    let killed = target.kill(&Subject::whole("kafka"), true).unwrap();
    assert_eq!(killed.replica, "playground-kafka-0");
}

#[test]
fn the_fullest_pod_of_our_service_is_asked_for_without_an_autoscaler() {
    let namespace = Namespace::new("fullest");
    namespace.application_with("tcp", 2, 9102);
    let target = namespace.admin();
    // No process runs in these pods, so nobody answers.
    let error = target.drain(&"tcp/fullest".parse().unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("the number of clients of tcp-"), "{error}");
    assert_eq!(namespace.pods("tcp").len(), 2, "none was drained");
}

fn node_is(events: &[EventKind], name: &str, is: NodeState) -> bool {
    events.iter().any(
        |event| matches!(event, EventKind::NodeChanged { node, state, .. } if node == name && *state == is),
    )
}

#[test]
fn an_autoscaler_that_is_not_there_is_named_with_those_that_are() {
    let namespace = Namespace::new("named");
    namespace.application("chat", 1);
    namespace.autoscaler("chat", 1, 2);
    let error = namespace.alone("chad").snapshot().unwrap_err().to_string();
    assert!(error.contains("no autoscaler chad; it has: chat"), "{error}");
    let alone = namespace.alone("chat").snapshot().unwrap();
    assert_eq!(alone.services.len(), 1);
}
