//! Every counterfactual is a claim on the engine, so the engine is asked: at the named value and one step before it, at
//! the named instant, just before it, and with the reconciliations in between.

use autoscale::{
    Autoscaler, ControllerSettings, Direction, HpaSpec, Memory, MetricReading, Observation, Pod, PodSamples,
    Recommendation, Sample, ScaleEvent, Snapshot, Status,
    explain::{Case, Counterfactual, explain, with_value},
};
use proptest::prelude::*;

const NOW_MS: i64 = 10_000_000;
const SYNC_MS: i64 = 15_000;

const BEHAVIORS: [&str; 4] = [
    "",
    "behavior: {}",
    "behavior: {scaleUp: {stabilizationWindowSeconds: 60}, scaleDown: {stabilizationWindowSeconds: 45, policies: [{type: \
     Pods, value: 1, periodSeconds: 30}]}}",
    "behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 90}, {type: Percent, value: 10, \
     periodSeconds: 30}], selectPolicy: Min}}",
];

fn history() -> impl Strategy<Value = Vec<(i32, i64)>> {
    prop::collection::vec((1..12_i32, 0..400_000_i64), 0..12)
}

fn cases() -> impl Strategy<Value = Case> {
    let samples = prop::collection::vec(prop::option::weighted(0.9, 0..40_000_i64), 2..10);
    (0..BEHAVIORS.len(), samples, history(), history(), history()).prop_map(
        |(behavior, samples, seen, ups, downs)| {
            let spec: HpaSpec = serde_yaml::from_str(&format!(
                "
minReplicas: 2
maxReplicas: 9
metrics:
  - type: Pods
    pods: {{metric: {{name: m}}, target: {{type: AverageValue, averageValue: '10'}}}}
{}
",
                BEHAVIORS[behavior]
            ))
            .expect("the template is valid");
            let event =
                |(change, ago): (i32, i64)| ScaleEvent { change, at_ms: NOW_MS - ago, outdated: false };
            let memory = Memory {
                recommendations: seen
                    .into_iter()
                    .map(|(replicas, ago)| Recommendation { replicas, at_ms: NOW_MS - ago })
                    .collect(),
                scale_ups: ups.into_iter().map(event).collect(),
                scale_downs: downs.into_iter().map(event).collect(),
            };
            let replicas = i32::try_from(samples.len()).expect("few");
            let listed = samples
                .iter()
                .map(|milli| milli.map(|milli| Sample { milli, ..Sample::default() }))
                .collect();
            Case {
                now_ms: NOW_MS,
                autoscaler: Snapshot {
                    spec,
                    settings: ControllerSettings::default(),
                    memory,
                    status: Status::default(),
                },
                observed: Observation {
                    spec_replicas: replicas,
                    status_replicas: replicas,
                    pods: vec![Pod::default(); samples.len()],
                    metrics: vec![MetricReading::Pods(PodSamples { listed, unlisted: Vec::new() })],
                    ..Observation::default()
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_engine_does_what_the_counterfactuals_say(case in cases()) {
        let explanation = explain(&case).expect("the spec is valid");
        let current = case.observed.spec_replicas;
        let engine = || Autoscaler::from_snapshot(case.autoscaler.clone()).expect("valid");
        let (min, max) = (explanation.min_replicas, explanation.max_replicas);
        for change in &explanation.what_would_change {
            let (Counterfactual::Value { to, .. } | Counterfactual::Time { to, .. }) = change;
            prop_assert!((min..=max).contains(to), "{:?}", change);
            match change {
                Counterfactual::Value { metric, direction, edge, to, at_once, .. } => {
                    let at = |value: i64| {
                        let observed = with_value(&engine(), &case.observed, *metric, value).expect("the metric works");
                        engine().reconcile(NOW_MS, &observed)
                    };
                    match direction {
                        Direction::Up if !at_once => {
                            prop_assert!(at(*edge).proposal.expect("it works").min(max) <= current);
                            let above = at(*edge + 1);
                            prop_assert_eq!(above.proposal.map(|to| to.min(max)), Some(*to));
                            prop_assert!(*to > current);
                            prop_assert!(above.scaled_to.is_none_or(|set| set != *to), "a limit holds it");
                        }
                        Direction::Up => {
                            prop_assert!(at(*edge).scaled_to.is_none_or(|to| to < current));
                            prop_assert_eq!(at(*edge + 1).scaled_to, Some(*to));
                            prop_assert!(*to > current);
                        }
                        Direction::Down => {
                            prop_assert!(at(*edge).proposal.expect("it works").max(min) >= current);
                            let below = at(*edge - 1);
                            prop_assert_eq!(below.proposal.map(|to| to.clamp(min, max)), Some(*to));
                            prop_assert!(*to < current);
                            prop_assert_eq!(below.scaled_to == Some(*to), *at_once);
                        }
                    }
                }
                Counterfactual::Time { at_ms, to, .. } => {
                    let mut autoscaler = engine();
                    let mut observed = case.observed.clone();
                    observed.spec_replicas = autoscaler.reconcile(NOW_MS, &observed).scaled_to.unwrap_or(current);
                    if *at_ms > NOW_MS + 1 {
                        prop_assert_eq!(autoscaler.clone().reconcile(at_ms - 1, &observed).scaled_to, None);
                    }
                    prop_assert_eq!(autoscaler.clone().reconcile(*at_ms, &observed).scaled_to, Some(*to));
                    let mut now_ms = NOW_MS + SYNC_MS;
                    while now_ms < *at_ms {
                        prop_assert_eq!(autoscaler.reconcile(now_ms, &observed).scaled_to, None);
                        now_ms += SYNC_MS;
                    }
                    prop_assert_eq!(autoscaler.reconcile(*at_ms, &observed).scaled_to, Some(*to));
                }
            }
        }
    }

    #[test]
    fn if_nothing_is_named_nothing_comes_with_time(case in cases()) {
        let explanation = explain(&case).expect("the spec is valid");
        let named = |change: &Counterfactual| matches!(change, Counterfactual::Time { .. });
        prop_assume!(!explanation.what_would_change.iter().any(named));
        let mut autoscaler = Autoscaler::from_snapshot(case.autoscaler.clone()).expect("valid");
        let mut observed = case.observed.clone();
        let first = autoscaler.reconcile(NOW_MS, &observed).scaled_to;
        observed.spec_replicas = first.unwrap_or(observed.spec_replicas);
        for step in 1..60 {
            prop_assert_eq!(autoscaler.reconcile(NOW_MS + step * SYNC_MS, &observed).scaled_to, None);
        }
    }
}
