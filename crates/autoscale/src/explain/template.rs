//! A state file for a manifest, ready to edit: values from its status, and placeholders for the rest.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use super::{
    Case,
    state::{self, StateError},
};
use crate::{
    calculator::{Metric, Source, Target},
    manifest::Manifest,
    observation::MetricReading,
    plan::PlannedMetric,
    quantity::Quantity,
    spec::{InvalidSpec, MetricSpec},
};

/// Maximum number of pods in the text.
const PODS_MAX: i64 = 10_000;
/// The placeholder for an unknown request: one core, or 1 GiB.
const CORE_MILLI: i64 = 1_000;
const MEMORY_MILLI: i64 = 1_000 << 30;

/// The text of a state file, which can be read back and explained.
pub fn template(manifest: &Manifest) -> Result<String, InvalidSpec> {
    let spec = manifest.spec.defaulted();
    let errors = spec.validate(true);
    if !errors.is_empty() {
        return Err(InvalidSpec(errors));
    }
    let status = manifest.status.as_ref().unwrap_or(&Value::Null);
    let min = i64::from(spec.min_replicas.unwrap_or(1));
    let count = |key: &str| status[key].as_i64().filter(|count| (0..=i64::from(i32::MAX)).contains(count));
    let current = count("currentReplicas").unwrap_or(min);
    let wanted = count("desiredReplicas").unwrap_or(current);
    let pods: Vec<String> =
        (0..current.min(PODS_MAX)).map(|index| format!("{}-{index}", manifest.target.name)).collect();

    let known: Vec<_> = spec
        .metrics
        .iter()
        .filter_map(|spec| Some((spec, PlannedMetric::new(spec)?, reported(status, spec))))
        .collect();
    let requests = requests(known.iter().map(|(_, planned, reported)| (&planned.metric, *reported)));
    let mut metrics = String::new();
    for (spec, planned, reported) in &known {
        let is_known = reported.is_some();
        let sample = sample(&planned.metric, reported.unwrap_or_default(), current, &requests);
        let source = if is_known { "from status" } else { "not in status: the target stands in" };
        let target = crate::words::TargetWords(planned);
        // Writing to a string cannot fail.
        let _ =
            writeln!(metrics, "  # {} {}, target {target}; {source}", spec.kind, in_comment(&planned.label));
        let _ = match spec.kind.as_str() {
            "Object" => writeln!(metrics, "  - object: {sample}"),
            "External" => writeln!(metrics, "  - external: [{sample}]"),
            _ => {
                let samples: Vec<String> =
                    pods.iter().map(|pod| format!("{}: {sample}", quoted(pod))).collect();
                writeln!(metrics, "  - pods: {{{}}}", samples.join(", "))
            }
        };
    }
    let containers = containers(&requests);

    let mut text = String::from(
        "# What the autoscaler sees: playctl explain --hpa HPA --state THIS. All keys: docs/autoscaling.md\n\
         # now: 2026-11-21T14:02:50Z    # left out: the present\n",
    );
    let _ = writeln!(
        text,
        "replicas: {wanted}    # spec.replicas of {} {}",
        in_comment(&manifest.target.kind),
        in_comment(&manifest.target.name)
    );
    if wanted != current {
        let _ = writeln!(text, "statusReplicas: {current}");
    }
    text += if pods.is_empty() { "pods: []\n" } else { "pods:\n" };
    for pod in &pods {
        let _ = writeln!(text, "  - {{name: {}{containers}}}", quoted(pod));
    }
    let _ = write!(text, "metrics:\n{metrics}");
    match status["lastScaleTime"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok()) {
        Some(at) => _ = write!(text, "history:\n  lastScale: {at}\n"),
        None => text += "history:\n",
    }
    text += "  recommendations: []    # such as {at: 2026-11-21T14:02:35Z, replicas: 2}\n";
    if min == 0 {
        text += "settings: {scaleToZero: true}\n";
    }
    Ok(text)
}

/// The case that a manifest's own status describes: every pod has the reported average. A metric that the status does
/// not report has no value. `None`: there is no status.
pub fn of_status(manifest: &Manifest, now_ms: i64) -> Result<Option<Case>, StateError> {
    let Some(status) = &manifest.status else { return Ok(None) };
    let mut case = state::read(&template(manifest)?, &manifest.spec, now_ms)?;
    let unknown: Vec<usize> = (case.autoscaler.spec.metrics.iter().enumerate())
        .filter(|(_, spec)| reported(status, spec).is_none())
        .map(|(index, _)| index)
        .collect();
    for index in unknown {
        if let Some(reading) = case.observed.metrics.get_mut(index) {
            *reading = MetricReading::Failed;
        }
    }
    Ok(Some(case))
}

/// A name, in quotes if YAML would misread it, such as a pod called `1e3`.
fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte))
        && yaml::read("", name).is_ok_and(|document| document.value == name);
    if is_plain { name.to_owned() } else { Value::from(name).to_string() }
}

/// A name for a comment, which must not contain line ends.
fn in_comment(name: &str) -> String {
    let ends = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    name.chars()
        .map(|one| if ends(one) { one.escape_default().to_string() } else { one.to_string() })
        .collect()
}

/// Like one pod of a Deployment: `, containers: [{name: app, requests: {cpu: 500m}}]`.
fn containers(requests: &Requests) -> String {
    let containers = requests.iter().map(|(container, requests)| {
        let requests = requests
            .iter()
            .map(|(name, milli)| format!("{}: {}", quoted(name), Quantity::from_milli(*milli)));
        format!("{{name: {}, requests: {{{}}}}}", quoted(container), requests.collect::<Vec<_>>().join(", "))
    });
    let containers = containers.collect::<Vec<_>>().join(", ");
    if containers.is_empty() { containers } else { format!(", containers: [{containers}]") }
}

/// A metric in `status.currentMetrics`.
#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    value: Option<i64>,
    average: Option<i64>,
    per_cent: Option<i64>,
}

fn reported(status: &Value, spec: &MetricSpec) -> Option<Reported> {
    let (member, name, container) = match spec.kind.as_str() {
        "Resource" => ("resource", &spec.resource.as_ref()?.name, None),
        "ContainerResource" => {
            let source = spec.container_resource.as_ref()?;
            ("containerResource", &source.name, Some(source.container.as_str()))
        }
        "Pods" => ("pods", &spec.pods.as_ref()?.metric.name, None),
        "Object" => ("object", &spec.object.as_ref()?.metric.name, None),
        _ => ("external", &spec.external.as_ref()?.metric.name, None),
    };
    let is_it = |source: &&Value| {
        let named = source["name"].as_str().or_else(|| source["metric"]["name"].as_str());
        named == Some(name.as_str()) && container.is_none_or(|container| source["container"] == container)
    };
    let entries = status["currentMetrics"].as_array()?;
    let current = &entries.iter().map(|entry| &entry[member]).find(is_it)?["current"];
    let quantity = |key: &str| {
        serde_json::from_value::<Quantity>(current[key].clone()).ok().map(|quantity| quantity.milli())
    };
    let reported = Reported {
        value: quantity("value"),
        average: quantity("averageValue"),
        per_cent: current["averageUtilization"].as_i64().filter(|per_cent| *per_cent >= 0),
    };
    (reported.value.is_some() || reported.average.is_some() || reported.per_cent.is_some())
        .then_some(reported)
}

/// The requests of one pod: by container, then by resource, in milli-units.
type Requests = BTreeMap<String, BTreeMap<String, i64>>;

/// Requests that fit the reported averages and percentages.
fn requests<'a>(metrics: impl Iterator<Item = (&'a Metric, Option<Reported>)>) -> Requests {
    let (mut requests, mut of_pods) = (Requests::new(), Vec::new());
    for (metric, reported) in metrics {
        let (Some(Target::Utilization(_)), Some(resource)) = (metric.target, metric.source.resource()) else {
            continue;
        };
        let stand_in = if resource == "cpu" { CORE_MILLI } else { MEMORY_MILLI };
        let request = reported
            .and_then(|reported| reported.average?.saturating_mul(100).checked_div(reported.per_cent?))
            .filter(|request| *request > 0)
            .unwrap_or(stand_in);
        match &metric.source {
            Source::ContainerResource { container, .. } => {
                requests.entry(container.clone()).or_default().insert(resource.to_owned(), request);
            }
            _ => of_pods.push((resource.to_owned(), request)),
        }
    }
    if requests.is_empty() && !of_pods.is_empty() {
        requests.insert("app".to_owned(), BTreeMap::new());
    }
    // A target for pods needs a request of every container.
    for (resource, request) in of_pods {
        for (index, container) in requests.values_mut().enumerate() {
            container.entry(resource.clone()).or_insert(if index == 0 { request } else { 0 });
        }
    }
    requests
}

/// A sample of one pod, or the total, that reproduces the reported value.
fn sample(metric: &Metric, reported: Reported, replicas: i64, requests: &Requests) -> Quantity {
    let total = |average: i64| average.saturating_mul(replicas.max(1));
    let milli = match metric.target {
        Some(Target::Utilization(target)) => {
            let per_cent = reported.per_cent.unwrap_or_else(|| target.into());
            let container = match &metric.source {
                Source::ContainerResource { container, .. } => Some(container),
                _ => None,
            };
            let counts =
                requests.iter().filter(|(name, _)| container.is_none_or(|container| container == *name));
            let resource = metric.source.resource().unwrap_or_default();
            let request: i128 = counts
                .filter_map(|(_, requests)| requests.get(resource))
                .map(|milli| i128::from(*milli))
                .sum();
            ((request * i128::from(per_cent) + 99) / 100).try_into().unwrap_or(i64::MAX)
        }
        Some(Target::AverageValue(target)) => {
            let average = reported.average.unwrap_or(target);
            if metric.source.is_per_pod() { average } else { total(average) }
        }
        Some(Target::Value(target)) => reported.value.unwrap_or(target),
        None => 0,
    };
    Quantity::from_milli(milli)
}
