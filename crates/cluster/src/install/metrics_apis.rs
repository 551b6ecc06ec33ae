//! Whether somebody serves the metrics that the chart's autoscalers read.

use std::collections::{BTreeMap, BTreeSet};

use super::{catalog::Catalog, manifest::Object};

const CUSTOM: &str = "custom.metrics.k8s.io";
const RESOURCE: &str = "metrics.k8s.io";

/// A line for each API that autoscalers read and that neither the cluster nor the chart has.
pub(super) fn missing(catalog: &Catalog, objects: &[Object]) -> Vec<String> {
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object.key.kind == kind);
    let brought: BTreeSet<&str> =
        of_kind("APIService").filter_map(|object| object.value["spec"]["group"].as_str()).collect();
    let mut readers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for autoscaler in of_kind("HorizontalPodAutoscaler") {
        for metric in autoscaler.value["spec"]["metrics"].as_array().into_iter().flatten() {
            let Some(group) = metric["type"].as_str().and_then(group) else { continue };
            if !brought.contains(group) && !catalog.serves(group) {
                readers.entry(group).or_default().insert(&autoscaler.key.name);
            }
        }
    }
    let line = |(group, names): (&str, BTreeSet<&str>)| {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let remedy = match group {
            CUSTOM => "-f minikube or -f production brings Prometheus, its adapter and cAdvisor",
            RESOURCE => "metrics-server serves it",
            _ => "install an adapter that serves it",
        };
        format!("nothing serves {group}, which these autoscalers read: {names}; {remedy}")
    };
    readers.into_iter().map(line).collect()
}

/// The API that a metric of this type is read from.
fn group(kind: &str) -> Option<&'static str> {
    match kind {
        "Pods" | "Object" => Some(CUSTOM),
        "External" => Some("external.metrics.k8s.io"),
        "Resource" | "ContainerResource" => Some(RESOURCE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::manifest;

    const AUTOSCALERS: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: tcp}
spec: {metrics: [{type: Pods}, {type: Resource}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: udp}
spec: {metrics: [{type: Pods}, {type: External}]}
";
    const SERVICE: &str = "
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.custom.metrics.k8s.io}
spec: {group: custom.metrics.k8s.io}
";

    fn said(served: &[&str], text: &str) -> Vec<String> {
        let catalog = Catalog::serving(served);
        missing(&catalog, &manifest::parse("manifest", text, "here", &catalog).unwrap())
    }

    #[test]
    fn each_missing_api_is_named_once_with_all_that_read_it() {
        let lines = said(&["metrics.k8s.io"], AUTOSCALERS);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("custom.metrics.k8s.io") && lines[0].contains(": tcp, udp;"), "{lines:?}");
        assert!(lines[1].contains("external.metrics.k8s.io") && lines[1].contains(": udp;"), "{lines:?}");
    }

    #[test]
    fn what_the_cluster_serves_or_the_chart_brings_is_not_missing() {
        let served = ["metrics.k8s.io", "external.metrics.k8s.io"];
        assert!(said(&served, &format!("{AUTOSCALERS}{SERVICE}")).is_empty());
        assert!(said(&[&served[..], &[CUSTOM]].concat(), AUTOSCALERS).is_empty());
    }
}
