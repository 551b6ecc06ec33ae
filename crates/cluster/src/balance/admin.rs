//! A pod's admin port: its number of connections, and orders to shed some.
//!
//! Inside the cluster, the pod's address is used directly. From outside, a port is forwarded through the API server,
//! whose proxy would take the `Authorization` header for its own.

use std::net::IpAddr;

use http::{Request, StatusCode, header};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use platform::{TargetError, target::Shed};
use serde::Deserialize;
use serde_json::json;

use crate::{connect::Cluster, facts::PodFacts, pod_http};

/// The pod's environment variable with its token.
pub(super) const SHED_TOKEN: &str = "SHED_TOKEN";

/// How pods are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// At their addresses.
    Inside,
    /// Through the API server.
    Outside,
}

/// The sum of a gauge's series.
pub(crate) async fn gauge(cluster: &Cluster, way: Way, pod: &PodFacts, name: &str) -> Result<u64, String> {
    let (status, body) = ask(cluster, way, pod, Request::get("/metrics"), String::new()).await?;
    if status != StatusCode::OK {
        return Err(format!("/metrics is answered with {status}"));
    }
    sum(&String::from_utf8_lossy(&body), name).ok_or_else(|| format!("/metrics has no gauge {name}"))
}

#[derive(Debug, Deserialize)]
struct Accepted {
    accepted: u64,
}

/// Sends an order; returns how many connections were asked to move.
pub(super) async fn shed(
    cluster: &Cluster,
    way: Way,
    pod: &PodFacts,
    token: &str,
    order: &Shed,
) -> Result<u64, String> {
    let request = Request::post("/shed")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json");
    let body = json!({"id": order.id, "count": order.count}).to_string();
    let (status, answer) = ask(cluster, way, pod, request, body).await?;
    if !status.is_success() {
        let words = String::from_utf8_lossy(&answer[..answer.len().min(512)]).trim().to_owned();
        return Err(format!("the order to shed was answered with {status}: {words}"));
    }
    let answer: Accepted = serde_json::from_slice(&answer)
        .map_err(|error| format!("cannot parse the answer to an order to shed: {error}"))?;
    Ok(answer.accepted)
}

async fn ask(
    cluster: &Cluster,
    way: Way,
    pod: &PodFacts,
    request: http::request::Builder,
    body: String,
) -> Result<(StatusCode, Vec<u8>), String> {
    let port = pod.admin_port.ok_or("no container of it has a port of the name admin")?;
    match way {
        Way::Inside => {
            let ip: Option<IpAddr> = pod.ip.as_ref().and_then(|ip| ip.parse().ok());
            pod_http::directly(ip.ok_or("it has no address yet")?, port, request, body).await
        }
        Way::Outside => pod_http::forwarded(cluster, &pod.name, port, request, body).await,
    }
}

/// The sum of a metric's series on a page in Prometheus' text format.
fn sum(page: &str, name: &str) -> Option<u64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            // A label's value may contain a brace; the last one ends the labels.
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        // A timestamp may follow.
        let value: f64 = value.split_ascii_whitespace().next()?.parse().ok()?;
        (value.is_finite() && value >= 0.0).then_some(value)
    });
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}

/// The token that the pod itself gets from a Secret.
pub(super) async fn token(cluster: &Cluster, pod: &str) -> Result<String, TargetError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let found = cluster.ask(format!("pod {pod}"), pods.get(pod)).await?;
    let containers = found.spec.iter().flat_map(|spec| &spec.containers);
    let mut variables = containers.flat_map(|container| container.env.iter().flatten());
    let source = variables
        .find(|variable| variable.name == SHED_TOKEN)
        .and_then(|variable| variable.value_from.as_ref());
    let Some(secret) = source.and_then(|source| source.secret_key_ref.as_ref()) else {
        return Err(TargetError::Unsupported {
            what: format!("shedding connections of {pod}"),
            why: format!(
                "its variable {SHED_TOKEN} refers to no Secret, so it obeys no orders; with our chart, \
                 balancer.enabled=true sets it"
            ),
        });
    };
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let found = cluster.ask(format!("Secret {}", secret.name), secrets.get(&secret.name)).await?;
    let value = found.data.as_ref().and_then(|data| data.get(&secret.key));
    let value = value.and_then(|value| String::from_utf8(value.0.clone()).ok());
    value.ok_or_else(|| TargetError::Other {
        message: format!("Secret {} has no text under the key {}", secret.name, secret.key),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_gauge_are_summed_and_nothing_else_is() {
        let page = "# HELP tcp_connections Connections now\n# TYPE tcp_connections gauge\ntcp_connections 7\n\
                    tcp_connections_opened_total 90\ntcp_connections_peak 8\n";
        assert_eq!(sum(page, "tcp_connections"), Some(7));
        assert_eq!(sum(page, "tcp"), None);
        let labelled = "users{room=\"a}\"} 3 1700000000000\nusers{room=\"b\",x=\"{\"} 4.0\nusers{bad} NaN\n";
        assert_eq!(sum(labelled, "users"), Some(7));
        assert_eq!(sum("users -1\nusers x\n", "users"), None);
    }
}
