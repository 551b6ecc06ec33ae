//! The autoscaler's view: pods, and the metrics pipeline's samples.

use std::sync::Arc;

use autoscale::{
    Container, ContainerKind, MetricReading, Observation, Phase, Pod, PodSamples, Ready, ReadyStatus,
    Requests, Sample, spec::MetricSpec,
};
use platform::values::Resources;

use super::metric::{pods_metric, resource};
use crate::{MetricAnswer, Time, instance::Instance};

/// The autoscaler's axis: milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// When the run began.
    pub(crate) began_unix_ms: i64,
}

impl Clock {
    pub(crate) fn unix_ms(self, at: Time) -> i64 {
        self.began_unix_ms.saturating_add_unsigned(at.as_millis())
    }

    /// Milliseconds since the run began.
    pub(crate) fn since_began(self, unix_ms: i64) -> u64 {
        u64::try_from(unix_ms.saturating_sub(self.began_unix_ms)).unwrap_or(0)
    }
}

/// The autoscaler's view of its service.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) replicas: Vec<&'a mut Instance>,
    pub(crate) desired: u32,
    pub(crate) resources: &'a Resources,
    /// Prometheus' answers, if custom metrics come from there.
    pub(crate) answers: Option<&'a [MetricAnswer]>,
}

/// Everything that one sync reads: all replicas, including draining ones, since a Deployment's selector matches
/// terminating pods too.
pub(super) fn observation(
    service: &str,
    metrics: &[MetricSpec],
    seen: &mut Seen<'_>,
    clock: Clock,
    now: Time,
) -> Observation {
    let requests: Requests =
        seen.resources.requests.iter().map(|(name, quantity)| (name.as_str(), quantity.milli())).collect();
    let containers: Arc<[Container]> =
        Arc::from([Container { name: "service".into(), kind: ContainerKind::Regular, requests }]);
    let pods = seen.replicas.iter().map(|replica| pod(replica, &containers, clock)).collect();
    let metrics = metrics
        .iter()
        .map(|metric| match (pods_metric(metric), seen.answers) {
            (Some(name), Some(answers)) => {
                answered(service, name, answers, &seen.replicas, clock.unix_ms(now))
            }
            _ => reading(metric, &mut seen.replicas, clock, now),
        })
        .collect();
    let active = seen.replicas.iter().filter(|replica| replica.is_active()).count();
    Observation {
        spec_replicas: signed(seen.desired),
        status_replicas: i32::try_from(active).unwrap_or(i32::MAX),
        pods,
        metrics,
        ..Observation::default()
    }
}

fn pod(replica: &Instance, containers: &Arc<[Container]>, clock: Clock) -> Pod {
    let status = if replica.is_ready() { ReadyStatus::True } else { ReadyStatus::False };
    let ready = Some(Ready { status, since_ms: clock.unix_ms(replica.since) });
    Pod {
        name: Arc::clone(&replica.name),
        phase: Phase::Running,
        ready,
        started_ms: Some(clock.unix_ms(replica.created)),
        deleting: !replica.is_active(),
        containers: Arc::clone(containers),
        requests: Requests::default(),
    }
}

/// A custom metric from Prometheus: a pod without a value is a missing sample, an error a failed metric.
fn answered(
    service: &str,
    metric: &str,
    answers: &[MetricAnswer],
    replicas: &[&mut Instance],
    now_ms: i64,
) -> MetricReading {
    let of = |answer: &&MetricAnswer| answer.service == service && answer.metric == metric;
    let Some(Ok(by_pod)) = answers.iter().find(of).map(|answer| &answer.values) else {
        return MetricReading::Failed;
    };
    let sample = |replica: &&mut Instance| {
        by_pod.get(&*replica.name).map(|milli| Sample { milli: *milli, at_ms: now_ms, window_ms: 0 })
    };
    MetricReading::Pods(PodSamples { listed: replicas.iter().map(sample).collect(), unlisted: Vec::new() })
}

fn reading(metric: &MetricSpec, replicas: &mut [&mut Instance], clock: Clock, now: Time) -> MetricReading {
    let sample = |replica: &mut Instance| -> Option<Sample> {
        if let Some(name) = pods_metric(metric) {
            let milli = replica.series.custom_metric(name, now)?;
            return Some(Sample { milli, at_ms: clock.unix_ms(now), window_ms: 0 });
        }
        match resource(metric)? {
            "cpu" => replica.series.cpu_milli.map(|cpu| Sample {
                milli: cpu.milli,
                at_ms: clock.unix_ms(cpu.at),
                window_ms: i64::try_from(cpu.window.as_millis()).unwrap_or(i64::MAX),
            }),
            "memory" => {
                let bytes = i64::try_from(replica.series.memory_bytes?).ok()?;
                Some(Sample { milli: bytes.saturating_mul(1000), at_ms: clock.unix_ms(now), window_ms: 0 })
            }
            _ => None,
        }
    };
    let listed: Vec<Option<Sample>> = replicas.iter_mut().map(|replica| sample(replica)).collect();
    if listed.iter().all(Option::is_none) {
        return MetricReading::Failed;
    }
    MetricReading::Pods(PodSamples { listed, unlisted: Vec::new() })
}

fn signed(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}
