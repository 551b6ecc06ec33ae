//! Invariants for any trajectory of a metric, checked on random ones.

use autoscale::{
    Autoscaler, ControllerSettings, HpaSpec, MetricReading, Observation, Pod, PodSamples, Sample,
};
use proptest::prelude::*;

/// One reconciliation: the time since the last one, and the metric's average per pod in milli-units.
type Step = (i64, i64);

/// Its outcome.
struct Seen {
    at_ms: i64,
    before: i32,
    after: i32,
    proposal: Option<i32>,
}

fn spec(min: i32, max: i32, behavior: Option<&str>) -> HpaSpec {
    let behavior = behavior.map_or_else(String::new, |behavior| format!("behavior: {behavior}"));
    yaml::from_str(&format!(
        "
minReplicas: {min}
maxReplicas: {max}
metrics:
  - type: Pods
    pods: {{metric: {{name: m}}, target: {{type: AverageValue, averageValue: '100'}}}}
{behavior}
"
    ))
    .expect("the template is valid")
}

/// Runs the engine on a target that adopts every count at once.
fn run(spec: &HpaSpec, start: i32, steps: &[Step]) -> Vec<Seen> {
    let mut autoscaler = Autoscaler::new(spec, ControllerSettings::default()).expect("valid");
    let (mut replicas, mut at_ms) = (start, 0);
    let mut seen = Vec::new();
    for (wait_ms, milli) in steps {
        at_ms += wait_ms;
        let count = usize::try_from(replicas).expect("never negative");
        let sample = Sample { milli: *milli, at_ms, window_ms: 0 };
        let observed = Observation {
            spec_replicas: replicas,
            status_replicas: replicas,
            pods: vec![Pod::default(); count],
            metrics: vec![MetricReading::Pods(PodSamples {
                listed: vec![Some(sample); count],
                unlisted: Vec::new(),
            })],
            ..Observation::default()
        };
        let decision = autoscaler.reconcile(at_ms, &observed);
        let after = decision.scaled_to.unwrap_or(replicas);
        seen.push(Seen { at_ms, before: replicas, after, proposal: decision.proposal });
        replicas = after;
    }
    seen
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly plausible averages, some absurd ones.
    let milli = prop_oneof![8 => 0..400_000_i64, 1 => any::<i64>()];
    prop::collection::vec((1..90_000_i64, milli), 1..80)
}

fn select() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("Max"), Just("Min"), Just("Disabled")]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_count_stays_within_the_bounds(
        (min, max) in (1..10_i32).prop_flat_map(|min| (Just(min), min..60)),
        start in 1..70_i32,
        steps in steps(),
        up in select(),
        down in select(),
        with_behavior: bool,
    ) {
        let behavior = format!("{{scaleUp: {{selectPolicy: {up}}}, scaleDown: {{selectPolicy: {down}}}}}");
        let spec = spec(min, max, with_behavior.then_some(behavior.as_str()));
        for seen in run(&spec, start, &steps) {
            prop_assert!(seen.after == seen.before || (min..=max).contains(&seen.after), "{}", seen.after);
        }
    }

    #[test]
    fn with_a_behavior_the_count_never_moves_against_the_metrics(
        steps in steps(),
        up_window in 0..120_i32,
        down_window in 0..120_i32,
    ) {
        let behavior = format!(
            "{{scaleUp: {{stabilizationWindowSeconds: {up_window}}}, scaleDown: {{stabilizationWindowSeconds: {down_window}}}}}"
        );
        for seen in run(&spec(1, 50, Some(&behavior)), 5, &steps) {
            let proposal = seen.proposal.expect("the metric never fails");
            prop_assert!(proposal < seen.before || seen.after >= seen.before);
            prop_assert!(proposal > seen.before || seen.after <= seen.before);
        }
    }

    #[test]
    fn a_scale_down_waits_for_its_window(steps in steps(), window_seconds in 1..200_i64) {
        let behavior = format!("{{scaleDown: {{stabilizationWindowSeconds: {window_seconds}}}}}");
        let seen = run(&spec(1, 50, Some(&behavior)), 5, &steps);
        for (index, down) in seen.iter().enumerate().filter(|(_, seen)| seen.after < seen.before) {
            let cutoff = down.at_ms - window_seconds * 1000;
            for earlier in seen[..index].iter().filter(|earlier| earlier.at_ms > cutoff) {
                prop_assert!(earlier.proposal.unwrap_or(0) <= down.after);
            }
        }
    }

    #[test]
    fn policies_bound_the_growth_of_any_period(steps in steps(), pods in 1..5_i32, period_seconds in 1..120_i64) {
        let behavior = format!(
            "{{scaleUp: {{policies: [{{type: Pods, value: {pods}, periodSeconds: {period_seconds}}}]}}}}"
        );
        let seen = run(&spec(1, 50, Some(&behavior)), 1, &steps);
        for (index, up) in seen.iter().enumerate().filter(|(_, seen)| seen.after > seen.before) {
            let cutoff = up.at_ms - period_seconds * 1000;
            let start = seen[..index].iter().rev().find(|earlier| earlier.at_ms <= cutoff);
            let start = start.map_or(1, |earlier| earlier.after);
            prop_assert!(up.after <= start + pods, "{start} to {} within {period_seconds} s", up.after);
        }
    }

    #[test]
    fn a_snapshot_continues_like_the_original(steps in steps(), milli in 0..400_000_i64) {
        let spec = spec(1, 50, Some("{scaleDown: {stabilizationWindowSeconds: 45}}"));
        let mut autoscaler = Autoscaler::new(&spec, ControllerSettings::default()).expect("valid");
        let mut at_ms = 0;
        let mut observed = Observation {
            spec_replicas: 3,
            status_replicas: 3,
            pods: vec![Pod::default(); 3],
            ..Observation::default()
        };
        for (wait_ms, milli) in steps.into_iter().chain([(1000, milli)]) {
            at_ms += wait_ms;
            let sample = Some(Sample { milli, ..Sample::default() });
            let samples = PodSamples { listed: vec![sample; 3], unlisted: Vec::new() };
            observed.metrics = vec![MetricReading::Pods(samples)];
            let json = serde_json::to_string(&autoscaler.snapshot()).expect("serialisable");
            let mut copy = Autoscaler::from_snapshot(serde_json::from_str(&json).expect("readable")).expect("valid");
            let (one, other) = (autoscaler.reconcile(at_ms, &observed), copy.reconcile(at_ms, &observed));
            prop_assert_eq!(one.scaled_to, other.scaled_to);
            prop_assert_eq!(autoscaler.snapshot(), copy.snapshot());
        }
    }
}
