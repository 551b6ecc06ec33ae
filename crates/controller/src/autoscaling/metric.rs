//! A metric's name, target and proposal, as in events.

use std::collections::BTreeMap;

use autoscale::{
    Decision,
    spec::{HpaSpec, MetricSpec, MetricTarget},
};
use platform::event::MetricProposal;

/// The name of a metric that every pod has.
pub fn pods_metric(metric: &MetricSpec) -> Option<&str> {
    metric.pods.as_ref().map(|pods| pods.metric.name.as_str())
}

/// A metric's resource, such as `cpu`.
pub fn resource(metric: &MetricSpec) -> Option<&str> {
    let resource = metric.resource.as_ref().map(|resource| resource.name.as_str());
    resource.or(metric.container_resource.as_ref().map(|resource| resource.name.as_str()))
}

/// The names of an autoscaler's metrics in events, in order. Those that share a name are told apart by what they are of.
pub fn labels(metrics: &[MetricSpec]) -> Vec<String> {
    let mut labels: Vec<String> = metrics.iter().map(name).collect();
    distinguish(&mut labels, |metric, label| Some(format!("{label} {}", detail(&metrics[metric])?)));
    distinguish(&mut labels, |metric, label| Some(format!("{label} ({})", metric + 1)));
    labels
}

/// Gives each of the labels that are not alone another one.
fn distinguish(labels: &mut [String], another: impl Fn(usize, &str) -> Option<String>) {
    let before = labels.to_vec();
    for (metric, label) in labels.iter_mut().enumerate() {
        if before.iter().filter(|one| *one == label).count() > 1
            && let Some(another) = another(metric, label)
        {
            *label = another;
        }
    }
}

fn name(metric: &MetricSpec) -> String {
    let container = metric.container_resource.as_ref();
    let object = || metric.object.as_ref().map(|object| object.metric.name.as_str());
    let external = || metric.external.as_ref().map(|external| external.metric.name.as_str());
    let name =
        pods_metric(metric).or_else(|| resource(metric)).or_else(object).or_else(external).unwrap_or("?");
    match container {
        Some(of) => format!("{name} of container {}", of.container),
        None => name.to_owned(),
    }
}

/// What a metric is of, if its name does not say it.
fn detail(metric: &MetricSpec) -> Option<String> {
    if let Some(of) = metric.object.as_ref().map(|object| &object.described_object) {
        return Some(format!("of {} {}", of.kind, of.name));
    }
    let pods = metric.pods.as_ref().map(|pods| &pods.metric);
    let selector = pods.or(metric.external.as_ref().map(|external| &external.metric))?.selector.as_ref()?;
    let labels: Vec<String> =
        selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (!labels.is_empty()).then(|| format!("{{{}}}", labels.join(",")))
}

fn target(metric: &MetricSpec) -> Option<&MetricTarget> {
    let pods = metric.pods.as_ref().map(|source| &source.target);
    let resource = metric.resource.as_ref().map(|source| &source.target);
    let container = metric.container_resource.as_ref().map(|source| &source.target);
    let object = metric.object.as_ref().map(|source| &source.target);
    let external = metric.external.as_ref().map(|source| &source.target);
    pods.or(resource).or(container).or(object).or(external)
}

/// The target for the average of the pods, in milli-units.
pub fn average_target(metric: &MetricSpec) -> Option<i64> {
    let average = target(metric)?.average_value.as_ref()?.milli();
    (average > 0).then_some(average)
}

/// Whether the target is in per cent of the requests.
fn is_utilization(metric: &MetricSpec) -> bool {
    target(metric).is_some_and(|target| target.average_utilization.is_some())
}

/// In milli-units; a utilisation in per cent × 1000.
pub fn target_milli(metric: &MetricSpec) -> Option<i64> {
    let target = target(metric)?;
    let percent = target.average_utilization.map(|percent| i64::from(percent) * 1000);
    percent
        .or_else(|| target.average_value.as_ref().or(target.value.as_ref()).map(autoscale::Quantity::milli))
}

/// The targets by name, in the units of events.
pub fn targets_milli(metrics: &[MetricSpec]) -> BTreeMap<String, i64> {
    let targets = labels(metrics).into_iter().zip(metrics.iter().map(target_milli));
    targets.filter_map(|(label, target)| Some((label, target?))).collect()
}

/// Each metric's proposal in a decision based on `spec`.
pub fn proposals(spec: &HpaSpec, decision: &Decision) -> Vec<MetricProposal> {
    let labels = labels(&spec.metrics);
    let proposal = |(index, (outcome, spec)): (usize, (&autoscale::MetricOutcome, &MetricSpec))| {
        let proposal = outcome.result.ok();
        let utilization = is_utilization(spec);
        MetricProposal {
            metric: labels[index].clone(),
            value_milli: proposal.and_then(|proposal| {
                let percent = proposal.utilization.filter(|_| utilization);
                percent.map(|percent| i64::from(percent) * 1000).or(proposal.usage)
            }),
            target_milli: target_milli(spec).unwrap_or(0),
            utilization,
            proposal: proposal.map(|proposal| super::unsigned(proposal.replicas)),
            words: decision.metric_words(index).to_string(),
        }
    };
    decision.metrics.iter().zip(&spec.metrics).enumerate().map(proposal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(average: &str) -> MetricSpec {
        let target = serde_json::json!({"type": "AverageValue", "averageValue": average});
        let pods = serde_json::json!({"metric": {"name": "connections"}, "target": target});
        serde_json::from_value(serde_json::json!({"type": "Pods", "pods": pods})).unwrap()
    }

    #[test]
    fn an_average_target_of_zero_cannot_be_crossed() {
        assert_eq!(average_target(&pods("5k")), Some(5_000_000));
        assert_eq!(average_target(&pods("1m")), Some(1));
        // No such spec is valid, but a cluster may hold one.
        assert_eq!(average_target(&pods("0")), None);
    }

    #[test]
    fn metrics_that_share_a_name_are_told_apart() {
        let target = serde_json::json!({"type": "AverageValue", "averageValue": "1"});
        let resource = |container: Option<&str>| match container {
            None => serde_json::json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}),
            Some(container) => serde_json::json!({"type": "ContainerResource",
                "containerResource": {"name": "cpu", "container": container, "target": target}}),
        };
        let object = |name: &str| {
            serde_json::json!({"type": "Object", "object": {"metric": {"name": "requests"}, "target": target,
                "describedObject": {"apiVersion": "v1", "kind": "Service", "name": name}}})
        };
        let external = |name: &str, queue: Option<&str>| {
            let selector = queue.map(|queue| serde_json::json!({"matchLabels": {"queue": queue}}));
            serde_json::json!({"type": "External",
                "external": {"metric": {"name": name, "selector": selector}, "target": target}})
        };
        let of = |metrics: &[serde_json::Value]| {
            labels(&serde_json::from_value::<Vec<MetricSpec>>(metrics.into()).unwrap())
        };
        assert_eq!(of(&[resource(None), resource(Some("app"))]), ["cpu", "cpu of container app"]);
        assert_eq!(of(&[object("a"), external("queue", Some("a"))]), ["requests", "queue"]);
        assert_eq!(
            of(&[object("a"), object("b"), external("queue", Some("a")), external("queue", Some("b"))]),
            ["requests of Service a", "requests of Service b", "queue {queue=a}", "queue {queue=b}"]
        );
        assert_eq!(of(&[external("q", None), external("q", Some("a"))]), ["q", "q {queue=a}"]);
        assert_eq!(of(&[external("q", None), external("q", None)]), ["q (1)", "q (2)"]);
    }
}
