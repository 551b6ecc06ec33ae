//! What the autoscaler is shown: pods, and samples as the metrics pipeline has them.

use std::{sync::Arc, time::Instant};

use ::platform::{target::ReplicaPhase, values::Resources};
use autoscale::{
    Container, ContainerKind, MetricReading, Observation, Phase, Pod, PodSamples, Ready, ReadyStatus,
    Requests, Sample, spec::MetricSpec,
};

use super::{
    super::{platform::Answers, recorder::Recorder, service::Replica},
    metric::{pods_metric, resource},
};

/// The custom metrics, as they are named in the cluster: established connections, and packets received per second.
pub(crate) const CONNECTIONS: &str = "tcp_state_established";
pub(crate) const PACKETS: &str = "udp_packets_received";

/// What the autoscaler sees of its service.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) replicas: &'a mut [Replica],
    pub(crate) desired: u32,
    pub(crate) resources: &'a Resources,
    /// Prometheus', if custom metrics come from there.
    pub(crate) answers: Option<&'a Answers>,
}

/// Everything one sync reads: all replicas, those that drain included, since the selector of a Deployment matches
/// terminating pods too.
pub(super) fn observation(
    service: &str,
    metrics: &[MetricSpec],
    seen: &mut Seen<'_>,
    clock: &Recorder,
    now: Instant,
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
                answered(service, name, answers, seen.replicas, clock.unix_ms(now))
            }
            _ => reading(metric, seen.replicas, clock, now),
        })
        .collect();
    let active = seen.replicas.iter().filter(|replica| replica.told.is_none()).count();
    Observation {
        spec_replicas: signed(seen.desired),
        status_replicas: i32::try_from(active).unwrap_or(i32::MAX),
        pods,
        metrics,
        ..Observation::default()
    }
}

fn pod(replica: &Replica, containers: &Arc<[Container]>, clock: &Recorder) -> Pod {
    let status = if replica.phase == ReplicaPhase::Ready { ReadyStatus::True } else { ReadyStatus::False };
    let ready = Some(Ready { status, since_ms: clock.unix_ms(replica.since) });
    Pod {
        name: Arc::from(replica.name.as_str()),
        phase: Phase::Running,
        ready,
        started_ms: Some(clock.unix_ms(replica.created)),
        deleting: replica.told.is_some(),
        containers: Arc::clone(containers),
        requests: Requests::default(),
    }
}

/// A custom metric as Prometheus has it: a pod without a value is a missing sample, an error a failed metric.
fn answered(
    service: &str,
    metric: &str,
    answers: &Answers,
    replicas: &[Replica],
    now_ms: i64,
) -> MetricReading {
    let Some(Ok(by_pod)) = answers.get(&(service.to_owned(), metric.to_owned())) else {
        return MetricReading::Failed;
    };
    let sample = |replica: &Replica| {
        by_pod.get(&replica.name).map(|milli| Sample { milli: *milli, at_ms: now_ms, window_ms: 0 })
    };
    MetricReading::Pods(PodSamples { listed: replicas.iter().map(sample).collect(), unlisted: Vec::new() })
}

fn reading(metric: &MetricSpec, replicas: &mut [Replica], clock: &Recorder, now: Instant) -> MetricReading {
    let sample = |replica: &mut Replica| -> Option<Sample> {
        if let Some(name) = pods_metric(metric) {
            let milli = custom_metric(name, replica, now)?;
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
    let listed: Vec<Option<Sample>> = replicas.iter_mut().map(sample).collect();
    if listed.iter().all(Option::is_none) {
        return MetricReading::Failed;
    }
    MetricReading::Pods(PodSamples { listed, unlisted: Vec::new() })
}

/// A replica's value of a custom metric, as the pipeline has it: what was scraped, over the pipeline's window.
pub(super) fn custom_metric(name: &str, replica: &mut Replica, now: Instant) -> Option<i64> {
    match name {
        CONNECTIONS => {
            let connections = replica.series.connections_windowed(now)?;
            Some(i64::try_from(connections).ok()?.saturating_mul(1000))
        }
        PACKETS => Some((replica.series.packets_per_second_windowed(now)? * 1000.0).round() as i64),
        _ => None,
    }
}

pub(super) fn active(replicas: &mut [Replica]) -> impl Iterator<Item = &mut Replica> {
    replicas.iter_mut().filter(|replica| replica.told.is_none())
}

fn signed(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}
