//! Per-pod metrics: Resource, `ContainerResource` and Pods.

use super::{
    Context, MetricError, PodTally, PodUse, Proposal, Source, Verdict, ceil_to_replicas, pods::use_of,
    requests,
};
use crate::observation::{Pod, PodSamples};

/// Sums over the samples that count so far. 64-bit sums wrap, as upstream's do.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    usage: i64,
    requests: i64,
    /// How many samples there are.
    samples: u32,
    /// How many of them belong to pods with a known request.
    requested: u32,
}

impl Sums {
    fn add(&mut self, usage: i64) {
        self.usage = self.usage.wrapping_add(usage);
        self.samples += 1;
    }

    fn add_requested(&mut self, usage: i64, request: i64) {
        self.add(usage);
        self.requests = self.requests.wrapping_add(request);
        self.requested += 1;
    }
}

/// The inputs of the rest of the computation: a ratio, and how the sums become one.
trait Measure {
    /// The ratio of current to target; an error where there is nothing to divide by.
    fn ratio(&self, sums: &Sums) -> Result<f64, MetricError>;
}

/// `GetMetricUsageRatio`.
struct Plain {
    target_milli: i64,
}

impl Plain {
    /// Integer division, toward zero.
    fn average(sums: &Sums) -> i64 {
        sums.usage.checked_div(i64::from(sums.samples)).unwrap_or(0)
    }
}

impl Measure for Plain {
    fn ratio(&self, sums: &Sums) -> Result<f64, MetricError> {
        Ok(Self::average(sums) as f64 / self.target_milli as f64)
    }
}

/// `GetResourceUtilizationRatio`. Samples of unlisted pods have no request: their usage is left out.
struct Utilization {
    target_per_cent: i32,
}

impl Utilization {
    /// Whole per cent, narrowed to 32 bits without a check, as upstream does.
    fn per_cent(sums: &Sums) -> Result<i32, MetricError> {
        if sums.requests == 0 {
            return Err(MetricError::NoMatchingMetrics);
        }
        Ok(sums.usage.wrapping_mul(100).wrapping_div(sums.requests) as i32)
    }
}

impl Measure for Utilization {
    fn ratio(&self, sums: &Sums) -> Result<f64, MetricError> {
        Ok(f64::from(Self::per_cent(sums)?) / f64::from(self.target_per_cent))
    }
}

/// `calcPlainMetricReplicas`: milli-units per pod.
pub(super) fn plain(
    source: &Source,
    context: &Context,
    pods: &[Pod],
    samples: &PodSamples,
    target_milli: i64,
) -> Result<Proposal, MetricError> {
    if pods.is_empty() {
        return Err(MetricError::NoPods);
    }
    let cpu = source.is_cpu();
    let mut tally = PodTally::default();
    let mut sums = Sums::default();
    for (position, pod) in pods.iter().enumerate() {
        let sample = samples.of(position);
        let usage = use_of(pod, sample, cpu, context);
        tally.count(usage);
        if let (PodUse::Counted, Some(sample)) = (usage, sample) {
            sums.add(sample.milli);
        }
    }
    for milli in &samples.unlisted {
        sums.add(*milli);
        tally.unlisted += 1;
    }
    if sums.samples == 0 {
        return Err(MetricError::NoUsableMetrics);
    }
    let measure = Plain { target_milli };
    let fill = Fill {
        // On the way down a missing pod is assumed to use exactly the target.
        missing_down: target_milli.wrapping_mul(i64::from(tally.missing)),
        missing_requests: 0,
        unready_requests: 0,
    };
    let mut proposal = decide(&measure, context, sums, tally, fill)?;
    proposal.usage = Some(Plain::average(&sums));
    Ok(proposal)
}

/// `GetResourceReplicas`: per cent of the requests.
pub(super) fn utilization(
    source: &Source,
    context: &Context,
    pods: &[Pod],
    samples: &PodSamples,
    target_per_cent: i32,
) -> Result<Proposal, MetricError> {
    if pods.is_empty() {
        return Err(MetricError::NoPods);
    }
    // On the way down a missing pod is assumed to use all of its request, or the target if that is more.
    let missing_per_cent = i64::from(target_per_cent.max(100));
    let cpu = source.is_cpu();
    let mut tally = PodTally::default();
    let mut sums = Sums::default();
    let mut fill = Fill::default();
    // A missing request is reported only if there is a sample at all, even of a pod that does not count.
    let mut missing_request = None;
    for (position, pod) in pods.iter().enumerate() {
        let sample = samples.of(position);
        let usage = use_of(pod, sample, cpu, context);
        tally.count(usage);
        let request =
            requests::of_pod(source, context.pod_level_resources, position, pod).unwrap_or_else(|error| {
                missing_request.get_or_insert(error);
                0
            });
        match (usage, sample) {
            (PodUse::Counted, Some(sample)) => sums.add_requested(sample.milli, request),
            (PodUse::Missing, _) => {
                let assumed = request.wrapping_mul(missing_per_cent) / 100;
                fill.missing_down = fill.missing_down.wrapping_add(assumed);
                fill.missing_requests = fill.missing_requests.wrapping_add(request);
            }
            (PodUse::Unready, _) => fill.unready_requests = fill.unready_requests.wrapping_add(request),
            _ => {}
        }
    }
    tally.unlisted = samples.unlisted.len() as u32;
    sums.samples += tally.unlisted;
    if sums.samples == 0 {
        return Err(MetricError::NoUsableMetrics);
    }
    if let Some(error) = missing_request {
        return Err(error);
    }
    let measure = Utilization { target_per_cent };
    let mut proposal = decide(&measure, context, sums, tally, fill)?;
    proposal.utilization = Some(Utilization::per_cent(&sums)?);
    proposal.usage = Some(sums.usage.checked_div(i64::from(sums.requested)).unwrap_or(0));
    Ok(proposal)
}

/// The values with which unready and missing pods are added.
#[derive(Debug, Clone, Copy, Default)]
struct Fill {
    /// The usage of all missing pods together on the way down; on the way up it is zero.
    missing_down: i64,
    missing_requests: i64,
    unready_requests: i64,
}

/// The part that both kinds of targets share.
fn decide(
    measure: &impl Measure,
    context: &Context,
    sums: Sums,
    pods: PodTally,
    fill: Fill,
) -> Result<Proposal, MetricError> {
    let current = context.spec_replicas;
    let ratio = measure.ratio(&sums)?;
    let mut proposal = Proposal {
        replicas: current,
        utilization: None,
        usage: None,
        ratio,
        adjusted_ratio: None,
        verdict: Verdict::WithinTolerance,
        pods,
    };
    let up_with_unready = pods.unready > 0 && ratio > 1.0;
    if !up_with_unready && pods.missing == 0 {
        if !context.tolerances.contain(ratio) {
            // Times the pods that count, not times the current replicas.
            proposal.replicas = ceil_to_replicas(ratio * f64::from(pods.counted));
            proposal.verdict = Verdict::Change;
        }
        return Ok(proposal);
    }

    let mut filled = sums;
    // With a ratio of exactly 1 missing pods are left out.
    let off_target = ratio.partial_cmp(&1.0).filter(|order| order.is_ne());
    if let Some(order) = off_target.filter(|_| pods.missing > 0) {
        let usage = if order.is_lt() { fill.missing_down } else { 0 };
        filled.usage = filled.usage.wrapping_add(usage);
        filled.requests = filled.requests.wrapping_add(fill.missing_requests);
        filled.samples += pods.missing;
    }
    if up_with_unready {
        filled.requests = filled.requests.wrapping_add(fill.unready_requests);
        filled.samples += pods.unready;
    }
    let adjusted = measure.ratio(&filled)?;
    proposal.adjusted_ratio = Some(adjusted);
    if context.tolerances.contain(adjusted) {
        return Ok(proposal);
    }
    let turned = (ratio < 1.0 && adjusted > 1.0) || (ratio > 1.0 && adjusted < 1.0);
    let replicas = ceil_to_replicas(adjusted * f64::from(filled.samples));
    if turned || (adjusted < 1.0 && replicas > current) || (adjusted > 1.0 && replicas < current) {
        proposal.verdict = Verdict::DirectionUncertain;
        return Ok(proposal);
    }
    proposal.replicas = replicas;
    proposal.verdict = Verdict::Change;
    Ok(proposal)
}

impl PodTally {
    fn count(&mut self, usage: PodUse) {
        let counter = match usage {
            PodUse::Counted => &mut self.counted,
            PodUse::Missing => &mut self.missing,
            PodUse::Unready => &mut self.unready,
            PodUse::Ignored => &mut self.ignored,
        };
        *counter += 1;
    }
}
