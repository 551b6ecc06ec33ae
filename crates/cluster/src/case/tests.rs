use serde_json::{Value, json};

use super::*;
use crate::facts::{Facts as _, Object};

fn hpa() -> HpaFacts {
    let text = include_str!("../../tests/recorded/hpa-limited.json");
    let hpa: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler = serde_json::from_str(text).unwrap();
    match hpa.facts() {
        Object::Hpa(facts) => *facts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_is_what_the_controller_sees_of_it() {
    let mut value: Value = serde_json::from_str(include_str!("../../tests/recorded/pod.json")).unwrap();
    value["spec"]["initContainers"] = json!([
        {"name": "mesh", "image": "m", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
        {"name": "setup", "image": "s"},
    ]);
    value["metadata"]["deletionTimestamp"] = json!("2026-11-28T09:00:00Z");
    let read = pod(&serde_json::from_value::<core::Pod>(value).unwrap());
    assert!(read.deleting && read.is_ready() && read.phase == Phase::Running);
    let started = read.started_ms.map(|ms| Timestamp::from_millisecond(ms).unwrap().to_string());
    assert_eq!(started.as_deref(), Some("2026-11-28T08:51:40Z"));
    let containers: Vec<_> = read
        .containers
        .iter()
        .map(|one| (&*one.name, one.kind, one.requests.get("cpu"), one.requests.get("memory")))
        .collect();
    let memory = Some(64 * 1024 * 1024 * 1000);
    assert_eq!(
        containers,
        [
            ("app", ContainerKind::Regular, Some(100), memory),
            ("mesh", ContainerKind::Sidecar, Some(50), None),
            ("setup", ContainerKind::Init, None, None),
        ]
    );
}

#[test]
fn the_controllers_memory_is_what_its_events_and_status_give_away() {
    let now: Timestamp = "2026-11-28T09:00:00Z".parse().unwrap();
    let said = |to: u32, ago_s: i64| EventFacts {
        name: String::new(),
        count: 1,
        kind: String::new(),
        about: String::new(),
        reason: "SuccessfulRescale".to_owned(),
        reporter: String::new(),
        message: format!("New size: {to}; reason: test"),
        is_warning: false,
        last: now.checked_sub(SignedDuration::from_secs(ago_s)).ok(),
    };
    let mut hpa = hpa();
    let events = [said(9, 7_200), said(2, 3_600), said(5, 60), said(4, 30)];
    let known = memory(&hpa, &events, now);
    let changes = |events: &[ScaleEvent]| {
        events
            .iter()
            .map(|event| (event.change, (now.as_millisecond() - event.at_ms) / 1000))
            .collect::<Vec<_>>()
    };
    assert_eq!(changes(&known.scale_ups), [(3, 60)]);
    assert_eq!(changes(&known.scale_downs), [(1, 30)], "the one an hour ago limits nothing any more");
    assert!(known.recommendations.is_empty());
    for condition in &mut hpa.conditions {
        if condition.kind == "AbleToScale" {
            condition.reason = "ScaleDownStabilized".to_owned();
        }
    }
    let held = Recommendation { replicas: 3, at_ms: now.as_millisecond() };
    assert_eq!(memory(&hpa, &[], now).recommendations, [held]);
}

#[test]
fn the_controllers_reports_are_quoted() {
    let reported = status_words(&hpa(), clock::wall());
    assert_eq!((reported.current, reported.desired), (3, 3));
    assert_eq!(reported.metrics[0], "http_requests 250 per pod of 100: wants 8");
    assert_eq!(reported.conditions["ScalingLimited"][1], "ScaleUpLimit");
    let status = status(&hpa());
    assert_eq!(status.conditions.scaling_limited.unwrap().reason, ConditionReason::ScaleUpLimit);
}
