//! The metrics APIs, queried as the autoscaler's controller queries them.
//!
//! Source: `pkg/controller/podautoscaler/metrics/client.go` of Kubernetes 1.34.

use std::fmt::Write as _;

use autoscale::{
    Quantity, Sample,
    spec::{LabelSelector, MetricIdentifier, ObjectReference},
};
use http::Request;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::{connect::Cluster, facts::Selector, kinds};

/// Custom metrics without a window count as measured over a minute, as upstream.
const CUSTOM_WINDOW_S: i64 = 60;

/// The metrics APIs of one cluster.
#[derive(Debug)]
pub(crate) struct Metrics {
    cluster: Cluster,
    /// The available version of `custom.metrics.k8s.io`.
    custom: OnceCell<&'static str>,
}

/// `metrics.k8s.io`: the resource usage of a namespace's pods.
#[derive(Debug, Deserialize)]
pub(crate) struct Usages {
    #[serde(default)]
    items: Vec<PodUsage>,
}

#[derive(Debug, Deserialize)]
struct PodUsage {
    metadata: Named,
    timestamp: Option<Timestamp>,
    window: Option<String>,
    #[serde(default)]
    containers: Vec<ContainerUsage>,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct ContainerUsage {
    #[serde(default)]
    name: String,
    #[serde(default)]
    usage: std::collections::BTreeMap<String, Quantity>,
}

/// Both `custom.metrics.k8s.io` and `external.metrics.k8s.io`.
#[derive(Debug, Deserialize)]
struct Values {
    #[serde(default)]
    items: Vec<MetricValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue {
    #[serde(default)]
    described_object: Option<Named>,
    timestamp: Option<Timestamp>,
    window_seconds: Option<i64>,
    value: Quantity,
}

/// Samples by pod name.
pub(crate) type Samples = Vec<(String, Sample)>;

impl Metrics {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, custom: OnceCell::new() }
    }

    /// The usage of all pods in the namespace, or of those that match.
    pub(crate) async fn usages(&self, selector: Option<&Selector>) -> Result<Usages, String> {
        let namespace = &self.cluster.namespace;
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let selector = selector.map(ToString::to_string);
        let usages: Usages = self.get(&path, &[("labelSelector", selector.as_deref())]).await?;
        if usages.items.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        Ok(usages)
    }

    /// A metric of every matching pod.
    pub(crate) async fn of_pods(
        &self,
        metric: &MetricIdentifier,
        selector: &Selector,
    ) -> Result<Samples, String> {
        let named = format!("pods/*/{}", escaped(&metric.name));
        let of_metric = metric.selector.as_ref().map(written);
        let query = [("labelSelector", Some(selector.to_string())), ("metricLabelSelector", of_metric)];
        let values = self.custom(&named, &query).await?;
        let samples = values.items.into_iter().filter_map(|value| {
            let sample = value.sample();
            Some((value.described_object?.name, sample))
        });
        Ok(samples.collect())
    }

    /// A metric of one object.
    pub(crate) async fn of_object(
        &self,
        object: &ObjectReference,
        metric: &MetricIdentifier,
    ) -> Result<i64, String> {
        let name = escaped(&metric.name);
        let named = if object.kind == "Namespace" {
            format!("metrics/{name}")
        } else {
            let kind = kinds::find(&self.cluster, object).await.map_err(|error| error.to_string())?;
            let group = if kind.group.is_empty() { String::new() } else { format!(".{}", kind.group) };
            format!("{}{group}/{}/{name}", kind.plural, escaped(&object.name))
        };
        let of_metric = metric.selector.as_ref().map(written);
        let values = self.custom(&named, &[("metricLabelSelector", of_metric)]).await?;
        let value = values.items.first();
        value.map(|value| value.value.milli()).ok_or_else(|| none("custom"))
    }

    /// All series of an external metric.
    pub(crate) async fn external(&self, metric: &MetricIdentifier) -> Result<Vec<i64>, String> {
        let namespace = &self.cluster.namespace;
        let name = escaped(&metric.name);
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{name}");
        let selector = metric.selector.as_ref().map(written);
        let values: Values = self.get(&path, &[("labelSelector", selector.as_deref())]).await?;
        if values.items.is_empty() {
            return Err(none("external"));
        }
        Ok(values.items.iter().map(|value| value.value.milli()).collect())
    }

    async fn custom(&self, named: &str, query: &[(&str, Option<String>)]) -> Result<Values, String> {
        let version = self.custom.get_or_try_init(|| self.custom_version()).await?;
        let namespace = &self.cluster.namespace;
        let path = format!("/apis/custom.metrics.k8s.io/{version}/namespaces/{namespace}/{named}");
        let query: Vec<_> = query.iter().map(|(key, value)| (*key, value.as_deref())).collect();
        let values: Values = self.get(&path, &query).await?;
        if values.items.is_empty() { Err(none("custom")) } else { Ok(values) }
    }

    async fn custom_version(&self) -> Result<&'static str, String> {
        #[derive(Deserialize)]
        struct Group {
            versions: Vec<Version>,
        }
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        let group: Group = self.get("/apis/custom.metrics.k8s.io", &[]).await?;
        let serves = |version: &str| group.versions.iter().any(|one| one.version == version);
        // In the controller's order.
        let known = ["v1beta2", "v1beta1"].into_iter().find(|version| serves(version));
        known.ok_or_else(|| "custom.metrics.k8s.io is served in no version that is known here".to_owned())
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<&str>)],
    ) -> Result<T, String> {
        let mut uri = path.to_owned();
        for (key, value) in query {
            if let Some(value) = value {
                let separator = if uri.contains('?') { '&' } else { '?' };
                // Writing to a string cannot fail.
                let _ = write!(uri, "{separator}{key}={}", escaped(value));
            }
        }
        let request = Request::get(uri).body(Vec::new()).map_err(|error| error.to_string())?;
        let api = path.split('/').nth(2).unwrap_or_default();
        self.cluster.try_ask(self.cluster.client.request(request)).await.map_err(|call| match call.status() {
            Some(404) => {
                format!("{api} has no such metric, or is not served in this cluster ({})", call.words())
            }
            _ => call.words(),
        })
    }
}

fn none(api: &str) -> String {
    format!("no metrics returned from {api} metrics API")
}

impl MetricValue {
    fn sample(&self) -> Sample {
        Sample {
            milli: self.value.milli(),
            at_ms: self.timestamp.map_or(0, Timestamp::as_millisecond),
            window_ms: self.window_seconds.unwrap_or(CUSTOM_WINDOW_S).saturating_mul(1000),
        }
    }
}

impl Usages {
    /// Each pod's usage of a resource, in all of its containers or in one. A pod without the value for a container has
    /// no sample.
    pub(crate) fn of(&self, resource: &str, container: Option<&str>) -> Samples {
        let sample = |pod: &PodUsage| {
            let usage = |of: &ContainerUsage| Some(of.usage.get(resource)?.milli());
            let milli = match container {
                None if pod.containers.is_empty() => return None,
                None => {
                    pod.containers.iter().try_fold(0_i64, |sum, of| Some(sum.saturating_add(usage(of)?)))?
                }
                Some(name) => usage(pod.containers.iter().find(|of| of.name == name)?)?,
            };
            let window = pod.window.as_deref().and_then(|text| platform::duration::parse(text).ok());
            let sample = Sample {
                milli,
                at_ms: pod.timestamp.map_or(0, Timestamp::as_millisecond),
                window_ms: window.map_or(0, |window| platform::duration::whole_ms(window).cast_signed()),
            };
            Some((pod.metadata.name.clone(), sample))
        };
        self.items.iter().filter_map(sample).collect()
    }
}

/// A metric's selector, as in a URL.
fn written(selector: &LabelSelector) -> String {
    let value = serde_json::to_value(selector).unwrap_or_default();
    Selector::read(&value).map(|selector| selector.to_string()).unwrap_or_default()
}

/// Percent-encoded, except characters that are safe everywhere in a URL.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages() -> Usages {
        serde_json::from_value(serde_json::json!({"items": [
            {"metadata": {"name": "a"}, "timestamp": "2026-11-28T08:00:00Z", "window": "15.5s", "containers": [
                {"name": "app", "usage": {"cpu": "250m", "memory": "20Mi"}},
                {"name": "proxy", "usage": {"cpu": "1500000n", "memory": "1Mi"}},
            ]},
            {"metadata": {"name": "b"}, "timestamp": "2026-11-28T08:00:00Z", "window": "15s", "containers": [
                {"name": "app", "usage": {"cpu": "1"}},
                {"name": "proxy", "usage": {"memory": "1Mi"}},
            ]},
            {"metadata": {"name": "c"}, "timestamp": "2026-11-28T08:00:00Z", "window": "15s", "containers": []},
        ]}))
        .unwrap()
    }

    #[test]
    fn a_pod_without_a_value_for_each_container_has_no_sample() {
        let at_ms = "2026-11-28T08:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
        let sample = |milli, window_ms| Sample { milli, at_ms, window_ms };
        assert_eq!(usages().of("cpu", None), [("a".to_owned(), sample(252, 15_500))]);
        let app = [("a".to_owned(), sample(250, 15_500)), ("b".to_owned(), sample(1_000, 15_000))];
        assert_eq!(usages().of("cpu", Some("app")), app);
        assert_eq!(usages().of("memory", Some("app")), [("a".to_owned(), sample(20_971_520_000, 15_500))]);
    }

    #[test]
    fn unsafe_characters_in_urls_are_escaped() {
        assert_eq!(escaped("app in (a,b)"), "app%20in%20%28a%2Cb%29");
        assert_eq!(escaped("http_requests-2.5~"), "http_requests-2.5~");
    }
}
