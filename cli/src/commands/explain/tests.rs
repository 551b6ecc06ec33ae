use std::{cell::RefCell, fs, path::PathBuf};

use super::*;

const HPA: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: tcp}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tcp}
  maxReplicas: 5
  metrics:
    - type: Pods
      pods: {metric: {name: tcp_state_established}, target: {type: AverageValue, averageValue: 5k}}
";

const STATE: &str = "{now: 0, replicas: 1, pods: [{name: tcp-0}], metrics: [{pods: {tcp-0: 7012}}]}";

struct Files {
    _folder: tempfile::TempDir,
    hpa: PathBuf,
    state: PathBuf,
    notes: RefCell<Vec<String>>,
}

impl Files {
    fn new(hpa: &str, state: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (hpa_path, state_path) = (folder.path().join("hpa.yaml"), folder.path().join("state.yaml"));
        fs::write(&hpa_path, hpa).expect("writable");
        fs::write(&state_path, state).expect("writable");
        Self { _folder: folder, hpa: hpa_path, state: state_path, notes: RefCell::default() }
    }

    fn explain(&self, name: Option<&str>) -> Result<Explained, Failure> {
        from_files(&self.hpa, &self.state, name, &|note| self.notes.borrow_mut().push(note.to_owned()))
    }

    /// The message of the usage error.
    fn refused(&self, name: Option<&str>) -> String {
        let failure = self.explain(name).expect_err("to be refused");
        assert_eq!(failure.code, exit::USAGE);
        failure.message
    }
}

/// The manifest under another name.
fn named_as(metadata: &str) -> String {
    HPA.replace("metadata: {name: tcp}", &format!("metadata: {metadata}"))
}

#[test]
fn unreadable_metrics_are_reported_before_their_consequences() {
    let explained = Files::new(HPA, STATE).explain(None).expect("both files are valid");
    let unread = "tcp_state_established: pods.custom.metrics.k8s.io is forbidden";
    let reported = platform::target::Reported {
        current: 1,
        desired: 1,
        last_scale: None,
        metrics: Vec::new(),
        conditions: std::collections::BTreeMap::new(),
        unread: vec![unread.to_owned()],
    };
    let controller = Comparison::of(&explained.explanation, reported);
    let text = Text { explanation: &explained.explanation, instants: &() };
    let lines = in_words("tcp", &text, Some(&controller));
    assert!(lines[0].starts_with("tcp 1 → 2"), "{lines:#?}");
    assert!(lines[1].contains("NOT READ HERE") && lines[1].ends_with(unread), "{lines:#?}");
    assert!(lines.join("\n").contains("(it reads metrics that could not be read here)"), "{lines:#?}");
}

#[test]
fn an_autoscaler_that_cannot_be_explained_hides_no_other() {
    let fine = || {
        let explained = Files::new(HPA, STATE).explain(None).expect("both files are valid");
        Ok(Running::Autoscaled { explained: Box::new(explained), balancer: None })
    };
    let failed = || Err(Failure::failed("it scales nothing"));
    let all = each([("tcp", fine()), ("orphan", failed())].into_iter()).expect("one of two");
    assert!(matches!(all[0], Running::Autoscaled { .. }));
    let json = serde_json::to_value(&all[1]).expect("serialisable");
    assert_eq!(json, serde_json::json!({"name": "orphan", "problem": "it scales nothing"}));
    // If it is the only one, the command fails.
    assert_eq!(each([("orphan", failed())].into_iter()).expect_err("nothing").message, "it scales nothing");
    let interrupted = [("tcp", fine()), ("ws", Err(Failure::interrupted()))];
    assert_eq!(each(interrupted.into_iter()).expect_err("interrupted").code, exit::INTERRUPTED);
}

#[test]
fn explains_a_manifest_with_a_state() {
    let explained = Files::new(HPA, STATE).explain(None).expect("both files are valid");
    assert_eq!((explained.name.as_str(), explained.explanation.desired), ("tcp", 2));
    let json = serde_json::to_value(&explained).expect("serialisable");
    assert_eq!(json["name"], "tcp");
    assert_eq!(json["metrics"][0]["proposal"]["replicas"], 2);
    assert!(json["what_would_change"].is_array());
}

#[test]
fn mistakes_name_the_file() {
    let mut files = Files::new(HPA, "{now: 0, replica: 1}");
    let message = files.refused(None);
    assert!(message.contains("state.yaml:1:10: replica: unknown key; did you mean replicas?"), "{message}");
    files.hpa = PathBuf::from("/nonexistent");
    let message = files.refused(None);
    assert!(message.starts_with("/nonexistent: "), "{message}");
}

#[test]
fn one_of_several_autoscalers_must_be_chosen() {
    let files = Files::new(&format!("{HPA}---{}", named_as("{name: udp}")), STATE);
    let message = files.refused(None);
    assert!(message.contains("choose one by --name: tcp, udp"), "{message}");
    assert_eq!(files.explain(Some("udp")).expect("there").name, "udp");
    let message = files.refused(Some("ws"));
    assert!(message.contains("no autoscaler is called ws; there are: tcp, udp"), "{message}");
}

#[test]
fn the_same_name_in_two_namespaces_needs_the_namespace() {
    let (one, other) = (named_as("{name: tcp, namespace: one}"), named_as("{name: tcp, namespace: other}"));
    let other = other.replace("maxReplicas: 5", "maxReplicas: 1");
    let files = Files::new(&format!("{one}---{other}---{}", named_as("{name: udp, namespace: one}")), STATE);
    let message = files.refused(Some("tcp"));
    assert!(
        message.contains("several are called tcp, choose one by --name NAMESPACE/NAME: one/tcp, other/tcp"),
        "{message}"
    );
    let message = files.refused(None);
    assert!(message.contains("one/tcp, other/tcp, one/udp"), "{message}");
    let max = |name: &str| files.explain(Some(name)).expect("there").explanation.max_replicas;
    assert_eq!((max("one/tcp"), max("other/tcp"), max("udp")), (5, 1, 5));
    assert!(files.refused(Some("three/tcp")).contains("no autoscaler is called three/tcp"));

    let message = Files::new(&format!("{one}---{one}"), STATE).refused(Some("one/tcp"));
    assert!(message.contains("one/tcp is in it 2 times"), "{message}");
}

#[test]
fn an_invalid_autoscaler_does_not_hide_the_others() {
    let wrong = named_as("{name: udp}").replace("maxReplicas: 5", "maxReplicas: 0");
    let files = Files::new(&format!("{wrong}---{HPA}"), STATE);
    assert_eq!(files.explain(Some("tcp")).expect("valid").name, "tcp");
    let notes = files.notes.take();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(
        note.starts_with("not read: ") && note.contains("hpa.yaml:7:3: HorizontalPodAutoscaler udp: "),
        "{note}"
    );

    let message = files.refused(Some("udp"));
    assert!(message.contains("hpa.yaml:7:3: HorizontalPodAutoscaler udp: spec.maxReplicas"), "{message}");
}

#[test]
fn zero_replicas_are_refused_with_the_setting_that_allows_them() {
    let zero = HPA.replace("maxReplicas: 5", "maxReplicas: 5\n  minReplicas: 0");
    let message = Files::new(&zero, STATE).refused(None);
    for part in [
        "hpa.yaml:8:3: HorizontalPodAutoscaler tcp: spec.minReplicas: invalid value `0`: must be greater than or equal to 1",
        "allowed by `settings: {scaleToZero: true}` in the state file",
        "with at least one Object or External metric",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let allowed = STATE.replace("{now: 0,", "{now: 0, settings: {scaleToZero: true},");
    let message = Files::new(&zero, &allowed).refused(None);
    assert!(
        message.contains("spec.metrics: forbidden: must specify at least one Object or External"),
        "{message}"
    );

    let (head, _) = zero.split_once("    - type: Pods").expect("the metric");
    let external = format!(
        "{head}    - type: External\n      external: {{metric: {{name: queue}}, target: {{type: AverageValue, averageValue: 5}}}}\n"
    );
    let state = "{now: 0, replicas: 1, metrics: [{external: [0]}], settings: {scaleToZero: true}}";
    assert_eq!(Files::new(&external, state).explain(None).expect("allowed").explanation.min_replicas, 0);
    let state = state.replace("scaleToZero: true", "scaleToZero: false");
    assert!(Files::new(&external, &state).refused(None).contains("hpa.yaml:8:3: "));
}

#[test]
fn encodings_and_tabs_are_named() {
    let files = Files::new(HPA, STATE);
    let mut utf_16 = vec![0xff, 0xfe];
    utf_16.extend(STATE.encode_utf16().flat_map(u16::to_le_bytes));
    for (bytes, expected) in [
        (utf_16, "state.yaml: the text is UTF-16; save it as UTF-8"),
        (b"now: 0 # caf\xe9".to_vec(), "state.yaml:1:13: the byte 0xe9 is not UTF-8"),
        (b"now: 0\npods:\n\t- name: a".to_vec(), "state.yaml:3:1: a tab indents this line"),
    ] {
        fs::write(&files.state, bytes).expect("writable");
        let message = files.refused(None);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_state_file_is_written_for_a_manifest_and_can_be_explained() {
    let status = "status: {currentReplicas: 2, desiredReplicas: 2, currentMetrics: [{type: Pods, pods: {metric: {name: \
                  tcp_state_established}, current: {averageValue: 7012}}}]}";
    let files = Files::new(&format!("{HPA}{status}\n"), "");
    let text = state_for(&files.hpa, None, &|_| {}).expect("the manifest is valid");
    fs::write(&files.state, text).expect("writable");
    let explanation = files.explain(None).expect("valid").explanation;
    assert_eq!((explanation.current, explanation.proposal), (2, Some(3)));
    assert!(explanation.now_ms > CALENDAR_FROM_MS, "the present");
}
