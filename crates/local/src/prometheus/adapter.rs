//! The rules of prometheus-adapter, filled in as the adapter does.
//!
//! Only those parts of its templates are supported that [`ADAPTER`] uses: `<<.LabelMatchers>>`, as the
//! adapter generates it for the pods of an HPA (`pkg/naming/metrics_query.go`, `Build`): the namespace, then the pods'
//! names, alternated in a regular expression if there are several.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::ADAPTER;

const MATCHERS: &str = "<<.LabelMatchers>>";

/// Templates by the name under which the adapter serves them.
static RULES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let rules: Rules = yaml::from_str(ADAPTER).unwrap_or_default();
    rules.rules.into_iter().map(|rule| (rule.name.serves, rule.metrics_query)).collect()
});

#[derive(Debug, Default, Deserialize)]
struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: Name,
    metrics_query: String,
}

#[derive(Debug, Deserialize)]
struct Name {
    #[serde(rename = "as")]
    serves: String,
}

/// The metrics with rules.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RULES.keys().map(String::as_str)
}

/// The query for a metric of these pods; `None`: no rule serves it.
pub(crate) fn query(metric: &str, namespace: &str, pods: &[&str]) -> Option<String> {
    let matchers = [label("namespace", "=", namespace), pods_matcher(pods)].join(",");
    Some(RULES.get(metric)?.replace(MATCHERS, &matchers))
}

fn pods_matcher(pods: &[&str]) -> String {
    label("pod", if pods.len() > 1 { "=~" } else { "=" }, &pods.join("|"))
}

fn label(name: &str, operator: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name}{operator}\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use ::platform::services::PodsMetric;
    use serde_json::Value;

    use super::*;
    use crate::prometheus::RULES as RECORDED;

    #[test]
    fn every_pods_metric_of_a_local_service_has_a_rule() {
        assert_eq!(
            names().collect::<Vec<_>>(),
            ["tcp_state_established", "udp_packets_received", "users", "ws_sessions"]
        );
        assert_eq!(query("requests", "playground", &["stream-0"]), None);
    }

    #[test]
    fn templates_are_filled_in_as_the_adapter_does() {
        let one = query("udp_packets_received", "playground", &["udp-0"]).unwrap();
        assert_eq!(
            one,
            "sum by (namespace, pod) \
             (rate(container_network_receive_packets_total{namespace=\"playground\",pod=\"udp-0\"}[1m]))"
        );
        let two = query("tcp_state_established", "playground", &["tcp-0", "tcp-1"]).unwrap();
        let of = |family: &str| {
            format!(
                "max by (namespace, pod) (max_over_time(container_network_{family}_usage_total\
                 {{tcp_state=\"established\",namespace=\"playground\",pod=~\"tcp-0|tcp-1\"}}[1m]))"
            )
        };
        assert_eq!(two, format!("{} + {}", of("tcp"), of("tcp6")));
    }

    #[test]
    fn recording_rules_match_what_the_adapter_serves() {
        let recorded: Value = yaml::from_str(RECORDED).unwrap();
        let rules = recorded["groups"][0]["rules"].as_array().unwrap();
        let recorded: BTreeMap<String, String> = rules
            .iter()
            .map(|rule| {
                let text = |key: &str| rule[key].as_str().unwrap().to_owned();
                (text("record"), text("expr"))
            })
            .collect();
        // A metric of the service itself under the same name is already a series.
        let is_series = |name: &str| PodsMetric::by_name(name).is_some_and(|one| one.series() == Some(name));
        let served: BTreeMap<String, String> = RULES
            .iter()
            .filter(|(name, _)| !is_series(name))
            .map(|(name, template)| (name.clone(), template.replace(MATCHERS, "namespace!=\"\",pod!=\"\"")))
            .collect();
        assert_eq!(recorded, served);
    }
}
