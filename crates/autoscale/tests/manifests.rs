//! Reading manifests: accepts what the API server accepts, and refuses what it refuses, with the path.

use autoscale::manifest::{read, read_each};

const TCP: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: tcp
  namespace: playground
  labels: {app: tcp}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tcp}
  maxReplicas: 5
  metrics:
    - type: Pods
      pods:
        metric: {name: tcp_state_established}
        target: {type: AverageValue, averageValue: 5k}
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: 45
      policies: [{type: Pods, value: 1, periodSeconds: 30}]
";

fn error(text: &str) -> String {
    read("hpa.yaml", text, false).expect_err("to be refused").to_string()
}

#[test]
fn reads_a_manifest_and_defaults_it_as_the_api_server_does() {
    let manifests = read("hpa.yaml", TCP, false).unwrap();
    let [manifest] = manifests.as_slice() else { panic!("{manifests:?}") };
    assert_eq!((manifest.name.as_str(), manifest.namespace.as_deref()), ("tcp", Some("playground")));
    assert_eq!(manifest.target.name, "tcp");
    let spec = manifest.spec.defaulted();
    assert_eq!(spec.min_replicas, Some(1));
    let behavior = spec.behavior.as_ref().unwrap();
    let up = behavior.scale_up.as_ref().unwrap();
    assert_eq!(up.policies.as_ref().map(Vec::len), Some(2));
    assert_eq!(behavior.scale_down.as_ref().unwrap().stabilization_window_seconds, Some(45));
    assert_eq!(spec.defaulted(), spec);
    let nulls = TCP.replace("maxReplicas: 5", "maxReplicas: 5\n  minReplicas: null");
    assert_eq!(read("hpa.yaml", &nulls, false).unwrap()[0].spec, manifest.spec);
}

#[test]
fn reads_lists_documents_and_json() {
    let item = r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"a","uid":"1",
        "annotations":{"x":"y"}},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"a","apiVersion":"apps/v1"},
        "maxReplicas":3},"status":{"currentReplicas":1,"desiredReplicas":1,"currentMetrics":null,"conditions":[]}}"#;
    let list = format!(
        r#"{{"apiVersion":"v1","kind":"List","items":[{item},{item}],"metadata":{{"resourceVersion":""}}}}"#
    );
    let both = read("hpa.yaml", &list, false).unwrap();
    assert_eq!(both.len(), 2);
    assert!(both[0].status.is_some());
    let documents =
        format!("{TCP}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: tcp}}\n---\n{item}\n---\n");
    assert_eq!(read("hpa.yaml", &documents, false).unwrap().len(), 2);
    let typed = "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscalerList, items: [{metadata: {name: a}, spec: \
                 {scaleTargetRef: {apiVersion: apps/v1, kind: D, name: a}, maxReplicas: 3}}]}";
    assert_eq!(read("hpa.yaml", typed, false).unwrap()[0].name, "a");
}

#[test]
fn misspelt_keys_are_named_with_their_path_and_the_key_that_was_meant() {
    let text = error(&TCP.replace("maxReplicas", "maxReplica"));
    assert_eq!(
        text,
        "hpa.yaml:10:3: HorizontalPodAutoscaler playground/tcp: spec.maxReplica: unknown key; did you mean maxReplicas?"
    );
    let text = error(&TCP.replace("averageValue: 5k", "avergeValue: 5k"));
    assert!(
        text.contains("spec.metrics[0].pods.target.avergeValue: unknown key; did you mean averageValue?"),
        "{text}"
    );
    let text = error(&TCP.replace("  labels", "  label"));
    assert!(
        text.contains("hpa.yaml:7:3: ") && text.contains("metadata.label: unknown key; did you mean labels?"),
        "{text}"
    );
    let text = error(&TCP.replace("\nspec:", "\nspecs:"));
    assert!(
        text.contains("hpa.yaml:8:1: ") && text.contains("specs: unknown key; did you mean spec?"),
        "{text}"
    );
}

fn refused(cases: &[(&str, &str, &str)]) {
    for (from, to, expected) in cases {
        assert!(TCP.contains(from), "{from}");
        let text = error(&TCP.replace(from, to));
        assert!(text.contains(expected), "{to}: {text}");
    }
}

#[test]
fn a_spec_that_the_api_server_refuses_is_refused_with_its_reason() {
    refused(&[
        ("maxReplicas: 5", "maxReplicas: 0", "spec.maxReplicas: invalid value `0`: must be greater than 0"),
        (
            "maxReplicas: 5",
            "maxReplicas: 5\n  minReplicas: 6",
            "must be greater than or equal to `minReplicas`",
        ),
        ("maxReplicas: 5", "maxReplicas: 5\n  minReplicas: 0", "spec.minReplicas: invalid value `0`"),
        (
            "averageValue: 5k",
            "averageValue: -5k",
            "target.averageValue: invalid value `-5k`: must be positive",
        ),
        ("averageValue: 5k", "averageValue: 5K", "`5K` is not a quantity"),
        ("averageValue: 5k", "value: 5k", "must specify a positive target averageValue"),
        ("averageUtilization: 80", "averageUtilization: 0", "must be greater than 0"),
        ("averageUtilization: 80", "averageValue: 1, averageUtilization: 80", "may not set both"),
        (
            "type: Utilization, averageU",
            "type: Percent, averageU",
            "must be either Utilization, Value, or AverageValue",
        ),
        ("- type: Pods", "- type: Pod", "spec.metrics[0].type: invalid value `Pod`: supported values"),
        ("- type: Pods", "- type: Object", "spec.metrics[0].object: must populate information"),
        ("WindowSeconds: 45", "WindowSeconds: 3601", "must be less than or equal to 3600"),
        ("periodSeconds: 30", "periodSeconds: 1801", "policies[0].periodSeconds: invalid value `1801`"),
        ("value: 1,", "value: 0,", "policies[0].value: invalid value `0`: must be greater than zero"),
        (
            "policies: [{type: Pods, value: 1, periodSeconds: 30}]",
            "policies: []",
            "must specify at least one Policy",
        ),
        ("name: tcp_state_established", "name: a/b", "may not contain '/'"),
        ("kind: Deployment, ", "", "scaleTargetRef.kind: required"),
    ]);
}

#[test]
fn metadata_that_the_api_server_refuses_are_refused_with_its_reason() {
    refused(&[
        ("  name: tcp\n", "", "metadata.name: name or generateName is required"),
        ("  name: tcp\n", "  name: ''\n", "metadata.name: name or generateName is required"),
        (
            "  name: tcp\n",
            "  name: Tcp_0\n",
            "metadata.name: invalid value `Tcp_0`: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
             characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex \
             used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            "  name: tcp\n",
            "  generateName: tcp_\n",
            "metadata.generateName: invalid value `tcp_`: a lowercase RFC 1123",
        ),
        ("  name: tcp\n", "  name: 5\n", "metadata.name: expected text in quotes, got 5"),
        (
            "labels: {app: tcp}",
            "labels: {version: 1.0}",
            "metadata.labels.version: expected text in quotes, got 1",
        ),
        (
            "labels: {app: tcp}",
            "annotations: {on: '', keep: yes}",
            "metadata.annotations.keep: expected text in quotes, got true",
        ),
        (
            "labels: {app: tcp}",
            "labels: {app: a b}",
            "metadata.labels: invalid value `a b`: a valid label must be",
        ),
        (
            "labels: {app: tcp}",
            "labels: {-app: a}",
            "metadata.labels: invalid value `-app`: name part must consist of",
        ),
        (
            "apps/v1, ",
            "v1, ",
            "scaleTargetRef.apiVersion: invalid value `v1`: apiVersion must specify API group",
        ),
        (
            "apiVersion: apps/v1, ",
            "",
            "scaleTargetRef.apiVersion: invalid value ``: apiVersion must specify API group",
        ),
        (
            "apps/v1, ",
            "a/b/c, ",
            "scaleTargetRef.apiVersion: invalid value `a/b/c`: unexpected GroupVersion string: a/b/c",
        ),
        ("maxReplicas: 5", "minReplicas: 1", "spec.maxReplicas: invalid value `0`: must be greater than 0"),
        (
            "maxReplicas: 5",
            "maxReplicas: null",
            "spec.maxReplicas: invalid value `0`: must be greater than 0",
        ),
        (
            "namespace: playground",
            "namespace: Play",
            "metadata.namespace: invalid value `Play`: a lowercase RFC 1123 label must consist of lower case alphanumeric \
             characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
             regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            "namespace: playground",
            "namespace: a.b",
            "metadata.namespace: invalid value `a.b`: must not contain dots",
        ),
    ]);
}

#[test]
fn names_have_length_limits() {
    let named = |length: usize| TCP.replace("  name: tcp\n", &format!("  name: {}\n", "a".repeat(length)));
    assert!(read("hpa.yaml", &named(253), false).is_ok());
    assert!(error(&named(254)).contains("must be no more than 253 characters"));
    let placed = |length: usize| TCP.replace("playground", &"a".repeat(length));
    assert!(read("hpa.yaml", &placed(63), false).is_ok());
    assert!(error(&placed(64)).contains("must be no more than 63 characters"));
}

#[test]
fn a_name_may_be_generated_and_a_namespace_left_out() {
    let text =
        TCP.replace("  name: tcp\n", "  generateName: tcp-\n").replace("  namespace: playground\n", "");
    let manifests = read("hpa.yaml", &text, false).unwrap();
    assert_eq!((manifests[0].name.as_str(), manifests[0].namespace.as_deref()), ("tcp-", None));
}

#[test]
fn an_invalid_autoscaler_leaves_the_others_alone() {
    let wrong = TCP.replace("maxReplicas: 5", "maxReplicas: 0").replace("  name: tcp\n", "  name: udp\n");
    let entries = read_each("hpa.yaml", &format!("{wrong}---{TCP}"), false).unwrap();
    let [udp, tcp] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(
        (udp.qualified_name().as_str(), tcp.qualified_name().as_str()),
        ("playground/udp", "playground/tcp")
    );
    assert!(tcp.manifest.is_ok());
    let error = udp.manifest.as_ref().expect_err("maxReplicas").to_string();
    assert!(
        error.starts_with("hpa.yaml:10:3: HorizontalPodAutoscaler playground/udp: spec.maxReplicas"),
        "{error}"
    );
    assert!(read("hpa.yaml", &format!("{wrong}---{TCP}"), false).is_err());
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(
        read("hpa.yaml", &format!("\u{feff}{}", TCP.trim_start()), false),
        read("hpa.yaml", TCP, false)
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = error(&TCP.replace("maxReplicas: 5", "maxReplicas: 0").replace("5k", "0"));
    assert!(text.contains("maxReplicas") && text.contains("averageValue"), "{text}");
}

#[test]
fn scale_to_zero_needs_its_gate_and_a_metric_that_exists_without_pods() {
    let zero = TCP.replace("maxReplicas: 5", "maxReplicas: 5\n  minReplicas: 0");
    let text = read("hpa.yaml", &zero, true).expect_err("only Pods and Resource metrics").to_string();
    assert!(text.contains("must specify at least one Object or External metric"), "{text}");
}

#[test]
fn files_without_autoscalers_and_old_versions_are_told_apart() {
    let none = |text: &str| read("hpa.yaml", text, false).expect_err("no autoscaler").to_string();
    assert!(none("").ends_with("no HorizontalPodAutoscaler in it; it is empty"));
    assert!(none("a: 1").ends_with("no object in it has a kind"));
    let others: Vec<String> = ('A'..='Z').map(|kind| format!("{{kind: {kind}, apiVersion: v1}}\n")).collect();
    assert!(none(&others.join("---\n")).ends_with("it has objects of other kinds: A, B, C, D, E"));
    assert!(none("{kind: ScaledObject, apiVersion: keda.sh/v1alpha1}").ends_with("kubectl get hpa -o yaml"));
    let text = error(&TCP.replace("autoscaling/v2", "autoscaling/v3"));
    assert!(
        text.starts_with("hpa.yaml:2:1: ") && text.contains("expected autoscaling/v2 (or autoscaling/v1"),
        "{text}"
    );
    assert!(
        error(&format!("{TCP}  maxReplicas: 6\n"))
            .contains("hpa.yaml:22:3: the key maxReplicas is given twice")
    );
    assert!(error("a: [").starts_with("hpa.yaml:2:1: not YAML: "));
    assert!(error("[1, 2]").contains("expected an object"));
    assert!(error("{kind: List, items: 1}").contains("hpa.yaml:1:14: items: a List needs a list of items"));
}

#[test]
fn numbers_anchors_and_merge_keys_mean_what_they_mean_to_kubernetes() {
    let text = "
x-target: &target {type: AverageValue, averageValue: 010}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: &metadata {name: tcp}
spec:
  scaleTargetRef: {<<: *metadata, apiVersion: apps/v1, kind: Deployment}
  maxReplicas: 0x1F
  minReplicas: 1_0
  metrics:
  - {type: Pods, pods: {metric: {name: a}, target: *target}}
  - {type: Pods, pods: {metric: {name: b}, target: {<<: *target, averageValue: 1e3}}}
  - {type: Pods, pods: {metric: {name: c}, target: {type: AverageValue, averageValue: '010'}}}
";
    let manifest = read("hpa.yaml", text, false).unwrap().remove(0);
    assert_eq!(manifest.target.name, "tcp");
    assert_eq!((manifest.spec.min_replicas, manifest.spec.max_replicas), (Some(10), 31));
    let targets: Vec<i64> = manifest
        .spec
        .metrics
        .iter()
        .map(|metric| metric.pods.as_ref().unwrap().target.average_value.as_ref().unwrap().milli())
        .collect();
    assert_eq!(targets, [8_000, 1_000_000, 10_000]);
}

#[test]
fn an_error_in_a_list_names_the_line_of_its_item() {
    let item = |name: &str, max: i32| {
        format!(
            "- apiVersion: autoscaling/v2\n  kind: HorizontalPodAutoscaler\n  metadata: {{name: {name}}}\n  spec:\n    \
             scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: a}}\n    maxReplicas: {max}\n"
        )
    };
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}{}", item("a", 3), item("b", 0));
    assert!(
        error(&list).starts_with("hpa.yaml:15:5: HorizontalPodAutoscaler b: spec.maxReplicas"),
        "{}",
        error(&list)
    );
}

#[test]
fn version_1_is_converted_to_version_2() {
    let old = "
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata:
  name: tcp
  annotations:
    autoscaling.alpha.kubernetes.io/metrics: '[{\"type\":\"Object\",\"object\":{\"target\":{\"kind\":\"Ingress\",\"name\":\"main\"},
      \"metricName\":\"rps\",\"targetValue\":\"0\",\"averageValue\":\"10\"}},{\"type\":\"External\",\"external\":{\"metricName\":\"queue\",
      \"metricSelector\":{\"matchLabels\":{\"a\":\"b\"}},\"targetValue\":\"30\"}},{\"type\":\"Pods\",\"pods\":{\"metricName\":\"p\",
      \"targetAverageValue\":\"5\"}}]'
    autoscaling.alpha.kubernetes.io/behavior: '{\"ScaleUp\":{\"StabilizationWindowSeconds\":0,\"SelectPolicy\":\"Max\",
      \"Policies\":[{\"Type\":\"Pods\",\"Value\":1,\"PeriodSeconds\":30}]},\"ScaleDown\":null}'
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tcp}
  maxReplicas: 5
  targetCPUUtilizationPercentage: 60
status: {currentReplicas: 2, desiredReplicas: 2, currentCPUUtilizationPercentage: 57}
";
    let new = TCP
        .split_once("  metrics:")
        .map(|(head, _)| head.replace("  labels: {app: tcp}\n", "").replace("  namespace: playground\n", ""))
        .unwrap()
        + "  metrics:
  - {type: Object, object: {describedObject: {kind: Ingress, name: main}, metric: {name: rps}, target: {type: AverageValue, averageValue: 10}}}
  - {type: External, external: {metric: {name: queue, selector: {matchLabels: {a: b}}}, target: {type: Value, value: 30}}}
  - {type: Pods, pods: {metric: {name: p}, target: {type: AverageValue, averageValue: 5}}}
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}
  behavior: {scaleUp: {stabilizationWindowSeconds: 0, selectPolicy: Max, policies: [{type: Pods, value: 1, periodSeconds: 30}]}}
";
    let (old, new) = (read("old.yaml", old, false).unwrap(), read("new.yaml", &new, false).unwrap());
    assert_eq!(old[0].spec, new[0].spec);
    let status = old[0].status.as_ref().unwrap();
    assert_eq!(status["currentMetrics"][0]["resource"]["current"]["averageUtilization"], 57);

    let bare = "{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {scaleTargetRef: \
                {apiVersion: apps/v1, kind: Deployment, name: a}, maxReplicas: 3}}";
    let spec = read("old.yaml", bare, false).unwrap().remove(0).spec.defaulted();
    assert_eq!(spec.metrics[0].resource.as_ref().unwrap().target.average_utilization, Some(80));
    let text = error(&bare.replace("maxReplicas: 3", "maxReplicas: 3, metrics: []"));
    assert!(
        text.contains(
            "spec.metrics: unknown key in autoscaling/v1; metrics needs apiVersion: autoscaling/v2"
        ),
        "{text}"
    );
    let beta = TCP.replace("autoscaling/v2", "autoscaling/v2beta2");
    assert_eq!(
        read("hpa.yaml", &beta, false).unwrap()[0].spec,
        read("hpa.yaml", TCP, false).unwrap()[0].spec
    );
    let beta = TCP
        .replace("autoscaling/v2", "autoscaling/v2beta1")
        .replace("metric: {name: tcp_state_established}", "metricName: tcp_state_established")
        .replace("target: {type: AverageValue, averageValue: 5k}", "targetAverageValue: 5k")
        .replace("target: {type: Utilization, averageUtilization: 80}", "targetAverageUtilization: 80");
    assert_eq!(
        read("hpa.yaml", &beta, false).unwrap()[0].spec,
        read("hpa.yaml", TCP, false).unwrap()[0].spec
    );
}
