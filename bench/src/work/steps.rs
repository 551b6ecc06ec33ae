//! How fast the autoscaler decides.

use std::time::Duration;

use anyhow::{Context, Result};
use autoscale::{
    Autoscaler, ControllerSettings, HpaSpec, MetricReading, Observation, Pod, PodSamples, Sample,
};
use rustix::time::{ClockId, clock_gettime};

use super::Work;
use crate::{
    contestant::Contestant,
    figures::{Figure, Goal, Unit},
};

const PODS: i32 = 10;

/// One step is one sync of the controller.
const SYNC_MS: i64 = 15_000;

/// Steps between two readings of the clock.
const STEPS_AT_A_TIME: usize = 10_000;

/// The `tcp` service's autoscaler with its connections metric only.
const SPEC: &str = "
minReplicas: 1
maxReplicas: 20
metrics:
  - type: Pods
    pods:
      metric: {name: tcp_state_established}
      target: {type: AverageValue, averageValue: 5k}
behavior:
  scaleUp:
    stabilizationWindowSeconds: 0
    policies: [{type: Pods, value: 1, periodSeconds: 30}]
  scaleDown:
    stabilizationWindowSeconds: 45
    policies: [{type: Pods, value: 1, periodSeconds: 30}]
";

pub(super) fn work() -> Work {
    Work {
        name: "steps",
        about: format!(
            "decisions of the autoscaler's engine: one metric of {PODS} pods that rises and falls, the behaviour of the \
             `tcp` service, one sync after the other, on one core"
        ),
        contestants: vec![Contestant::Playctl],
        once: false,
        figures: vec![Figure {
            title: "steps",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::From { value: 1e6 }],
        }],
        turn: Box::new(|_, _, length| Ok(vec![steps_per_second(length)?])),
    }
}

fn steps_per_second(length: Duration) -> Result<f64> {
    let spec: HpaSpec = yaml::from_str(SPEC)?;
    let mut autoscaler = Autoscaler::new(&spec, ControllerSettings::default())?;
    let observations = observations();
    let mut now_ms = 0;
    let mut steps = 0;
    let mut scaled = 0;
    let (begun, cpu) = (clock::now(), thread_time());
    while begun.elapsed() < length {
        for observed in observations.iter().cycle().take(STEPS_AT_A_TIME) {
            now_ms += SYNC_MS;
            let decision = autoscaler.reconcile(now_ms, observed);
            // Used, so that it cannot be optimised away.
            scaled += usize::from(decision.scaled_to.is_some());
        }
        steps += STEPS_AT_A_TIME;
    }
    let cpu = thread_time().checked_sub(cpu).context("the thread's clock went backwards")?;
    anyhow::ensure!(
        scaled > 0 && scaled < steps,
        "{scaled} of {steps} steps scaled: the metric does not move"
    );
    Ok(steps as f64 / cpu.as_secs_f64())
}

/// Two hours of a load that rises from half the target to twice the target and falls again.
fn observations() -> Vec<Observation> {
    let syncs: u32 = 480;
    (0..syncs)
        .map(|sync| {
            let phase = f64::from(sync) / f64::from(syncs);
            let average = 5_000.0 * (1.25 - 0.75 * (phase * std::f64::consts::TAU).cos());
            let listed = (0..PODS)
                .map(|pod| {
                    // Connections are not spread evenly.
                    let milli = (average * (0.9 + 0.02 * f64::from(pod)) * 1000.0) as i64;
                    Some(Sample { milli, ..Sample::default() })
                })
                .collect();
            Observation {
                spec_replicas: PODS,
                status_replicas: PODS,
                pods: vec![Pod::default(); PODS as usize],
                metrics: vec![MetricReading::Pods(PodSamples { listed, unlisted: Vec::new() })],
                ..Observation::default()
            }
        })
        .collect()
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
