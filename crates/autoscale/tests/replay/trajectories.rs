//! Family B: one HPA over many reconciliations.

use std::collections::BTreeMap;

use autoscale::{Autoscaler, ControllerSettings, CurrentMetric, Decision, Faults, HpaSpec, Observation};
use serde::Deserialize;

use super::{
    Differences,
    inputs::{RawContainer, RawMetric, RawPod, containers},
};

#[derive(Deserialize)]
pub(super) struct Line {
    controller: Controller,
    #[serde(default)]
    pod_template: Vec<RawContainer>,
    ticks: Vec<Tick>,
}

#[derive(Deserialize)]
struct Controller {
    tolerance: f64,
    downscale_stabilization_ms: i64,
    cpu_init_ms: i64,
    initial_readiness_delay_ms: i64,
    configurable_tolerance: bool,
    #[serde(default)]
    update_latency_ms: i64,
}

#[derive(Deserialize)]
struct Tick {
    t: i64,
    before: Option<String>,
    hpa: Option<HpaSpec>,
    hpa_defaulted: Option<HpaSpec>,
    tolerance_down: Option<f64>,
    tolerance_up: Option<f64>,
    spec: i32,
    status: i32,
    #[serde(default)]
    pods: Vec<RawPod>,
    #[serde(default)]
    metrics: Vec<RawMetric>,
    #[serde(default)]
    scale_get_error: bool,
    #[serde(default)]
    scale_update_error: bool,
    #[serde(default)]
    no_selector: bool,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    desired: i32,
    current: i32,
    scaled_to: Option<i32>,
    rescale_reason: Option<String>,
    conditions: BTreeMap<String, [String; 2]>,
    metrics: Option<Vec<Option<Values>>>,
    #[serde(default)]
    error: bool,
    last_scale: Option<i64>,
    proposal: Option<i32>,
    stabilized: Option<i32>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    util: Option<i32>,
    avg: Option<i64>,
    val: Option<i64>,
}

impl From<CurrentMetric> for Values {
    fn from(metric: CurrentMetric) -> Self {
        Self { util: metric.utilization, avg: metric.average_milli, val: metric.value_milli }
    }
}

pub(super) fn check(line: &Line) -> Result<Vec<String>, String> {
    let controller = &line.controller;
    let settings = ControllerSettings {
        tolerance: controller.tolerance,
        downscale_stabilization_ms: controller.downscale_stabilization_ms,
        cpu_init_ms: controller.cpu_init_ms,
        initial_readiness_delay_ms: controller.initial_readiness_delay_ms,
        configurable_tolerance: controller.configurable_tolerance,
        pod_level_resources: true,
        scale_to_zero: true,
    };
    let template = containers(&line.pod_template);
    let first = line.ticks.first().and_then(|tick| tick.hpa.as_ref()).ok_or("the first tick has no `hpa`")?;
    let mut autoscaler = Autoscaler::new(first, settings).map_err(|error| error.to_string())?;
    let mut differences = Differences::default();
    for (index, tick) in line.ticks.iter().enumerate() {
        differences.place = format!("tick {index} (t {}): ", tick.t);
        match tick.before.as_deref() {
            None => {}
            Some("restart") => autoscaler.restart(),
            Some("recreate") => autoscaler.recreate(),
            Some(other) => return Err(format!("tick {index}: unknown `before` {other}")),
        }
        if let Some(hpa) = &tick.hpa {
            autoscaler.set_spec(hpa).map_err(|error| format!("tick {index}: {error}"))?;
            compare_spec(&mut differences, tick, &autoscaler);
        }
        let pods: Vec<_> = tick.pods.iter().map(|pod| pod.pod(&template)).collect();
        let kinds = autoscaler.spec().metrics.iter().map(|metric| metric.kind.as_str());
        let metrics = tick.metrics.iter().zip(kinds).map(|(raw, kind)| raw.reading(kind, &pods));
        let metrics = metrics.collect::<Result<_, _>>().map_err(|error| format!("tick {index}: {error}"))?;
        let observed = Observation {
            spec_replicas: tick.spec,
            status_replicas: tick.status,
            metrics,
            pods,
            faults: Faults {
                get_scale: tick.scale_get_error,
                update_scale: tick.scale_update_error,
                no_selector: tick.no_selector,
                update_latency_ms: controller.update_latency_ms,
            },
        };
        let decision = autoscaler.reconcile(tick.t, &observed);
        compare_outcome(&mut differences, &tick.expect, &decision, &autoscaler);
    }
    Ok(differences.found)
}

fn compare_spec(differences: &mut Differences, tick: &Tick, autoscaler: &Autoscaler) {
    if let Some(defaulted) = &tick.hpa_defaulted {
        differences.compare("hpa_defaulted", defaulted, autoscaler.spec());
    }
    let tolerances = autoscaler.tolerances();
    if tick.tolerance_down.is_some() {
        differences.compare("tolerance_down", &tick.tolerance_down, &Some(tolerances.down));
    }
    if tick.tolerance_up.is_some() {
        differences.compare("tolerance_up", &tick.tolerance_up, &Some(tolerances.up));
    }
}

fn compare_outcome(
    differences: &mut Differences,
    expect: &Expect,
    decision: &Decision,
    autoscaler: &Autoscaler,
) {
    let status = autoscaler.status();
    differences.compare("desired", &expect.desired, &status.desired_replicas);
    differences.compare("current", &expect.current, &status.current_replicas);
    differences.compare("scaled_to", &expect.scaled_to, &decision.scaled_to);
    let reason = decision.scaled_to.map(|_| decision.rescale_reason().to_string());
    let reason = reason.filter(|reason| !reason.is_empty());
    differences.compare("rescale_reason", &expect.rescale_reason, &reason);
    let conditions = status.conditions.iter().map(|(name, condition)| {
        (name.to_owned(), [condition.status_word().to_owned(), condition.reason.to_string()])
    });
    differences.compare("conditions", &expect.conditions, &conditions.collect());
    let metrics = status.current_metrics.as_ref();
    let metrics = metrics.map(|metrics| metrics.iter().map(|metric| metric.map(Values::from)).collect());
    differences.compare("metrics", &expect.metrics, &metrics);
    differences.compare("error", &expect.error, &decision.error.is_some());
    differences.compare("last_scale", &expect.last_scale, &status.last_scale_ms);
    differences.compare("proposal", &expect.proposal, &decision.proposal);
    differences.compare("stabilized", &expect.stabilized, &decision.stabilized);
}
