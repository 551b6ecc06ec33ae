//! What a metric of a spec is called and aims at.

use autoscale::spec::{MetricSpec, MetricTarget};

pub(super) fn pods_metric(metric: &MetricSpec) -> Option<&str> {
    metric.pods.as_ref().map(|pods| pods.metric.name.as_str())
}

pub(super) fn resource(metric: &MetricSpec) -> Option<&str> {
    let resource = metric.resource.as_ref().map(|resource| resource.name.as_str());
    resource.or(metric.container_resource.as_ref().map(|resource| resource.name.as_str()))
}

/// What a metric is called in events.
pub(super) fn label(metric: &MetricSpec) -> &str {
    let object = || metric.object.as_ref().map(|object| object.metric.name.as_str());
    let external = || metric.external.as_ref().map(|external| external.metric.name.as_str());
    pods_metric(metric).or_else(|| resource(metric)).or_else(object).or_else(external).unwrap_or("?")
}

pub(super) fn target(metric: &MetricSpec) -> Option<&MetricTarget> {
    let pods = metric.pods.as_ref().map(|source| &source.target);
    let resource = metric.resource.as_ref().map(|source| &source.target);
    let container = metric.container_resource.as_ref().map(|source| &source.target);
    pods.or(resource).or(container)
}

pub(super) fn average_target(metric: &MetricSpec) -> Option<i64> {
    let average = target(metric)?.average_value.as_ref()?.milli();
    (average > 0).then_some(average)
}

pub(super) fn is_utilization(metric: &MetricSpec) -> bool {
    target(metric).is_some_and(|target| target.average_utilization.is_some())
}

/// In milli-units; a utilisation in per cent × 1000.
pub(super) fn target_milli(metric: &MetricSpec) -> Option<i64> {
    let target = target(metric)?;
    let percent = target.average_utilization.map(|percent| i64::from(percent) * 1000);
    percent
        .or_else(|| target.average_value.as_ref().or(target.value.as_ref()).map(autoscale::Quantity::milli))
}
