//! Uses objects recorded from a Kubernetes 1.34 API server (`tests/recorded`).

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use platform::PartKind;
use serde_json::{Value, json};

use super::*;

fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

fn workload(text: &str) -> WorkloadFacts {
    match read::<DynamicObject>(text).facts() {
        Object::Workload(workload) => *workload,
        other => panic!("{other:?}"),
    }
}

fn pod(change: impl Fn(&mut Value)) -> PodFacts {
    let mut value: Value = read(include_str!("../../tests/recorded/pod.json"));
    change(&mut value);
    match serde_json::from_value::<Pod>(value).unwrap().facts() {
        Object::Pod(pod) => *pod,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_workload_says_who_set_its_replicas() {
    let made = workload(include_str!("../../tests/recorded/deployment-made.json"));
    assert_eq!((made.replicas, made.writer), (1, Writer::Other("kubectl-client-side-apply".to_owned())));
    let scaled = workload(include_str!("../../tests/recorded/deployment-autoscaled.json"));
    assert_eq!((scaled.replicas, scaled.writer), (3, Writer::Autoscaler));
    let by_hand = workload(include_str!("../../tests/recorded/deployment-by-hand.json"));
    assert_eq!((by_hand.replicas, by_hand.writer), (4, Writer::Other("kubectl".to_owned())));
    assert_eq!((by_hand.kind.as_str(), by_hand.name.as_str()), ("Deployment", "chat-server"));
    assert_eq!(by_hand.selector.unwrap().to_string(), "app=chat-server");
}

#[test]
fn an_autoscaler_has_its_spec_its_status_and_its_words() {
    let hpa: HorizontalPodAutoscaler = read(include_str!("../../tests/recorded/hpa-limited.json"));
    let Object::Hpa(hpa) = hpa.facts() else { panic!("{hpa:?}") };
    assert_eq!((hpa.min, hpa.max, hpa.current, hpa.desired), (1, 10, 3, 3));
    assert_eq!(hpa.words(), "the desired replica count is increasing faster than the maximum scale rate");
    let spec = hpa.spec.as_ref().unwrap();
    assert_eq!(spec.metrics.len(), 2);
    assert!(spec.behavior.is_some());
    let proposals = crate::world::proposals(&hpa, clock::wall());
    assert_eq!(
        proposals.iter().map(|one| one.words.as_str()).collect::<Vec<_>>(),
        ["250 per pod of 100: wants 8", "50 % of the request, target 80 %: wants 2"]
    );
}

#[test]
fn a_pod_says_what_it_waits_for() {
    let running = pod(|_| {});
    assert!(running.is_ready() && running.deleting.is_none());
    assert_eq!((running.node.as_deref(), running.port), (Some("kwok-3"), Some(7000)));
    let crashing = pod(|value| {
        value["status"]["containerStatuses"] = json!([{
            "name": "app", "ready": false, "restartCount": 3, "image": "x", "imageID": "",
            "state": {"waiting": {"reason": "CrashLoopBackOff",
                "message": "back-off 40s restarting failed container=app pod=chat"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "containerID": "containerd://1",
                "finishedAt": "2026-11-28T08:51:40Z"}},
        }]);
        value["status"]["conditions"][1] =
            json!({"type": "Ready", "status": "False", "reason": "ContainersNotReady"});
    });
    assert_eq!(crashing.restarts(), 3);
    let ended = crashing.containers[0].ended.as_ref().unwrap();
    assert_eq!((ended.exit_code, ended.words.as_str()), (137, "OOMKilled (signal 9)"));
    assert!(crashing.why_not_ready().starts_with("app waits: CrashLoopBackOff: back-off 40s"));
    let unscheduled = pod(|value| {
        value["spec"]["nodeName"] = Value::Null;
        value["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]});
    });
    assert_eq!(unscheduled.why_not_ready(), "no node takes it: 0/3 nodes are available: 3 Insufficient cpu.");
    let evicted = pod(|value| {
        value["status"] =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."});
    });
    assert_eq!(evicted.why_not_ready(), "Evicted: The node was low on memory.");
}

#[test]
fn the_controllers_event_says_what_it_set() {
    let event: Event = read(include_str!("../../tests/recorded/rescaled.json"));
    let Object::Event(event) = event.facts() else { panic!("{event:?}") };
    assert_eq!((event.new_size(), event.count, event.about.as_str()), (Some(3), 1, "chat-hpa"));
    assert_eq!(EventFacts { reason: "Pulled".to_owned(), ..event }.new_size(), None);
}

#[test]
fn a_slice_and_a_node_say_who_takes_traffic_and_pods() {
    let slice: EndpointSlice = read(include_str!("../../tests/recorded/endpointslice.json"));
    let Object::Slice(slice) = slice.facts() else { panic!("{slice:?}") };
    assert_eq!(slice.endpoints.len(), 4);
    assert!(slice.endpoints.iter().all(|endpoint| endpoint.ready && !endpoint.draining));
    let node: Node = read(include_str!("../../tests/recorded/node.json"));
    let Object::Node(node) = node.facts() else { panic!("{node:?}") };
    assert_eq!((node.ready, node.schedulable, node.cpu_cores), (true, true, Some(8.0)));
}

#[test]
fn only_our_charts_labels_make_a_workload_a_part() {
    let part = |labels: Value| {
        let mut object: Value = read(include_str!("../../tests/recorded/deployment-made.json"));
        object["metadata"]["labels"] = labels;
        workload(&object.to_string()).part
    };
    let (name, of) = ("app.kubernetes.io/name", "app.kubernetes.io/part-of");
    assert_eq!(part(json!({(name): "kafka", (of): "playground"})), Some(PartKind::Kafka));
    assert_eq!(part(json!({(name): "tcp", (of): "playground"})), None, "a service");
    assert_eq!(part(json!({(name): "kafka", (of): "shop"})), None);
    assert_eq!(part(json!({(name): "kafka"})), None);
}
