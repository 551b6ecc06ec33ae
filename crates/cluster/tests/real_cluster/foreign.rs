//! Autoscalers by metrics that are not of pods, and of what is no Deployment.

use autoscale::explain;
use platform::{EventKind, Target as _, target::ReplicaPhase};
use serde_json::{Value, json};

use crate::{
    reading,
    world::{Namespace, Watched, until},
};

/// What the time line says of a change, up and down: who, and why.
fn changes(watched: &Watched) -> Vec<(u32, u32, String, String)> {
    let events = watched.events();
    let changes = events.into_iter().filter_map(|event| match event.kind {
        EventKind::DesiredChanged { from, to, reason, explanation, .. } => {
            Some((from, to, reason, explanation))
        }
        _ => None,
    });
    changes.collect()
}

fn reaches(watched: &Watched, replicas: u32) {
    watched.until(&format!("{replicas} replicas"), |events| {
        events.iter().any(|event| matches!(event, EventKind::DesiredChanged { to, .. } if *to == replicas))
    });
}

/// Our engine, shown what the APIs say, decides as the controller did.
fn explained(namespace: &Namespace, service: &str, replicas: i32) -> explain::Explanation {
    let target = namespace.admin();
    until(&format!("both say {replicas}"), || {
        let reported = target.reported(service).unwrap().unwrap();
        let explanation = explain::explain(&target.autoscaler(service).unwrap()).unwrap();
        assert_eq!(reported.unread, Vec::<String>::new());
        let theirs = (i64::from(reported.current), i64::from(reported.desired));
        let ours = (i64::from(explanation.current), i64::from(explanation.desired));
        (theirs == ours && ours == (replicas.into(), replicas.into())).then_some(explanation)
    })
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name})
}

/// The rights of the documentation, and those to these metrics.
fn reading_too(more: &Value) -> Value {
    let mut rules = reading();
    rules.as_array_mut().unwrap().extend(more.as_array().unwrap().iter().cloned());
    rules
}

#[test]
fn metrics_of_an_object_and_of_its_namespace_decide_and_are_explained() {
    let namespace = Namespace::new("object");
    namespace.application("chat", 1);
    namespace.load("services/chat", 10_000);
    namespace.load("namespace", 10_000);
    let of = |kind: &str, name: &str, target: Value| {
        json!({"type": "Object", "object": {"metric": {"name": "requests"},
            "describedObject": {"apiVersion": "v1", "kind": kind, "name": name}, "target": target}})
    };
    let metrics = json!([
        of("Service", "chat", json!({"type": "Value", "value": "100"})),
        of("Namespace", namespace.name(), json!({"type": "AverageValue", "averageValue": "100"})),
    ]);
    // The value of the Service is multiplied by the ready pods: with three of them and still 300, it would be 9.
    namespace.autoscaler_of("chat", &deployment("chat"), &metrics, 1, 3);
    let rights = json!([{"apiGroups": ["custom.metrics.k8s.io"],
        "resources": ["services/requests", "metrics"], "verbs": ["get"]}]);
    let target = namespace.account("reader", &reading_too(&rights), true);
    let watched = Watched::new(&target);

    // By the value of the Service: 3 times the target.
    namespace.load("services/chat", 300_000);
    reaches(&watched, 3);
    namespace.settled("chat", 3);
    // Three pods do not change the value of the Service, so it is made what the target is.
    namespace.load("services/chat", 100_000);
    explained(&namespace, "chat", 3);
    namespace.autoscaler_of("chat", &deployment("chat"), &metrics, 1, 6);
    // By the namespace's, divided by the pods.
    namespace.load("namespace", 520_000);
    reaches(&watched, 6);
    namespace.settled("chat", 6);
    let explanation = explained(&namespace, "chat", 6);
    assert!(explanation.error.is_none(), "{explanation:?}");
    assert_eq!(explanation.metrics.len(), 2, "{explanation:?}");
    let snapshot = target.snapshot().unwrap();
    assert_eq!(snapshot.problems, Vec::<String>::new());
    let metrics = &snapshot.services[0].autoscaler.as_ref().unwrap().metrics;
    assert_eq!(metrics.len(), 2, "{metrics:?}");
    // Our account reads what it may; without the right it is named.
    assert_eq!(target.reported("chat").unwrap().unwrap().unread, Vec::<String>::new());
    let stranger = namespace.account("stranger", &reading(), false);
    let unread = stranger.reported("chat").unwrap().unwrap().unread;
    assert!(unread.len() == 2 && unread[0].contains("services.custom.metrics.k8s.io"), "{unread:?}");
    as_the_controller(&namespace, &watched, "chat", "requests");
}

/// Each change has the controller's reason and words of ours about the metric.
fn as_the_controller(namespace: &Namespace, watched: &Watched, hpa: &str, metric: &str) {
    let said: Vec<String> = namespace.rescales(hpa).into_iter().map(|(message, _)| message).collect();
    let told = changes(watched);
    assert_eq!(told.iter().map(|one| one.2.clone()).collect::<Vec<_>>(), said);
    for (from, to, _, explanation) in &told {
        assert!(explanation.contains(metric), "{from} → {to}: {explanation}");
    }
    let warnings = watched.warnings();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_metric_from_outside_the_cluster_decides_and_is_explained() {
    let namespace = Namespace::new("external");
    namespace.application("chat", 1);
    namespace.load("queue", 10_000);
    let metrics = json!([{"type": "External", "external": {"metric": {"name": "queue"},
        "target": {"type": "AverageValue", "averageValue": "100"}}}]);
    namespace.autoscaler_of("chat", &deployment("chat"), &metrics, 1, 6);
    let rights =
        json!([{"apiGroups": ["external.metrics.k8s.io"], "resources": ["queue"], "verbs": ["list"]}]);
    let target = namespace.account("reader", &reading_too(&rights), true);
    let watched = Watched::new(&target);
    // With the 50 of the second series 400.
    namespace.load("queue", 350_000);
    reaches(&watched, 4);
    namespace.settled("chat", 4);
    assert!(explained(&namespace, "chat", 4).error.is_none());
    assert_eq!(target.reported("chat").unwrap().unwrap().unread, Vec::<String>::new());
    let autoscaler = target.snapshot().unwrap().services.remove(0).autoscaler.unwrap();
    assert!(autoscaler.metrics[0].starts_with("queue: "), "{:?}", autoscaler.metrics);
    namespace.load("queue", 10_000);
    reaches(&watched, 1);
    namespace.settled("chat", 1);
    explained(&namespace, "chat", 1);
    as_the_controller(&namespace, &watched, "chat", "queue");
}

/// An operator's kind, whose scale is not where a Deployment has its own.
fn rooms() -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rooms.lab.example.com"},
        "spec": {"group": "lab.example.com", "scope": "Namespaced",
            "names": {"kind": "Room", "plural": "rooms", "singular": "room"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size",
                    "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.picks"}}}]}})
}

#[test]
fn a_custom_resource_is_followed_by_its_scale() {
    let namespace = Namespace::new("operator");
    namespace.put_for_all(&rooms());
    until("the kind to be served", || {
        namespace.try_put(
            &json!({"apiVersion": "lab.example.com/v1", "kind": "Room", "metadata": {"name": "room"},
            "spec": {"size": 1}}),
        )
    });
    // The test is the operator: a Deployment of the pods, and the status.
    namespace.application("pods-of-room", 1);
    let status = |size: i32| {
        namespace.status(
            "lab.example.com/v1",
            "Room",
            "room",
            &json!({"size": size, "picks": "app=pods-of-room"}),
        );
    };
    status(1);
    let metrics = json!([{"type": "Pods", "pods": {"metric": {"name": "load"},
        "target": {"type": "AverageValue", "averageValue": "100"}}}]);
    let target = json!({"apiVersion": "lab.example.com/v1", "kind": "Room", "name": "room"});
    namespace.autoscaler_of("room", &target, &metrics, 1, 6);

    let rights = json!([{"apiGroups": ["lab.example.com"], "resources": ["rooms", "rooms/scale"],
        "verbs": ["get", "list", "watch"]}]);
    let reader = namespace.account_for("reader", &reading_too(&rights), "room");
    let watched = Watched::new(&reader);
    namespace.load("pods-of-room", 250_000);
    reaches(&watched, 3);
    // Before there are more pods: with 250 for each of three, more would be asked for.
    namespace.load("pods-of-room", 100_000);
    namespace.replicas("pods-of-room", 3);
    namespace.settled("pods-of-room", 3);
    status(3);
    assert!(explained(&namespace, "room", 3).error.is_none());
    let snapshot = reader.snapshot().unwrap();
    assert_eq!(snapshot.problems, Vec::<String>::new());
    let [room] = snapshot.services.as_slice() else { panic!("{:?}", snapshot.services) };
    assert_eq!((room.name.as_str(), room.desired, room.replicas.len()), ("room", 3, 3));
    assert!(room.replicas.iter().all(|replica| replica.phase == ReplicaPhase::Ready));
    as_the_controller(&namespace, &watched, "room", "load");

    // By hand.
    let scaled = namespace.alone("room").scale("room", 2).unwrap();
    assert_eq!((scaled.from, scaled.to), (3, 2));
    watched.until("2 by hand", |events| {
        events.iter().any(|event| matches!(event, EventKind::ReplicasSet { from: 3, to: 2, .. }))
    });

    // Who may not read the scale is told so, and goes by what the autoscaler says.
    let some = json!([{"apiGroups": ["lab.example.com"], "resources": ["rooms"], "verbs": ["get", "list", "watch"]}]);
    let partial = namespace.account_for("partial", &reading_too(&some), "room");
    let snapshot = partial.snapshot().unwrap();
    let problems = snapshot.problems.join("\n");
    assert!(problems.contains("rooms.lab.example.com") && problems.contains("scale"), "{problems}");
}
