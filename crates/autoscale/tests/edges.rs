//! Nonsensical input: it is handled as the module documentation says, and nothing panics.

use autoscale::{
    Autoscaler, ControllerSettings, HpaSpec, MetricReading, Observation, Pod, PodSamples, ReconcileError,
    Sample, Tolerances,
};

fn pods_spec() -> HpaSpec {
    yaml::from_str(
        "
maxReplicas: 10
metrics:
  - type: Pods
    pods: {metric: {name: m}, target: {type: AverageValue, averageValue: '100'}}
",
    )
    .expect("valid")
}

fn named(name: &str) -> Pod {
    Pod { name: name.into(), ..Pod::default() }
}

fn sample(milli: i64) -> Sample {
    Sample { milli, ..Sample::default() }
}

/// Three pods with the same sample.
fn observed(milli: i64) -> Observation {
    let samples = PodSamples { listed: vec![Some(sample(milli)); 3], unlisted: Vec::new() };
    Observation {
        spec_replicas: 3,
        status_replicas: 3,
        pods: vec![Pod::default(); 3],
        metrics: vec![MetricReading::Pods(samples)],
        ..Observation::default()
    }
}

fn autoscaler() -> Autoscaler {
    Autoscaler::new(&pods_spec(), ControllerSettings::default()).expect("valid")
}

#[test]
fn negative_values_are_below_every_target() {
    let mut autoscaler = autoscaler();
    let decision = autoscaler.reconcile(0, &observed(-50_000));
    assert_eq!(decision.proposal, Some(-1));
    // The first reconciliation's own recommendation still holds.
    assert_eq!(decision.scaled_to, None);
    assert_eq!(autoscaler.reconcile(300_001, &observed(-50_000)).scaled_to, Some(1));
}

#[test]
fn absurdly_large_values_end_at_the_limits() {
    let decision = autoscaler().reconcile(0, &observed(i64::MAX / 4));
    assert_eq!(decision.proposal, Some(i32::MAX));
    assert_eq!(decision.scaled_to, Some(6));
}

#[test]
fn a_tolerance_of_nan_tolerates_nothing() {
    let nan = Tolerances { down: f64::NAN, up: f64::NAN };
    assert!(!nan.contain(1.0));
    let settings = ControllerSettings { tolerance: f64::NAN, ..ControllerSettings::default() };
    let mut autoscaler = Autoscaler::new(&pods_spec(), settings).expect("valid");
    assert_eq!(autoscaler.reconcile(0, &observed(101_000)).scaled_to, Some(4));
}

#[test]
fn a_metric_without_a_reading_has_failed() {
    let mut autoscaler = autoscaler();
    for metrics in [vec![], vec![MetricReading::Failed], vec![MetricReading::Object(1)]] {
        let observed = Observation { metrics, ..observed(0) };
        let decision = autoscaler.reconcile(0, &observed);
        assert!(matches!(decision.error, Some(ReconcileError::Metrics { failed: 1, first: 0, .. })));
        assert_eq!(decision.scaled_to, None);
    }
    // More readings than metrics: the rest is ignored.
    let mut more = observed(100_000);
    more.metrics.push(MetricReading::Failed);
    assert_eq!(autoscaler.reconcile(0, &more).error, None);
}

#[test]
fn the_last_of_duplicate_samples_counts() {
    let pods = [named("a"), named("b"), named("b")];
    let samples =
        [("a", sample(1)), ("b", sample(2)), ("a", sample(3)), ("gone", sample(4)), ("gone", sample(5))];
    let samples = PodSamples::matching(&pods, samples);
    assert_eq!(samples.listed, [Some(sample(3)), Some(sample(2)), None]);
    assert_eq!(samples.unlisted, [5]);
}

#[test]
fn samples_of_unlisted_pods_are_ignored() {
    let mut observed = observed(100_000);
    observed.metrics = vec![MetricReading::Pods(PodSamples {
        listed: vec![
            Some(sample(100_000)),
            Some(sample(100_000)),
            Some(sample(100_000)),
            Some(sample(i64::MAX)),
        ],
        unlisted: Vec::new(),
    })];
    assert_eq!(autoscaler().reconcile(0, &observed).proposal, Some(3));
}

#[test]
fn recommendations_from_the_future_count_as_recent() {
    let mut autoscaler = autoscaler();
    assert_eq!(autoscaler.reconcile(10_000_000, &observed(100_000)).stabilized, Some(3));
    let decision = autoscaler.reconcile(0, &observed(0));
    assert_eq!((decision.proposal, decision.stabilized), (Some(0), Some(3)));
}

#[test]
fn a_clock_at_the_ends_of_its_range_does_not_overflow() {
    let mut autoscaler = autoscaler();
    for now_ms in [i64::MIN, i64::MAX, 0, i64::MIN] {
        autoscaler.reconcile(now_ms, &observed(100_000));
    }
}

#[test]
fn a_stopped_clock_does_not_fill_the_memory() {
    let mut autoscaler = autoscaler();
    let observed = observed(100_000);
    for _ in 0..20_000 {
        autoscaler.reconcile(0, &observed);
    }
    assert!(autoscaler.memory().recommendations.len() <= 16_384);
}

#[test]
fn a_spec_that_is_refused_changes_nothing() {
    let mut autoscaler = autoscaler();
    let before = autoscaler.snapshot();
    let invalid = HpaSpec { max_replicas: 0, ..pods_spec() };
    let error = autoscaler.set_spec(&invalid).expect_err("maxReplicas is 0").to_string();
    assert!(error.contains("maxReplicas: invalid value `0`: must be greater than 0"), "{error}");
    assert_eq!(autoscaler.snapshot(), before);
}

#[test]
fn an_old_recommendation_may_scale_up_while_the_metrics_are_content() {
    // Without a behaviour the highest recommendation of the window wins, even above the current count.
    let mut autoscaler = autoscaler();
    autoscaler.reconcile(0, &observed(200_000));
    let decision = autoscaler.reconcile(15_000, &observed(100_000));
    assert_eq!((decision.proposal, decision.scaled_to), (Some(3), Some(6)));
    assert_eq!(decision.rescale_reason().to_string(), "");
}
