//! Every counterfactual is a claim about the engine, so the engine checks it: at the named value and one step before it,
//! at the named instant, just before it, and with the reconciliations in between.

use std::sync::Arc;

use autoscale::{
    Autoscaler, Container, ContainerKind, ControllerSettings, Direction, HpaSpec, Memory, MetricReading,
    Observation, Phase, Pod, PodSamples, Ready, ReadyStatus, Recommendation, Sample, ScaleEvent, Snapshot,
    Status,
    explain::{Because, Case, Counterfactual, Explanation, explain, with_value},
};
use proptest::prelude::*;

const NOW_MS: i64 = 10_000_000;
const SYNC_MS: i64 = 15_000;

const BEHAVIORS: [&str; 5] = [
    "",
    "behavior: {}",
    "behavior: {scaleUp: {stabilizationWindowSeconds: 60}, scaleDown: {stabilizationWindowSeconds: 45, policies: [{type: \
     Pods, value: 1, periodSeconds: 30}]}}",
    "behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 90}, {type: Percent, value: 10, \
     periodSeconds: 30}], selectPolicy: Min}}",
    "behavior: {scaleUp: {selectPolicy: Disabled}, scaleDown: {selectPolicy: Disabled}}",
];

/// Every kind of metric with every kind of target, each with its name.
const METRICS: [&str; 9] = [
    "{type: Pods, pods: {metric: {name: NAME}, target: {type: AverageValue, averageValue: 10}}}",
    "{type: External, external: {metric: {name: NAME}, target: {type: AverageValue, averageValue: 10}}}",
    "{type: External, external: {metric: {name: NAME}, target: {type: Value, value: 30}}}",
    "{type: Object, object: {describedObject: {kind: Ingress, name: i}, metric: {name: NAME}, target: {type: AverageValue, \
     averageValue: 700m}}}",
    "{type: Object, object: {describedObject: {kind: Ingress, name: i}, metric: {name: NAME}, target: {type: Value, value: \
     30}}}",
    "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}",
    "{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 10}}}",
    "{type: ContainerResource, containerResource: {name: cpu, container: main, target: {type: Utilization, \
     averageUtilization: 50}}}",
    "{type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 120}}}",
];

fn history() -> impl Strategy<Value = Vec<(i32, i64)>> {
    prop::collection::vec((1..12_i32, 0..400_000_i64), 0..12)
}

/// A pod: its request in thousandths, its start, its state.
#[derive(Debug, Clone)]
struct RandomPod {
    request: Option<i64>,
    ago_ms: i64,
    phase: Phase,
    ready: bool,
    deleting: bool,
}

fn pods() -> impl Strategy<Value = Vec<RandomPod>> {
    let phase = prop_oneof![9 => Just(Phase::Running), 1 => Just(Phase::Pending), 1 => Just(Phase::Failed)];
    let request = prop::option::weighted(0.98, prop_oneof![Just(1000), 1..2000_i64]);
    let pod = (request, 0..900_000_i64, phase, prop::bool::weighted(0.9), prop::bool::weighted(0.1));
    let pod = pod.prop_map(|(request, ago_ms, phase, ready, deleting)| RandomPod {
        request,
        ago_ms,
        phase,
        ready,
        deleting,
    });
    prop::collection::vec(pod, 0..10)
}

/// Which metric, one value for each pod, and the values of the whole.
type RandomMetric = (usize, Vec<Option<i64>>, Vec<i64>);

fn metrics() -> impl Strategy<Value = Vec<RandomMetric>> {
    let samples = prop::collection::vec(prop::option::weighted(0.9, 0..40_000_i64), 10);
    let series = prop::collection::vec(prop_oneof![9 => 0..100_000_i64, 1 => -5_000..0_i64], 1..3);
    prop::collection::vec((0..METRICS.len(), samples, series), 1..4)
}

fn reading(metric: usize, samples: &[Option<i64>], series: &[i64]) -> MetricReading {
    match METRICS[metric] {
        text if text.contains("External") => MetricReading::External(series.to_vec()),
        text if text.contains("Object") => MetricReading::Object(series[0]),
        _ => {
            let sample =
                |milli: &Option<i64>| milli.map(|milli| Sample { milli, at_ms: NOW_MS, window_ms: 30_000 });
            MetricReading::Pods(PodSamples {
                listed: samples.iter().map(sample).collect(),
                unlisted: Vec::new(),
            })
        }
    }
}

fn pod(index: usize, random: &RandomPod) -> Pod {
    let requests = |request: i64| [("cpu", request), ("memory", request)].into_iter().collect();
    let started_ms = NOW_MS - random.ago_ms;
    Pod {
        name: Arc::from(format!("pod-{index}")),
        phase: random.phase,
        ready: Some(Ready {
            status: if random.ready { ReadyStatus::True } else { ReadyStatus::False },
            since_ms: started_ms + 10_000,
        }),
        started_ms: Some(started_ms),
        deleting: random.deleting,
        containers: Arc::from([Container {
            name: "main".into(),
            kind: ContainerKind::Regular,
            requests: random.request.map(requests).unwrap_or_default(),
        }]),
        ..Pod::default()
    }
}

fn spec(min: i32, behavior: usize, metrics: &[RandomMetric]) -> HpaSpec {
    let lines = metrics.iter().enumerate().map(|(index, (metric, _, _))| {
        format!("  - {}\n", METRICS[*metric].replace("NAME", &format!("m{index}")))
    });
    let text = format!(
        "minReplicas: {min}\nmaxReplicas: 9\nmetrics:\n{}{}\n",
        lines.collect::<String>(),
        BEHAVIORS[behavior]
    );
    yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn cases() -> impl Strategy<Value = Case> {
    let counts = (0..3_i32, 0..11_i32, 0..11_i32);
    let memory = (history(), history(), history());
    (0..BEHAVIORS.len(), metrics(), pods(), counts, memory).prop_map(
        |(behavior, metrics, pods, (min, replicas, status_replicas), (seen, ups, downs))| {
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
            // Zero as the minimum needs a metric that exists without pods.
            let without_pods = |(metric, _, _): &RandomMetric| {
                METRICS[*metric].contains("External") || METRICS[*metric].contains("Object")
            };
            let min = if metrics.iter().any(without_pods) { min } else { min.max(1) };
            Case {
                now_ms: NOW_MS,
                autoscaler: Snapshot {
                    spec: spec(min, behavior, &metrics),
                    settings: ControllerSettings { scale_to_zero: true, ..ControllerSettings::default() },
                    memory,
                    status: Status::default(),
                },
                observed: Observation {
                    spec_replicas: replicas,
                    status_replicas,
                    metrics: metrics
                        .iter()
                        .map(|(metric, samples, series)| reading(*metric, &samples[..pods.len()], series))
                        .collect(),
                    pods: pods.iter().enumerate().map(|(index, random)| pod(index, random)).collect(),
                    ..Observation::default()
                },
            }
        },
    )
}

fn engine(case: &Case) -> Autoscaler {
    Autoscaler::from_snapshot(case.autoscaler.clone()).expect("valid")
}

/// Checks a claim about a metric's value.
fn check_value(case: &Case, explanation: &Explanation, change: &Counterfactual) -> Result<(), TestCaseError> {
    let Counterfactual::Value { metric, direction, edge, to, at_once, beyond, per_cent, label } = change
    else {
        return Ok(());
    };
    let (current, min, max) = (explanation.current, explanation.min_replicas, explanation.max_replicas);
    let at = |value: i64| {
        let observed = with_value(&engine(case), &case.observed, *metric, value).expect("the metric works");
        engine(case).reconcile(NOW_MS, &observed)
    };
    let step = match direction {
        Direction::Up => edge + 1,
        Direction::Down => edge - 1,
    };
    let (before, after) = (at(*edge), at(step));
    let asked = |decision: &autoscale::Decision| decision.proposal.map(|to| to.clamp(min, max));
    match direction {
        Direction::Up if !at_once => {
            prop_assert!(asked(&before).is_none_or(|to| to <= current));
            prop_assert_eq!(asked(&after), Some(*to));
            prop_assert!(*to > current);
            prop_assert!(after.scaled_to.is_none_or(|set| set != *to), "a limit holds it");
        }
        Direction::Up => {
            prop_assert!(before.scaled_to.is_none_or(|to| to <= current));
            prop_assert_eq!(after.scaled_to, Some(*to));
            prop_assert!(*to > current);
        }
        Direction::Down => {
            prop_assert!(asked(&before).is_none_or(|to| to >= current));
            prop_assert_eq!(asked(&after), Some(*to));
            prop_assert!(*to < current);
            prop_assert_eq!(after.scaled_to == Some(*to), *at_once);
        }
    }
    // The value is in the unit that the label names: given the value, the engine reports it.
    let reported = |decision: &autoscale::Decision| decision.metrics[*metric].result.expect("it works");
    if *per_cent {
        // One side is a percentage that the requests can be used to; its neighbour may not be.
        let (exact, value) = match direction {
            Direction::Up => (&before, *edge),
            Direction::Down => (&after, step),
        };
        prop_assert_eq!(reported(exact).utilization.map(i64::from), Some(value));
    } else if label.starts_with("the average of ") || label.starts_with("the value of ") {
        prop_assert_eq!(reported(&after).usage, Some(step));
    } else {
        prop_assert!(label.starts_with("the total of "), "{}", label);
    }
    // The decision itself shows whether the value is already beyond the threshold.
    if *beyond && *direction == Direction::Up {
        let reached = if *at_once { Some(explanation.desired) } else { explanation.proposal };
        prop_assert!(reached.is_some_and(|reached| reached > current));
    }
    if *beyond && *direction == Direction::Down {
        prop_assert!(explanation.proposal.is_some_and(|proposal| proposal.max(min) < current));
    }
    Ok(())
}

/// Checks a claim about time.
fn check_time(
    case: &Case,
    explanation: &Explanation,
    (at_ms, to): (i64, i32),
    because: &Because,
) -> Result<(), TestCaseError> {
    let mut autoscaler = engine(case);
    let mut observed = case.observed.clone();
    let first = autoscaler.reconcile(NOW_MS, &observed).scaled_to;
    observed.spec_replicas = first.unwrap_or(explanation.current);
    if !matches!(because, Because::Reconciliations { .. }) {
        if at_ms > NOW_MS + 1 {
            prop_assert_eq!(autoscaler.clone().reconcile(at_ms - 1, &observed).scaled_to, None);
        }
        prop_assert_eq!(autoscaler.clone().reconcile(at_ms, &observed).scaled_to, Some(to));
    }
    let mut now_ms = NOW_MS + SYNC_MS;
    while now_ms < at_ms {
        prop_assert_eq!(autoscaler.reconcile(now_ms, &observed).scaled_to, None);
        now_ms += SYNC_MS;
    }
    prop_assert_eq!(autoscaler.reconcile(at_ms, &observed).scaled_to, Some(to));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_engine_does_what_the_counterfactuals_say(case in cases()) {
        let explanation = explain(&case).expect("the spec is valid");
        for change in &explanation.what_would_change {
            let (Counterfactual::Value { to, .. } | Counterfactual::Time { to, .. }) = change;
            prop_assert!((explanation.min_replicas..=explanation.max_replicas).contains(to), "{:?}", change);
            check_value(&case, &explanation, change)?;
            if let Counterfactual::Time { at_ms, to, because } = change {
                check_time(&case, &explanation, (*at_ms, *to), because)?;
            }
        }
    }

    #[test]
    fn without_a_named_time_nothing_changes_by_waiting(case in cases()) {
        let explanation = explain(&case).expect("the spec is valid");
        if explanation.what_would_change.iter().any(|change| matches!(change, Counterfactual::Time { .. })) {
            return Ok(());
        }
        let mut autoscaler = engine(&case);
        let mut observed = case.observed.clone();
        let first = autoscaler.reconcile(NOW_MS, &observed).scaled_to;
        observed.spec_replicas = first.unwrap_or(observed.spec_replicas);
        for step in 1..60 {
            prop_assert_eq!(autoscaler.reconcile(NOW_MS + step * SYNC_MS, &observed).scaled_to, None);
        }
    }
}
