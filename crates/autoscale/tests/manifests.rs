//! Reading manifests: what the API server takes is taken, what it refuses is refused with the path.

use autoscale::manifest::{ManifestError, read, read_each};

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
    read(text, false).expect_err("to be refused").to_string()
}

#[test]
fn reads_a_manifest_and_defaults_it_as_the_api_server_does() {
    let manifests = read(TCP, false).unwrap();
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
    assert_eq!(read(&nulls, false).unwrap()[0].spec, manifest.spec);
}

#[test]
fn reads_lists_documents_and_json() {
    let item = r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"a","uid":"1",
        "annotations":{"x":"y"}},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"a","apiVersion":"apps/v1"},
        "maxReplicas":3},"status":{"currentReplicas":1,"desiredReplicas":1,"currentMetrics":null,"conditions":[]}}"#;
    let list = format!(
        r#"{{"apiVersion":"v1","kind":"List","items":[{item},{item}],"metadata":{{"resourceVersion":""}}}}"#
    );
    let both = read(&list, false).unwrap();
    assert_eq!(both.len(), 2);
    assert!(both[0].status.is_some());
    let documents =
        format!("{TCP}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: tcp}}\n---\n{item}\n---\n");
    assert_eq!(read(&documents, false).unwrap().len(), 2);
    let typed = "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscalerList, items: [{metadata: {name: a}, spec: \
                 {scaleTargetRef: {kind: D, name: a}, maxReplicas: 3}}]}";
    assert_eq!(read(typed, false).unwrap()[0].name, "a");
}

#[test]
fn misspelt_keys_are_named_with_their_path_and_the_key_that_was_meant() {
    let text = error(&TCP.replace("maxReplicas", "maxReplica"));
    assert!(
        text.contains("spec: unknown field `maxReplica`") || text.contains("did you mean `maxReplicas`?"),
        "{text}"
    );
    let text = error(&TCP.replace("averageValue: 5k", "avergeValue: 5k"));
    assert!(text.contains("spec.metrics[0].pods.target"), "{text}");
    assert!(text.contains("did you mean `averageValue`?"), "{text}");
}

#[test]
fn what_the_api_server_refuses_is_refused_with_its_reason() {
    let cases = [
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
        ("  name: tcp\n", "  name: 5\n", "metadata.name: invalid value `5`: must be a string"),
        (
            "namespace: playground",
            "namespace: Play",
            "metadata.namespace: invalid value `Play`: a lowercase RFC 1123 label must consist of lower case alphanumeric \
             characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name', or '123-abc', \
             regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            "namespace: playground",
            "namespace: a.b",
            "metadata.namespace: invalid value `a.b`: must not contain dots",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(TCP.contains(from), "{from}");
        let text = error(&TCP.replace(from, to));
        assert!(text.contains(expected), "{to}: {text}");
    }
}

#[test]
fn names_have_their_lengths() {
    let named = |length: usize| TCP.replace("  name: tcp\n", &format!("  name: {}\n", "a".repeat(length)));
    assert!(read(&named(253), false).is_ok());
    assert!(error(&named(254)).contains("must be no more than 253 characters"));
    let placed = |length: usize| TCP.replace("playground", &"a".repeat(length));
    assert!(read(&placed(63), false).is_ok());
    assert!(error(&placed(64)).contains("must be no more than 63 characters"));
}

#[test]
fn a_name_may_be_generated_and_a_namespace_left_out() {
    let text =
        TCP.replace("  name: tcp\n", "  generateName: tcp-\n").replace("  namespace: playground\n", "");
    let manifests = read(&text, false).unwrap();
    assert_eq!((manifests[0].name.as_str(), manifests[0].namespace.as_deref()), ("tcp-", None));
}

#[test]
fn one_that_is_invalid_leaves_the_others_alone() {
    let wrong = TCP.replace("maxReplicas: 5", "maxReplicas: 0").replace("  name: tcp\n", "  name: udp\n");
    let entries = read_each(&format!("{wrong}---{TCP}"), false).unwrap();
    let [udp, tcp] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(
        (udp.qualified_name().as_str(), tcp.qualified_name().as_str()),
        ("playground/udp", "playground/tcp")
    );
    assert!(tcp.manifest.is_ok());
    let error = udp.manifest.as_ref().expect_err("maxReplicas").to_string();
    assert!(error.starts_with("HorizontalPodAutoscaler playground/udp: spec.maxReplicas"), "{error}");
    assert!(read(&format!("{wrong}---{TCP}"), false).is_err());
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(read(&format!("\u{feff}{}", TCP.trim_start()), false), read(TCP, false));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = error(&TCP.replace("maxReplicas: 5", "maxReplicas: 0").replace("5k", "0"));
    assert!(text.contains("maxReplicas") && text.contains("averageValue"), "{text}");
}

#[test]
fn scale_to_zero_needs_its_gate_and_a_metric_that_exists_without_pods() {
    let zero = TCP.replace("maxReplicas: 5", "maxReplicas: 5\n  minReplicas: 0");
    let text = read(&zero, true).expect_err("only Pods and Resource metrics").to_string();
    assert!(text.contains("must specify at least one Object or External metric"), "{text}");
}

#[test]
fn files_without_autoscalers_and_old_versions_are_told_apart() {
    assert_eq!(read("", false), Err(ManifestError::None { skipped: 0 }));
    assert_eq!(read("{kind: Service, apiVersion: v1}", false), Err(ManifestError::None { skipped: 1 }));
    assert!(error(&TCP.replace("autoscaling/v2", "autoscaling/v1")).contains("expected autoscaling/v2"));
    assert!(error(&format!("{TCP}  maxReplicas: 6\n")).contains("duplicate"));
    assert!(error("a: [").starts_with("not YAML or JSON"));
    assert!(error("[1, 2]").contains("not an object"));
    assert!(error("{kind: List, items: 1}").contains("`items`"));
}
