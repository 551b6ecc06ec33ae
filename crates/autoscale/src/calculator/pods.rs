//! Which pods count for a metric (`groupPods`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Context, Source};
use crate::observation::{Phase, Pod, PodSamples, ReadyStatus, Sample};

/// How one pod counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PodUse {
    /// Its sample counts.
    Counted,
    /// Has no sample; added later with a conservative guess.
    Missing,
    /// Pending, or (CPU only) not ready or too young; its sample is set aside, and on the way up it counts as zero.
    Unready,
    /// Failed or being deleted: as if it were not there.
    Ignored,
}

/// How many pods of each kind there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub struct PodTally {
    pub counted: u32,
    pub missing: u32,
    pub unready: u32,
    pub ignored: u32,
    /// Samples of pods that are not in the list.
    pub unlisted: u32,
}

/// Says what became of each pod, in the list's order. For explanations: a step counts without making a list.
pub fn classify(source: &Source, context: &Context, pods: &[Pod], samples: &PodSamples) -> Vec<PodUse> {
    pods.iter()
        .enumerate()
        .map(|(position, pod)| use_of(pod, samples.of(position), source.is_cpu(), context))
        .collect()
}

/// The order of the checks matters: a pending pod is unready even without a sample, a deleted one never counts.
pub(super) fn use_of(pod: &Pod, sample: Option<Sample>, cpu: bool, context: &Context) -> PodUse {
    if pod.deleting || pod.phase == Phase::Failed {
        return PodUse::Ignored;
    }
    if pod.phase == Phase::Pending {
        return PodUse::Unready;
    }
    let Some(sample) = sample else {
        return PodUse::Missing;
    };
    // Readiness only matters for CPU: starting up burns CPU that says nothing about the load to come.
    if cpu && is_unready_for_cpu(pod, sample, context) { PodUse::Unready } else { PodUse::Counted }
}

fn is_unready_for_cpu(pod: &Pod, sample: Sample, context: &Context) -> bool {
    let (Some(ready), Some(started_ms)) = (pod.ready, pod.started_ms) else {
        return true;
    };
    let not_ready = ready.status == ReadyStatus::False;
    if started_ms.saturating_add(context.cpu_init_ms) > context.now_ms {
        // Still in its initialisation period: the sample must lie wholly after the last change of readiness.
        not_ready || sample.at_ms < ready.since_ms.saturating_add(sample.window_ms)
    } else {
        // Later an unready pod counts, unless it never was ready: then readiness changed last right after the start.
        not_ready && started_ms.saturating_add(context.initial_readiness_delay_ms) > ready.since_ms
    }
}
