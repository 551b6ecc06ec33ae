//! Family A: one stateless call of the replica calculator.

use autoscale::{
    MetricError, Source, Target, Tolerances,
    calculator::{Context, Metric, propose},
};
use serde::Deserialize;

use super::{
    Differences,
    inputs::{RawMetric, RawPod, containers},
};

#[derive(Deserialize)]
pub(super) struct Line {
    now: i64,
    config: Config,
    call: Call,
    pods: Vec<RawPod>,
    metric: RawMetric,
    expect: Expect,
}

#[derive(Deserialize)]
struct Config {
    tolerance_down: f64,
    tolerance_up: f64,
    cpu_init_ms: i64,
    initial_readiness_delay_ms: i64,
    pod_level_resources: bool,
}

#[derive(Deserialize)]
struct Call {
    r#fn: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    container: String,
    current: i32,
    target: i64,
}

#[derive(Deserialize)]
struct Expect {
    error: Option<String>,
    replicas: Option<i32>,
    utilization: Option<i32>,
    usage: Option<i64>,
}

pub(super) fn check(line: &Line) -> Result<Vec<String>, String> {
    let call = &line.call;
    let resource = || match call.container.as_str() {
        "" => Source::Resource { name: call.resource.clone() },
        container => {
            Source::ContainerResource { name: call.resource.clone(), container: container.to_owned() }
        }
    };
    let (kind, source, target) = match call.r#fn.as_str() {
        "resource_utilization" => ("Resource", resource(), Target::Utilization(call.target as i32)),
        "resource_value" => ("Resource", resource(), Target::AverageValue(call.target)),
        "pods_average" => ("Pods", Source::Pods, Target::AverageValue(call.target)),
        "object_value" => ("Object", Source::Object, Target::Value(call.target)),
        "object_average" => ("Object", Source::Object, Target::AverageValue(call.target)),
        "external_value" => ("External", Source::External, Target::Value(call.target)),
        "external_average" => ("External", Source::External, Target::AverageValue(call.target)),
        other => return Err(format!("unknown function {other}")),
    };
    let config = &line.config;
    let context = Context {
        now_ms: line.now,
        tolerances: Tolerances { down: config.tolerance_down, up: config.tolerance_up },
        cpu_init_ms: config.cpu_init_ms,
        initial_readiness_delay_ms: config.initial_readiness_delay_ms,
        pod_level_resources: config.pod_level_resources,
        // Each function compares the field that corresponds to its `current`.
        spec_replicas: call.current,
        status_replicas: call.current,
    };
    let no_containers = containers(&[]);
    let pods: Vec<_> = line.pods.iter().map(|pod| pod.pod(&no_containers)).collect();
    let reading = line.metric.reading(kind, &pods)?;
    let metric = Metric { source, target: Some(target) };
    let result = propose(&metric, &context, &pods, &reading);

    let mut differences = Differences::default();
    let expect = &line.expect;
    let error = result.err().map(|error| error_name(error).to_owned());
    differences.compare("error", &expect.error, &error);
    if let (Ok(proposal), None) = (result, &expect.error) {
        differences.compare("replicas", &expect.replicas, &Some(proposal.replicas));
        differences.compare("utilization", &expect.utilization, &proposal.utilization);
        // An absent usage has no defined value.
        if expect.usage.is_some() {
            differences.compare("usage", &expect.usage, &proposal.usage);
        }
    }
    Ok(differences.found)
}

fn error_name(error: MetricError) -> &'static str {
    match error {
        MetricError::Fetch => "metric_fetch",
        MetricError::NoPods => "no_pods",
        MetricError::NoUsableMetrics => "no_usable_metrics",
        MetricError::MissingRequest { .. } => "missing_request",
        MetricError::NoMatchingMetrics => "no_matching_metrics",
        MetricError::NoTarget => "no_target",
    }
}
