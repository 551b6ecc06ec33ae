//! What would change a decision, found by running the engine on copies.
//!
//! *Values*: one metric varies while everything else stays. Bisection finds the edge: nothing changes at the edge, but
//! one step beyond it something does. *Time*: all inputs stay, and the engine is asked again at every instant at which
//! something it remembers loses its effect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Case;
use crate::{
    calculator::{Metric, Proposal, Target},
    decision::Decision,
    engine::Autoscaler,
    observation::{MetricReading, Observation, Sample},
    stabilize::Direction,
};

/// More instants than any real history has; it bounds the work on hostile input.
const MAX_INSTANTS: usize = 4096;
/// How often a controller looks (`--horizontal-pod-autoscaler-sync-period`).
const SYNC_MS: i64 = 15_000;
/// Longer than any window and any period of a policy.
const FARTHEST_MS: i64 = 2 * 60 * 60 * 1000;

/// Something that would lead to another count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "snake_case")]
pub enum Counterfactual {
    /// The metric's value crosses a threshold.
    Value {
        /// Position in the spec.
        metric: usize,
        /// What is varied, such as `the average of tcp_state_established` or `the total of queue_length`.
        label: String,
        /// Up: the change comes above the threshold. Down: below it.
        direction: Direction,
        /// The last value at which the count stays: milli-units, or per cent for a utilization.
        edge: i64,
        per_cent: bool,
        /// The metric is already beyond the threshold: the change lasts only as long as it stays there.
        beyond: bool,
        /// The count one step beyond the threshold.
        to: i32,
        /// Whether it happens at once. If not, the metrics then ask for it, and windows or policies delay it.
        at_once: bool,
    },
    /// Time passes while everything else stays the same.
    Time {
        /// From this instant on.
        at_ms: i64,
        /// The count that a reconciliation then sets.
        to: i32,
        because: Because,
    },
}

/// What loses its effect at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case", rename_all_fields = "snake_case")]
pub enum Because {
    /// A recommendation leaves its window.
    RecommendationLeaves { replicas: i32, recommended_ms: i64 },
    /// A change of the scale no longer counts for a policy.
    PolicyPeriodEnds { change: i32, scaled_ms: i64, period_ms: i64 },
    /// Nothing: one reconciliation could not go all the way, and the next may continue at once.
    NextReconciliation,
    /// A pod's CPU initialisation period is over.
    PodInitialized { pod: String },
    /// Nothing in particular: reconciliations simply continue, one every `every_ms`.
    Reconciliations { every_ms: i64 },
}

/// All counterfactuals of a case: `before` and `after` its reconciliation.
pub(super) fn find(
    before: &Autoscaler,
    after: &Autoscaler,
    decision: &Decision,
    case: &Case,
) -> Vec<Counterfactual> {
    let mut found = Vec::new();
    for direction in [Direction::Up, Direction::Down] {
        for metric in 0..decision.metrics.len() {
            found.extend(edge(before, decision, case, metric, direction));
        }
    }
    found.extend(next_change(after, decision, case));
    found
}

/// The observation with one metric's value replaced: every sample becomes `value`, or that share of its pod's request.
/// The shares are rounded together, so that they add up to that share of all requests.
/// `None`: the metric has no reading that could be varied.
///
/// `value` is in milli-units, or per cent for a utilization. For a metric of pods it is the average; for all others it
/// is the total, even where the target is an average.
pub fn with_value(
    autoscaler: &Autoscaler,
    observed: &Observation,
    metric: usize,
    value: i64,
) -> Option<Observation> {
    let planned: &Metric = &autoscaler.plan().metrics.get(metric)?.metric;
    let pod_level = autoscaler.settings().pod_level_resources;
    let mut observed = observed.clone();
    let pods = &observed.pods;
    match observed.metrics.get_mut(metric)? {
        MetricReading::Failed => return None,
        MetricReading::Object(current) => *current = value,
        MetricReading::External(series) => *series = vec![value],
        MetricReading::Pods(samples) => {
            let utilization = matches!(planned.target, Some(Target::Utilization(_)));
            let mut requested = 0_i64;
            let mut set = |position: usize, sample: Sample| {
                let milli = if utilization {
                    let request = pods.get(position).and_then(|pod| planned.request_of(pod, pod_level));
                    let before = share(requested, value);
                    requested = requested.saturating_add(request.unwrap_or(0));
                    share(requested, value).saturating_sub(before)
                } else {
                    value
                };
                Sample { milli, ..sample }
            };
            for (position, sample) in samples.listed.iter_mut().enumerate() {
                *sample = sample.map(|sample| set(position, sample));
            }
            samples.unlisted.iter_mut().for_each(|milli| *milli = if utilization { 0 } else { value });
        }
    }
    Some(observed)
}

/// A percentage of a request, rounded up.
fn share(request: i64, per_cent: i64) -> i64 {
    let product = i128::from(request) * i128::from(per_cent);
    i64::try_from((product + 99).div_euclid(100)).unwrap_or(i64::MAX)
}

/// The present value, in the unit of [`with_value`].
fn present_value(reading: &MetricReading, proposal: &Proposal, per_cent: bool) -> Option<i64> {
    match reading {
        MetricReading::Object(value) => Some(*value),
        MetricReading::External(series) => {
            Some(series.iter().fold(0_i64, |sum, value| sum.saturating_add(*value)))
        }
        MetricReading::Pods(_) if per_cent => proposal.utilization.map(i64::from),
        MetricReading::Pods(_) => proposal.usage,
        MetricReading::Failed => None,
    }
}

/// Where the metric's value begins to matter in one direction.
fn edge(
    before: &Autoscaler,
    decision: &Decision,
    case: &Case,
    metric: usize,
    direction: Direction,
) -> Option<Counterfactual> {
    let current = case.observed.spec_replicas;
    let plan = before.plan();
    let planned = &plan.metrics[metric];
    let proposal = decision.metrics[metric].result.ok()?;
    let per_cent = matches!(planned.metric.target, Some(Target::Utilization(_)));
    let value = present_value(case.observed.metrics.get(metric)?, &proposal, per_cent)?;
    let run = |value: i64| {
        let observed = with_value(before, &case.observed, metric, value)?;
        Some(before.clone().reconcile(case.now_ms, &observed))
    };
    let whole = planned.metric.target.map_or(1, |target| match target {
        Target::Utilization(per_cent) => i64::from(per_cent),
        Target::AverageValue(milli) | Target::Value(milli) => milli,
    });
    // Far enough for every count up to the maximum, and for every total that the present replicas share.
    let most = plan.max.max(current).max(case.observed.status_replicas);
    let far = whole.saturating_mul(i64::from(most).saturating_add(2)).saturating_mul(4);
    let outermost = match direction {
        Direction::Up => value.max(far),
        Direction::Down => 0,
    };
    // The count that is set, if limits leave room for it now. Otherwise the count asked for: on the way down
    // windows nearly always delay it, on the way up a policy may.
    let up_at_once = direction == Direction::Up && run(outermost)?.scaled_to.is_some_and(|to| to > current);
    let outcome_of = |decision: &Decision| {
        // No metric can ask for what the bounds do not allow.
        let to = if up_at_once { decision.scaled_to? } else { decision.proposal?.clamp(plan.min, plan.max) };
        let changes = match direction {
            Direction::Up => to > current,
            Direction::Down => to < current,
        };
        changes.then_some(to)
    };
    let outcome = |value: i64| outcome_of(&run(value)?);
    outcome(outermost)?;
    let start = match direction {
        Direction::Up => 0,
        Direction::Down => value.max(far),
    };
    if outcome(start).is_some() {
        // The value does not matter: any value brings the change.
        return None;
    }
    let (mut stays, mut changes) = (start, outermost);
    while stays.abs_diff(changes) > 1 {
        let middle = stays.midpoint(changes);
        if outcome(middle).is_some() {
            changes = middle;
        } else {
            stays = middle;
        }
    }
    // Requests of a few milli-units cannot be used to every percentage. The nearest that they can be used to is named.
    if per_cent {
        let reached = |value: i64| utilization(&run(value)?, metric);
        (stays, changes) = match direction {
            Direction::Up => reached(stays).map(|per_cent| (per_cent, per_cent.saturating_add(1)))?,
            Direction::Down => reached(changes).map(|per_cent| (per_cent.saturating_add(1), per_cent))?,
        };
    }
    let decided = run(changes)?;
    let to = outcome_of(&decided)?;
    let beyond = match direction {
        Direction::Up => value > stays,
        Direction::Down => value < stays,
    };
    // Samples of single pods may not add up to what their average says. Then nothing is claimed.
    if outcome(stays).is_some() || beyond != outcome_of(decision).is_some() {
        return None;
    }
    let at_once = decided.scaled_to.is_some_and(|scaled| scaled == to);
    let label = format!("the {} of {}", unit(&planned.metric), planned.label);
    Some(Counterfactual::Value { metric, label, direction, edge: stays, per_cent, beyond, to, at_once })
}

/// What [`with_value`] varies, in a word.
fn unit(metric: &Metric) -> &'static str {
    match metric.target {
        _ if metric.source.is_per_pod() => "average",
        Some(Target::AverageValue(_)) => "total",
        _ => "value",
    }
}

fn utilization(decision: &Decision, metric: usize) -> Option<i64> {
    decision.metrics.get(metric)?.result.ok()?.utilization.map(i64::from)
}

/// The first instant at which the engine acts though nothing but time has changed.
///
/// The reconciliations on the way matter where proposals change with time, as they do while pods are young: what they
/// recommend then holds the count later. So they are run too, and an instant is named only if the engine acts at it
/// with them and without them.
fn next_change(after: &Autoscaler, decision: &Decision, case: &Case) -> Option<Counterfactual> {
    let mut observed = case.observed.clone();
    if let Some(replicas) = decision.scaled_to {
        observed.spec_replicas = replicas;
    }
    let last_ms = case.now_ms.saturating_add(FARTHEST_MS);
    let mut instants = instants(after, case);
    instants.retain(|(at_ms, _)| (case.now_ms.saturating_add(1)..=last_ms).contains(at_ms));
    instants.sort_by_key(|(at_ms, _)| *at_ms);
    instants.dedup_by_key(|(at_ms, _)| *at_ms);
    instants.truncate(MAX_INSTANTS);

    let mut running = after.clone();
    let mut syncs = (1..)
        .map(|step: i64| case.now_ms.saturating_add(step.saturating_mul(SYNC_MS)))
        .take_while(|at_ms| *at_ms <= last_ms)
        .take((FARTHEST_MS / SYNC_MS) as usize)
        .peekable();
    let by_sync = |at_ms: i64, to: i32| {
        Some(Counterfactual::Time { at_ms, to, because: Because::Reconciliations { every_ms: SYNC_MS } })
    };
    for (at_ms, because) in instants {
        while let Some(sync_ms) = syncs.next_if(|sync_ms| *sync_ms < at_ms) {
            if let Some(to) = running.reconcile(sync_ms, &observed).scaled_to {
                return by_sync(sync_ms, to);
            }
        }
        let directly = after.clone().reconcile(at_ms, &observed).scaled_to;
        if directly.is_some() && directly == running.clone().reconcile(at_ms, &observed).scaled_to {
            return directly.map(|to| Counterfactual::Time { at_ms, to, because });
        }
    }
    // Recommendations of these reconciliations lose their effect at instants not known beforehand.
    syncs.find_map(|sync_ms| by_sync(sync_ms, running.reconcile(sync_ms, &observed).scaled_to?))
}

/// Every instant at which something remembered or observed loses its effect.
fn instants(after: &Autoscaler, case: &Case) -> Vec<(i64, Because)> {
    let plan = after.plan();
    let memory = after.memory();
    // A lifetime with a window's edge in it: without a behaviour a recommendation counts for one millisecond more.
    let windows = match &plan.behavior {
        Some(rules) => vec![rules.up.window_ms, rules.down.window_ms],
        None => vec![plan.downscale_stabilization_ms.saturating_add(1)],
    };
    let mut instants = Vec::new();
    for recommendation in &memory.recommendations {
        for window_ms in &windows {
            let because = Because::RecommendationLeaves {
                replicas: recommendation.replicas,
                recommended_ms: recommendation.at_ms,
            };
            instants.push((recommendation.at_ms.saturating_add(*window_ms), because));
        }
    }
    if let Some(rules) = &plan.behavior {
        for event in memory.scale_ups.iter().chain(&memory.scale_downs) {
            for policy in rules.up.policies.iter().chain(&rules.down.policies) {
                let period_ms = i64::from(policy.period_seconds) * 1000;
                let because =
                    Because::PolicyPeriodEnds { change: event.change, scaled_ms: event.at_ms, period_ms };
                instants.push((event.at_ms.saturating_add(period_ms), because));
            }
        }
    }
    for pod in &case.observed.pods {
        if let Some(started_ms) = pod.started_ms {
            let at_ms = started_ms.saturating_add(after.settings().cpu_init_ms);
            instants.push((at_ms, Because::PodInitialized { pod: pod.name.to_string() }));
        }
    }
    // Last, so that anything else that ends at the same instant is named instead.
    instants.push((case.now_ms.saturating_add(1), Because::NextReconciliation));
    instants
}
