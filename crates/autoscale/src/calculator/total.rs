//! Metrics with one value for all: Object and External.

use super::{Context, MetricError, PodTally, Proposal, Verdict, ceil_to_replicas};
use crate::observation::{Phase, Pod};

/// A target for the whole (`GetObjectMetricReplicas`, `GetExternalMetricReplicas`).
///
/// With no replicas there are no pods to multiply by and no tolerance: this is the way back from zero.
pub(super) fn value(
    context: &Context,
    pods: &[Pod],
    usage: i64,
    target_milli: i64,
) -> Result<Proposal, MetricError> {
    let ratio = usage as f64 / target_milli as f64;
    let mut proposal = unchanged(context.spec_replicas, ratio);
    proposal.usage = Some(usage);
    if context.spec_replicas == 0 {
        proposal.replicas = ceil_to_replicas(ratio);
        proposal.verdict = Verdict::Change;
    } else if !context.tolerances.contain(ratio) {
        if pods.is_empty() {
            return Err(MetricError::NoPods);
        }
        // Ready pods, not current replicas; a pod that is being deleted counts too (`getReadyPodsCount`).
        let ready = pods.iter().filter(|pod| pod.phase == Phase::Running && pod.is_ready()).count();
        proposal.pods.counted = ready as u32;
        proposal.replicas = ceil_to_replicas(ratio * ready as f64);
        proposal.verdict = Verdict::Change;
    }
    Ok(proposal)
}

/// A target per replica of an object's value (`GetObjectPerPodMetricReplicas`).
pub(super) fn object_average(context: &Context, usage: i64, target_milli: i64) -> Proposal {
    let mut proposal = average(context, usage, target_milli);
    proposal.usage = per_replica(usage, context.status_replicas);
    proposal
}

/// A target per replica of the sum of the series (`GetExternalPerPodMetricReplicas`).
pub(super) fn external_average(context: &Context, series: &[i64], target_milli: i64) -> Proposal {
    let mut usage = 0_i64;
    for value in series {
        usage = usage.wrapping_add(*value);
        if usage < 0 {
            // Upstream treats every negative sum as an overflow.
            usage = i64::MAX;
            break;
        }
    }
    let mut proposal = average(context, usage, target_milli);
    proposal.usage = if usage as f64 >= i64::MAX as f64 {
        Some(i64::MAX)
    } else {
        per_replica(usage, context.status_replicas)
    };
    proposal
}

/// Divides by the *status* replicas: the actual number, not the desired one.
fn average(context: &Context, usage: i64, target_milli: i64) -> Proposal {
    let replicas = context.status_replicas;
    let ratio = usage as f64 / (target_milli as f64 * f64::from(replicas));
    let mut proposal = unchanged(replicas, ratio);
    if !context.tolerances.contain(ratio) {
        proposal.replicas = ceil_to_replicas(usage as f64 / target_milli as f64);
        proposal.verdict = Verdict::Change;
    }
    proposal
}

/// ⌈usage ÷ replicas⌉; undefined for none.
fn per_replica(usage: i64, replicas: i32) -> Option<i64> {
    (replicas != 0).then(|| (usage as f64 / f64::from(replicas)).ceil() as i64)
}

fn unchanged(replicas: i32, ratio: f64) -> Proposal {
    Proposal {
        replicas,
        utilization: None,
        usage: None,
        ratio,
        adjusted_ratio: None,
        verdict: Verdict::WithinTolerance,
        pods: PodTally::default(),
    }
}
