//! A state file written for a manifest can be read back, and gives each metric its value from the status.

use autoscale::{
    explain::{Explanation, explain, of_status, state::State, template},
    manifest,
};

const HEAD: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: MIN
  maxReplicas: 20
  metrics:
  - {type: Pods, pods: {metric: {name: conns}, target: {type: AverageValue, averageValue: 5k}}}
  - {type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: 100}}}
  - {type: External, external: {metric: {name: lag}, target: {type: Value, value: 300m}}}
  - {type: Object, object: {describedObject: {kind: Ingress, name: i}, metric: {name: rps}, target: {type: Value, value: 1k}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
  - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 100Mi}}}
  - {type: ContainerResource, containerResource: {name: memory, container: proxy, target: {type: Utilization, averageUtilization: 60}}}
";

const STATUS: &str = "
status:
  currentReplicas: 4
  desiredReplicas: 4
  lastScaleTime: 2026-11-21T14:02:50Z
  currentMetrics:
  - {type: Resource, resource: {name: cpu, current: {averageUtilization: 57, averageValue: 285m}}}
  - {type: Pods, pods: {metric: {name: conns}, current: {averageValue: 7012}}}
  - {type: External, external: {metric: {name: queue}, current: {averageValue: 130}}}
  - {type: External, external: {metric: {name: lag}, current: {value: 250m}}}
  - {type: Object, object: {metric: {name: rps}, current: {value: 900}, describedObject: {kind: Ingress, name: i}}}
  - {type: ''}
  - {type: ContainerResource, containerResource: {name: memory, container: proxy, current: {averageUtilization: 33, averageValue: 44Mi}}}
";

fn explained(manifest: &str) -> (String, Explanation) {
    let manifest =
        manifest::read("hpa.yaml", manifest, true).unwrap_or_else(|error| panic!("{error}")).remove(0);
    let text = template(&manifest).expect("the spec is valid");
    let state = State::parse("state.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let case =
        state.case(&manifest.spec, 1_800_000_000_000).unwrap_or_else(|error| panic!("{error}\n{text}"));
    (text, explain(&case).expect("the spec is valid"))
}

#[test]
fn without_a_status_every_metric_stands_at_its_target() {
    for min in [1, 3] {
        let (text, explanation) = explained(&HEAD.replace("MIN", &min.to_string()));
        assert_eq!((explanation.current, explanation.desired), (min, min), "{text}");
        for metric in &explanation.metrics {
            assert!(metric.words.contains("within tolerance"), "{}: {}\n{text}", metric.metric, metric.words);
        }
    }
    let (text, explanation) = explained(&HEAD.replace("MIN", "0"));
    assert!(text.contains("settings: {scaleToZero: true}"), "{text}");
    assert_eq!(explanation.current, 0);
}

/// Only in a draft that a user edits may the target replace an unknown value.
#[test]
fn metrics_missing_from_a_status_have_no_value() {
    let read = |text: &str| manifest::read("hpa.yaml", text, true).expect("it is valid").remove(0);
    let metric = "  - {type: External, external: {metric: {name: lag}, current: {value: 250m}}}\n";
    let status = STATUS.replace(metric, "");
    let manifest = read(&(HEAD.replace("MIN", "1") + &status));
    let case = of_status(&manifest, 1_800_000_000_000).expect("it is valid").expect("it has a status");
    let explanation = explain(&case).expect("the spec is valid");
    let unknown: Vec<&str> = explanation
        .metrics
        .iter()
        .filter(|metric| metric.error.is_some())
        .map(|metric| metric.metric.as_str())
        .collect();
    assert_eq!(unknown, ["lag", "memory"]);
    assert_eq!(explanation.metrics[0].words, "7,012 per pod of 5k: wants 6");
    assert_eq!(of_status(&read(&HEAD.replace("MIN", "1")), 0), Ok(None));
}

#[test]
fn a_status_is_what_the_autoscaler_sees() {
    let (text, explanation) = explained(&(HEAD.replace("MIN", "1") + STATUS));
    assert!(text.contains("lastScale: 2026-11-21T14:02:50Z"), "{text}");
    assert_eq!((explanation.current, explanation.metrics.len()), (4, 7));
    let words: Vec<&str> = explanation.metrics.iter().map(|metric| metric.words.as_str()).collect();
    for (index, expected) in [
        (0, "7,012 per pod of 5k: wants 6"),
        (1, "130 per pod of 100: wants 6"),
        (2, "0.25 of 300m: wants 4"),
        (3, "900 of 1k: within tolerance"),
        (4, "57 % of the request, target 80 %: wants 3"),
        (5, "100Mi per pod of"),
        (6, "33 % of the request, target 60 %: wants 3"),
    ] {
        assert!(words[index].starts_with(expected), "{expected}: {}\n{text}", words[index]);
    }
    assert_eq!(text.matches("from status").count(), 6, "{text}");
    assert_eq!(text.matches("not in status").count(), 1, "{text}");
}

#[test]
fn a_count_in_transition_shows_both_counts() {
    let status = STATUS.replace("desiredReplicas: 4", "desiredReplicas: 6");
    let (text, explanation) = explained(&(HEAD.replace("MIN", "1") + &status));
    assert!(text.contains("replicas: 6 ") && text.contains("statusReplicas: 4\n"), "{text}");
    assert_eq!(explanation.current, 6);
}

#[test]
fn names_that_yaml_would_misread_are_quoted() {
    let odd = HEAD
        .replace("name: web}\n  min", "name: '1e'}\n  min")
        .replace("MIN", "3")
        .replace("container: proxy", "container: 'on'");
    let (text, explanation) = explained(&odd);
    assert!(text.contains("\"1e-0\"") && text.contains("\"on\""), "{text}");
    assert_eq!(explanation.metrics[0].pods[0].name, "1e-0");
}
