//! Small files that were once handled incorrectly.

use autoscale::{
    Direction,
    explain::{Counterfactual, Explanation, Text, explain, state},
    manifest,
};

fn explained(hpa: &str, state: &str) -> Explanation {
    let settings = state::State::parse("state.yaml", state).expect("the state is valid");
    let mut manifests = manifest::read("hpa.yaml", hpa, settings.settings().scale_to_zero)
        .unwrap_or_else(|error| panic!("{error}"));
    let case = settings.case(&manifests.remove(0).spec, 0).unwrap_or_else(|error| panic!("{error}"));
    explain(&case).expect("the spec is valid")
}

fn text(explanation: &Explanation) -> String {
    Text { explanation, instants: &() }.to_string()
}

#[test]
fn a_target_per_pod_for_a_total_names_the_total() {
    let (hpa, state) = (include_str!("cases/x2.hpa.yaml"), include_str!("cases/x2.state.yaml"));
    let explanation = explained(hpa, state);
    assert_eq!((explanation.current, explanation.desired), (10, 15));
    let words = text(&explanation);
    assert!(words.contains("s0-rabbitmq-jobs: 150 per pod of 100: wants 15"), "{words}");
    assert!(words.contains("scales up only while the total of s0-rabbitmq-jobs is above 1,100"), "{words}");
    assert!(words.contains("down to 9 when the total of s0-rabbitmq-jobs falls below 900"), "{words}");

    let explanation = explained(hpa, &state.replace("1500", "1000"));
    let words = text(&explanation);
    assert_eq!(explanation.desired, 10);
    assert!(words.contains("scales up to 12 when the total of s0-rabbitmq-jobs passes 1,100"), "{words}");
}

#[test]
fn numbers_are_read_as_kubernetes_reads_them() {
    let explanation = explained(include_str!("cases/oct.hpa.yaml"), include_str!("cases/oct.state.yaml"));
    assert_eq!(explanation.current, 8, "replicas: 010");
    let words = text(&explanation);
    assert!(words.contains("inflight: 14 per pod of 8: wants"), "{words}");
}

#[test]
fn the_first_unit_scales_up_from_zero_replicas() {
    for target in ["AverageValue, averageValue: 100", "Value, value: 100"] {
        let hpa = include_str!("cases/x2.hpa.yaml")
            .replace("minReplicas: 1", "minReplicas: 0")
            .replace("AverageValue, averageValue: \"100\"", target);
        let at = |value: &str| {
            explained(
                &hpa,
                &format!(
                    "{{now: 0, replicas: 0, metrics: [{{external: [{value}]}}], settings: {{scaleToZero: true}}}}"
                ),
            )
        };
        let explanation = at("0");
        assert_eq!(explanation.desired, 0);
        let up = explanation.what_would_change.iter().find_map(|change| match change {
            Counterfactual::Value { direction: Direction::Up, edge, to, at_once, beyond, .. } => {
                Some((*edge, *to, *at_once, *beyond))
            }
            _ => None,
        });
        assert_eq!(up, Some((0, 1, true, false)), "{target}");
        let words = text(&explanation);
        assert!(
            words.contains("scales up to 1 when the ") && words.contains(" of s0-rabbitmq-jobs passes 0\n"),
            "{words}"
        );
        for odd in ["NaN", "inf", "undefined"] {
            assert!(!words.contains(odd), "{words}");
        }
        assert_eq!(at("1").desired, 1, "{target}");
        assert!(text(&at("1")).contains(" of s0-rabbitmq-jobs is above 0\n"), "{}", text(&at("1")));
    }
}

#[test]
fn a_missing_request_names_pod_and_container() {
    let hpa = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 5
";
    let state = "
now: 0
replicas: 1
pods:
- name: web-0
  containers: [{name: app, requests: {cpu: 1}}, {name: sidecar}]
metrics: [{pods: {web-0: 500m}}]
";
    let explanation = explained(hpa, state);
    assert_eq!(explanation.desired, 1);
    for words in [&explanation.summary, &explanation.metrics[0].words, &text(&explanation)] {
        assert!(words.contains("missing request for cpu in container sidecar of Pod web-0"), "{words}");
    }
}

#[test]
fn ineffective_parts_of_a_target_are_noted() {
    let notes = |metric: &str, state: &str| {
        let hpa = format!(
            "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: a}}, spec: {{scaleTargetRef: \
             {{apiVersion: apps/v1, kind: Deployment, name: a}}, maxReplicas: 9, metrics: [{metric}]}}}}"
        );
        explained(&hpa, &format!("{{now: 0, replicas: 1, pods: [{{name: a}}], metrics: [{state}]}}")).notes
    };
    let external = |target: &str| {
        notes(
            &format!("{{type: External, external: {{metric: {{name: q}}, target: {{{target}}}}}}}"),
            "{external: [1]}",
        )
    };
    let object = |target: &str| {
        notes(
            &format!(
                "{{type: Object, object: {{describedObject: {{kind: K, name: main}}, metric: {{name: q}}, target: {{{target}}}}}}}"
            ),
            "{object: 1}",
        )
    };
    assert_eq!(external("type: AverageValue, averageValue: 5"), [""; 0]);
    assert_eq!(
        external("type: AverageValue, value: 5"),
        [
            "metrics[0].external.target.type AverageValue has no effect: External metrics go by which value is set, and value \
         is a target for the whole"
        ]
    );
    assert_eq!(
        object("type: Value, value: 5, averageValue: 6"),
        ["metrics[0].object.target.averageValue has no effect: value is what counts for this metric"]
    );
    assert_eq!(
        object("type: AverageValue, value: 5, averageValue: 6"),
        ["metrics[0].object.target.value has no effect: averageValue is what counts for this metric"]
    );
    assert!(object("type: AverageValue, value: 5")[0].contains("the metric has no target and always fails"));
    let pods = notes(
        "{type: Pods, pods: {metric: {name: q}, target: {type: Value, value: 5, averageValue: 6}}}",
        "{pods: {a: 1}}",
    );
    assert_eq!(pods.len(), 2, "{pods:?}");
}
