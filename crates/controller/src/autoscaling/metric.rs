//! A metric's name, target and proposal, as in events.

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

/// A metric's name in events.
pub fn label(metric: &MetricSpec) -> &str {
    let object = || metric.object.as_ref().map(|object| object.metric.name.as_str());
    let external = || metric.external.as_ref().map(|external| external.metric.name.as_str());
    pods_metric(metric).or_else(|| resource(metric)).or_else(object).or_else(external).unwrap_or("?")
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
pub fn is_utilization(metric: &MetricSpec) -> bool {
    target(metric).is_some_and(|target| target.average_utilization.is_some())
}

/// In milli-units; a utilisation in per cent × 1000.
pub fn target_milli(metric: &MetricSpec) -> Option<i64> {
    let target = target(metric)?;
    let percent = target.average_utilization.map(|percent| i64::from(percent) * 1000);
    percent
        .or_else(|| target.average_value.as_ref().or(target.value.as_ref()).map(autoscale::Quantity::milli))
}

/// Each metric's proposal in a decision based on `spec`.
pub fn proposals(spec: &HpaSpec, decision: &Decision) -> Vec<MetricProposal> {
    let proposal = |(index, (outcome, spec)): (usize, (&autoscale::MetricOutcome, &MetricSpec))| {
        let proposal = outcome.result.ok();
        let utilization = is_utilization(spec);
        MetricProposal {
            metric: label(spec).to_owned(),
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
}
