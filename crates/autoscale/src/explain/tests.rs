use super::*;
use crate::stabilize::Direction;

const SPEC: &str = "
minReplicas: 1
maxReplicas: 5
metrics:
  - type: Pods
    pods: {metric: {name: tcp_state_established}, target: {type: AverageValue, averageValue: 5k}}
behavior:
  scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 1, periodSeconds: 30}]}
  scaleDown: {stabilizationWindowSeconds: 45, policies: [{type: Pods, value: 1, periodSeconds: 30}]}
";

fn case(state: &str) -> Case {
    let spec = yaml::from_str(SPEC).unwrap();
    state::read(state, &spec, 0).unwrap_or_else(|error| panic!("{error}"))
}

fn engine(case: &Case) -> Autoscaler {
    Autoscaler::from_snapshot(case.autoscaler.clone()).unwrap()
}

const STEADY: &str = "
now: 2026-11-21T14:02:50Z
replicas: 1
pods: [{name: tcp-0}]
metrics: [{pods: {tcp-0: 4210}}]
";

const HELD: &str = "
now: 2026-11-21T14:02:50Z
replicas: 2
pods: [{name: tcp-0}, {name: tcp-1}]
metrics: [{pods: {tcp-0: 100, tcp-1: 0}}]
history:
  recommendations: [{at: '2026-11-21T14:02:20Z', replicas: 2}, {at: '2026-11-21T14:02:35Z', replicas: 2}]
";

#[test]
fn names_the_value_at_which_it_scales_up_and_the_engine_agrees() {
    let case = case(STEADY);
    let explanation = explain(&case).unwrap();
    assert_eq!(explanation.desired, 1);
    let Some(Counterfactual::Value { metric, direction: Direction::Up, edge, to, at_once, .. }) =
        explanation.what_would_change.first()
    else {
        panic!("{:?}", explanation.what_would_change)
    };
    assert_eq!((*edge, *to, *at_once), (5_500_000, 2, true));
    let run = |value| {
        let observed = with_value(&engine(&case), &case.observed, *metric, value).unwrap();
        engine(&case).reconcile(case.now_ms, &observed).scaled_to
    };
    assert_eq!(run(*edge), None);
    assert_eq!(run(*edge + 1), Some(2));
}

#[test]
fn names_the_instant_at_which_it_may_scale_down_and_the_engine_agrees() {
    let case = case(HELD);
    let explanation = explain(&case).unwrap();
    assert_eq!(explanation.desired, 2);
    let time = explanation.what_would_change.iter().find_map(|change| match change {
        Counterfactual::Time { at_ms, to, because } => Some((*at_ms, *to, because.clone())),
        Counterfactual::Value { .. } => None,
    });
    let (at_ms, to, because) = time.expect("a held scale-down ends some time");
    let recommended_ms = case.now_ms - 15_000;
    assert_eq!((at_ms, to), (case.now_ms + 30_000, 1));
    assert_eq!(because, Because::RecommendationLeaves { replicas: 2, recommended_ms });
    // With a reconciliation every second until then, it happens exactly then.
    let mut autoscaler = engine(&case);
    for now_ms in (case.now_ms..at_ms).step_by(1000) {
        assert_eq!(autoscaler.reconcile(now_ms, &case.observed).scaled_to, None);
    }
    assert_eq!(autoscaler.clone().reconcile(at_ms - 1, &case.observed).scaled_to, None);
    assert_eq!(autoscaler.reconcile(at_ms, &case.observed).scaled_to, Some(1));
}

#[test]
fn names_the_instant_at_which_a_policy_allows_the_next_step() {
    let case = case(
        "
now: 100000
replicas: 2
pods: [{name: tcp-0}, {name: tcp-1}]
metrics: [{pods: {tcp-0: 12000, tcp-1: 12000}}]
history: {scaleUps: [{at: 85000, by: 1}]}
",
    );
    let explanation = explain(&case).unwrap();
    assert_eq!((explanation.proposal, explanation.desired), (Some(5), 2));
    let expected = Counterfactual::Time {
        at_ms: 115_000,
        to: 3,
        because: Because::PolicyPeriodEnds { change: 1, scaled_ms: 85_000, period_ms: 30_000 },
    };
    assert!(explanation.what_would_change.contains(&expected), "{:?}", explanation.what_would_change);
    assert_eq!(engine(&case).reconcile(114_999, &case.observed).scaled_to, None);
    assert_eq!(engine(&case).reconcile(115_000, &case.observed).scaled_to, Some(3));
}

#[test]
fn while_a_policy_holds_it_the_edge_says_what_the_metrics_ask_for() {
    let case = case(
        "
now: 100000
replicas: 2
pods: [{name: tcp-0}, {name: tcp-1}]
metrics: [{pods: {tcp-0: 6000, tcp-1: 0}}]
history: {scaleUps: [{at: 85000, by: 1}]}
",
    );
    let explanation = explain(&case).unwrap();
    let Some(Counterfactual::Value { metric, direction: Direction::Up, edge, to, at_once, .. }) =
        explanation.what_would_change.first()
    else {
        panic!("{:?}", explanation.what_would_change)
    };
    assert_eq!((*edge, *to, *at_once), (5_500_000, 3, false));
    let run = |now_ms, value| {
        let observed = with_value(&engine(&case), &case.observed, *metric, value).unwrap();
        engine(&case).reconcile(now_ms, &observed)
    };
    assert_eq!(run(case.now_ms, *edge).proposal, Some(2));
    assert_eq!(
        (run(case.now_ms, *edge + 1).proposal, run(case.now_ms, *edge + 1).scaled_to),
        (Some(3), None)
    );
    assert_eq!(run(115_000, *edge + 1).scaled_to, Some(3), "as soon as the policy lets it");
}

#[test]
fn utilization_edges_are_per_cent_of_the_request() {
    let spec = yaml::from_str("{maxReplicas: 10}").unwrap();
    let case = state::read(
        "
now: 0
replicas: 2
pods:
  - {name: a, containers: [{name: main, requests: {cpu: 1024m}}]}
  - {name: b, containers: [{name: main, requests: {cpu: 512m}}]}
metrics: [{pods: {a: 700m, b: 400m}}]
",
        &spec,
        0,
    )
    .unwrap();
    let explanation = explain(&case).unwrap();
    let up = &explanation.what_would_change[0];
    let Counterfactual::Value { edge, per_cent: true, metric, .. } = up else { panic!("{up:?}") };
    assert_eq!(*edge, 88);
    for (per_cent, expected) in [(88, None), (89, Some(3))] {
        let observed = with_value(&engine(&case), &case.observed, *metric, per_cent).unwrap();
        assert_eq!(engine(&case).reconcile(0, &observed).scaled_to, expected, "{per_cent} %");
    }
}

#[test]
fn edges_are_found_for_requests_of_a_few_milli_units() {
    let spec = yaml::from_str("{maxReplicas: 10}").unwrap();
    for (request, used, up) in [("50m", "40m", 88), ("7m", "5m", 85), ("33m", "20m", 87)] {
        let pod =
            |name| format!("{{name: {name}, containers: [{{name: main, requests: {{cpu: {request}}}}}]}}");
        let text = format!("now: 0\nreplicas: 1\npods: [{}]\nmetrics: [{{pods: {{a: {used}}}}}]\n", pod("a"));
        let case = state::read(&text, &spec, 0).unwrap();
        let explanation = explain(&case).unwrap();
        let Some(Counterfactual::Value { edge, per_cent: true, metric, direction: Direction::Up, .. }) =
            explanation.what_would_change.first()
        else {
            panic!("{request}: {:?}", explanation.what_would_change)
        };
        assert_eq!(*edge, up, "{request}");
        for (per_cent, expected) in [(*edge, None), (*edge + 1, Some(2))] {
            let observed = with_value(&engine(&case), &case.observed, *metric, per_cent).unwrap();
            assert_eq!(
                engine(&case).reconcile(0, &observed).scaled_to,
                expected,
                "{request} at {per_cent} %"
            );
        }
    }
}

#[test]
fn memory_is_written_as_the_spec_writes_it() {
    let spec = |value: &str| {
        yaml::from_str(&format!(
            "{{maxReplicas: 10, metrics: [{{type: Resource, resource: {{name: memory, target: {{type: AverageValue, \
             averageValue: {value}}}}}}}]}}"
        ))
        .unwrap()
    };
    let text = |value| {
        let state = "now: 0\nreplicas: 1\npods: [{name: a}]\nmetrics: [{pods: {a: 42467328}}]\n";
        let explanation = explain(&state::read(state, &spec(value), 0).unwrap()).unwrap();
        Text { explanation: &explanation, instants: &() }.to_string()
    };
    let binary = text("40Mi");
    for words in ["memory: 40.5Mi per pod of 40Mi", "counted: a 40.5Mi", "passes 44Mi"] {
        assert!(binary.contains(words), "{words}: {binary}");
    }
    let decimal = text("40M");
    for words in ["memory: 42,467,328 per pod of 40M", "counted: a 42,467,328", "passes 44,000,000"] {
        assert!(decimal.contains(words), "{words}: {decimal}");
    }
}

#[test]
fn the_text_explains_the_decision() {
    struct Clock;
    impl Instants for Clock {
        fn instant(&self, at_ms: i64) -> String {
            let timestamp = jiff::Timestamp::from_millisecond(at_ms).unwrap();
            timestamp.strftime("%H:%M:%S").to_string()
        }
    }
    let text = |case: &Case| {
        let explanation = explain(case).unwrap();
        Text { explanation: &explanation, instants: &Clock }.to_string()
    };
    let steady = text(&case(STEADY));
    assert!(
        steady.contains("scales up to 2 when the average of tcp_state_established passes 5,500"),
        "{steady}"
    );
    assert!(steady.contains("within tolerance") || steady.contains("4,210 per pod of 5k"), "{steady}");
    let held = text(&case(HELD));
    let expected =
        "may scale down to 1 at 14:03:20, when the recommendation of 14:02:35 (2) leaves the window";
    assert!(held.contains(expected), "{held}");
    assert!(held.contains("counted: tcp-0 100, tcp-1 0"), "{held}");
}

#[test]
fn failed_metrics_and_empty_pods_are_explained_too() {
    for state in [
        "{now: 0, replicas: 1, metrics: [{failed: true}]}",
        "{now: 0, replicas: 1, metrics: [{pods: {}}]}",
        "{now: 0, replicas: 0, metrics: [{pods: {}}]}",
        "{now: 0, replicas: 9, metrics: [{pods: {}}]}",
    ] {
        let explanation = explain(&case(state)).unwrap();
        assert!(!explanation.summary.is_empty());
        assert!(serde_json::to_string(&explanation).is_ok());
        assert!(!Text { explanation: &explanation, instants: &() }.to_string().is_empty());
    }
}

#[test]
fn mistakes_in_state_files_are_explained() {
    let spec: crate::HpaSpec = yaml::from_str(SPEC).unwrap();
    let error = |text: &str| {
        let state = state::State::parse("s.yaml", text).and_then(|state| state.case(&spec, 0));
        state.expect_err(text).to_string()
    };
    let far = "is out of range: expected -377705023201000 to 253402207200999";
    let ms = "expected a whole number of milliseconds, 0 or more, got";
    let stabilization = format!("settings.downscaleStabilizationMs: {ms}");
    let latest = |text| {
        format!("now: `{text}` is out of range: expected -009999-01-02T01:59:59Z to 9999-12-30T22:00:00Z")
    };
    let count = "expected a whole number from 0 to 2147483647, got";
    for (text, expected) in [
        ("now: 0\nreplica: 1", "s.yaml:2:1: replica: unknown key; did you mean replicas?".to_owned()),
        ("{now: yesterday, replicas: 1}", "s.yaml:1:2: now: `yesterday` is no instant".to_owned()),
        (
            "{now: 0, replicas: 1}",
            "metrics: 0 given, but the HPA has 1: one each, in its order (pods)".to_owned(),
        ),
        (
            "now: 0\nreplicas: 1\nmetrics:\n- object: 1",
            "s.yaml:4:3: metrics[0]: a metric of type Pods needs `pods`".to_owned(),
        ),
        (
            "{now: 0, replicas: 1, metrics: [{pods: {a: 1x}}]}",
            "metrics[0].pods.a: `1x` is not a quantity".to_owned(),
        ),
        (
            "{now: 0, replicas: 1, metrics: [5]}",
            "metrics[0]: expected a mapping of keys to values, got 5".to_owned(),
        ),
        (
            "{now: 0, replicas: 1, pods: [{name: 5}]}",
            "pods[0].name: expected text in quotes, got 5".to_owned(),
        ),
        (
            "now: 0\nreplicas: 1\nmetrics: [{pods: {}}]\npods:\n- name: a\n- name: b\n- name: a",
            "s.yaml:7:3: pods[2].name: a is listed twice".to_owned(),
        ),
        ("[", "s.yaml:2:1: not YAML: ".to_owned()),
        ("{now: 0, replicas: -1}", format!("s.yaml:1:10: replicas: {count} -1")),
        ("{now: 0, replicas: 3000000000}", format!("replicas: {count} 3000000000")),
        ("{now: 0, replicas: 1, statusReplicas: -2}", format!("statusReplicas: {count} -2")),
        (
            "{now: 0, replicas: 1, history: {recommendations: [{at: 0, replicas: -3}]}}",
            format!("history.recommendations[0].replicas: {count} -3"),
        ),
        (
            "{now: 0, replicas: 1, history: {scaleUps: [{at: 0, by: -1}]}}",
            "history.scaleUps[0].by: expected a whole number from 0 to 65535, got -1".to_owned(),
        ),
        (
            "now: 0\nreplicas: 1\nsettings:\n  downscaleStabilizationMs: -1",
            format!("s.yaml:4:3: {stabilization} -1"),
        ),
        (
            "{now: 0, replicas: 1, settings: {cpuInitMs: -300000}}",
            format!("settings.cpuInitMs: {ms} -300000"),
        ),
        (
            "{now: 0, replicas: 1, settings: {initialReadinessDelayMs: -1}}",
            format!("settings.initialReadinessDelayMs: {ms} -1"),
        ),
        (
            "{now: 0, replicas: 1, settings: {tolerance: -0.1}}",
            "settings.tolerance: expected 0 or more, such as 0.1, got -0.1".to_owned(),
        ),
        ("{now: 9999-12-31T23:59:59Z, replicas: 1}", latest("9999-12-31T23:59:59Z")),
        ("{now: 9999-12-31T00:59:59+01:00, replicas: 1}", latest("9999-12-31T00:59:59+01:00")),
        (
            "{now: 2026-11-21T14:02:50, replicas: 1}",
            "expected a date, a time of day and an offset".to_owned(),
        ),
        ("{now: 9223372036854775807, replicas: 1}", far.to_owned()),
        ("{now: 18446744073709551615, replicas: 1}", far.to_owned()),
        ("{now: -9223372036854775808, replicas: 1}", far.to_owned()),
        ("{now: 0, replicas: 1, history: {lastScale: 253402207201000}}", far.to_owned()),
    ] {
        let error = error(text);
        assert!(error.contains(&expected), "{text}: {error}");
        assert!(error.starts_with("s.yaml:"), "{error}");
    }
}

#[test]
fn a_file_without_a_time_uses_the_callers() {
    let at = |text: &str| {
        let spec = yaml::from_str(SPEC).unwrap();
        state::read(text, &spec, 1_800_000_000_000).map(|case| case.now_ms).map_err(|error| error.to_string())
    };
    let rest = "replicas: 1, pods: [{name: tcp-0}], metrics: [{pods: {tcp-0: 1}}]";
    assert_eq!(at(&format!("{{{rest}}}")), Ok(1_800_000_000_000));
    assert_eq!(at(&format!("{{now: 5, {rest}}}")), Ok(5));
    let dated = "history: {recommendations: [{at: 2026-11-21T14:02:20Z, replicas: 2}]}";
    assert_eq!(at(&format!("{{{rest}, {dated}}}")), Ok(1_800_000_000_000));
    // Instants with an arbitrary origin do not tell the present time.
    for counted in ["history: {scaleUps: [{at: 1, by: 1}]}", "history: {lastScale: 7}"] {
        let error = at(&format!("{{{rest}, {counted}}}")).unwrap_err();
        assert!(
            error.contains("now: is missing; only a file whose instants are dates may leave it out"),
            "{error}"
        );
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(case(&format!("\u{feff}{}", STEADY.trim_start())), case(STEADY));
}

#[test]
fn metrics_never_ask_for_less_than_the_minimum() {
    // One replica is the minimum: no value of the metric scales down, although the metric alone would ask for 0.
    let explanation = explain(&case(STEADY)).unwrap();
    let down =
        |change: &&Counterfactual| matches!(change, Counterfactual::Value { direction: Direction::Down, .. });
    assert_eq!(explanation.what_would_change.iter().find(down), None);
    // Two replicas scale down to the minimum, not to the 0 that a metric of 0 asks for.
    let two = STEADY
        .replace("replicas: 1", "replicas: 2")
        .replace("[{name: tcp-0}]", "[{name: tcp-0}, {name: tcp-1}]");
    let explanation = explain(&case(&two.replace("tcp-0: 4210", "tcp-0: 5000, tcp-1: 5000"))).unwrap();
    let Some(Counterfactual::Value { to, edge, .. }) = explanation.what_would_change.iter().find(down) else {
        panic!("{:?}", explanation.what_would_change)
    };
    assert_eq!((*to, *edge), (1, 2_500_001));
}

#[test]
fn a_tolerance_that_is_not_read_is_mentioned() {
    let text = SPEC.replace("scaleUp: {", "scaleUp: {tolerance: 0.05, ");
    let spec: crate::HpaSpec = yaml::from_str(&text).unwrap();
    let explained = |state: &str| explain(&state::read(state, &spec, 0).unwrap()).unwrap();
    let off = explained(STEADY);
    let [note] = off.notes.as_slice() else { panic!("{:?}", off.notes) };
    assert!(note.starts_with("behavior.scaleUp.tolerance 50m is not read: "), "{note}");
    assert!(
        note.contains("HPAConfigurableTolerance") && note.contains("{configurableTolerance: true}"),
        "{note}"
    );
    assert!(Text { explanation: &off, instants: &() }.to_string().contains(&format!("\n  note: {note}\n")));
    let on = explained(&format!("{STEADY}settings: {{configurableTolerance: true}}\n"));
    assert_eq!(on.notes, [""; 0]);
    assert!((on.tolerances.up - 0.05).abs() < 1e-9, "{:?}", on.tolerances);
    assert_eq!(explain(&case(STEADY)).unwrap().notes, [""; 0]);
}
