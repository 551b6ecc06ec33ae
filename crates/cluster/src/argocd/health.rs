//! Why an object is not healthy. Argo CD judges this too, but since version 3 it no longer stores the health of single
//! objects in the API, only the application's.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::results::{ResourceName, Verdict};
use crate::{connect::Cluster, install::why};

/// The maximum number of pods that are searched for a reason.
const PODS_MAX: u32 = 50;

/// Kinds that can be unhealthy.
pub(super) fn is_judged(resource: &ResourceName) -> bool {
    matches!(
        (resource.group.as_str(), resource.kind.as_str()),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet")
            | ("autoscaling", "HorizontalPodAutoscaler")
            | ("", "Service" | "PersistentVolumeClaim")
            | ("apiregistration.k8s.io", "APIService")
    )
}

/// What is wrong with an object, including what its pods report.
pub(super) async fn verdict(cluster: &Cluster, resource: &ResourceName, object: &Value) -> Option<Verdict> {
    let (health, mut message) = judge(&resource.kind, object)?;
    if let Some(why) = of_pods(cluster, resource, object).await {
        message = format!("{message}; {why}");
    }
    Some(Verdict { resource: resource.clone(), health: health.to_owned(), message })
}

const PROGRESSING: &str = "Progressing";
const DEGRADED: &str = "Degraded";

/// Argo CD's health status, and the reason.
fn judge(kind: &str, object: &Value) -> Option<(&'static str, String)> {
    let status = &object["status"];
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let observed = |text: String| Some((PROGRESSING, text));
    let is_late = number(&status["observedGeneration"]) < number(&object["metadata"]["generation"]);
    match kind {
        "Deployment" => {
            for (name, wrong) in
                [("ReplicaFailure", "True"), ("Progressing", "False"), ("Available", "False")]
            {
                let Some(condition) = condition(object, name).filter(|one| one["status"] == wrong) else {
                    continue;
                };
                let health = if name == "Available" { PROGRESSING } else { DEGRADED };
                return Some((health, text(condition, "message")));
            }
            let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
            let (updated, ready) = (number(&status["updatedReplicas"]), number(&status["availableReplicas"]));
            if is_late || updated < wanted || ready < wanted {
                return observed(format!("{ready} of {wanted} available, {updated} of them new"));
            }
            None
        }
        "StatefulSet" => {
            let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
            let ready = number(&status["readyReplicas"]);
            if is_late || ready < wanted { observed(format!("{ready} of {wanted} ready")) } else { None }
        }
        "DaemonSet" => {
            let wanted = number(&status["desiredNumberScheduled"]);
            let ready = number(&status["numberReady"]);
            if is_late || ready < wanted {
                observed(format!("ready on {ready} of {wanted} nodes"))
            } else {
                None
            }
        }
        "HorizontalPodAutoscaler" => {
            let Some(able) = condition(object, "AbleToScale") else {
                return observed("not looked yet".to_owned());
            };
            if able["status"] == "False" {
                return Some((DEGRADED, text(able, "message")));
            }
            let active = condition(object, "ScalingActive")?;
            let is_off = active["status"] != "False" || active["reason"] == "ScalingDisabled";
            if is_off { None } else { observed(text(active, "message")) }
        }
        "Service" => {
            let has_address =
                status["loadBalancer"]["ingress"].as_array().is_some_and(|list| !list.is_empty());
            if object["spec"]["type"] != "LoadBalancer" || has_address {
                return None;
            }
            observed("it has no load balancer address yet; on minikube: minikube tunnel".to_owned())
        }
        "PersistentVolumeClaim" => match status["phase"].as_str() {
            Some("Bound") => None,
            phase => observed(format!("no volume is bound to it ({})", phase.unwrap_or("no phase yet"))),
        },
        "APIService" => {
            let available = condition(object, "Available");
            if available.is_some_and(|one| one["status"] == "True") {
                return None;
            }
            observed(available.map_or_else(|| "not looked at yet".to_owned(), |one| text(one, "message")))
        }
        _ => None,
    }
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// What the first pod that is not ready reports.
async fn of_pods(cluster: &Cluster, resource: &ResourceName, object: &Value) -> Option<String> {
    if resource.group != "apps" {
        return None;
    }
    let labels = object["spec"]["selector"]["matchLabels"].as_object()?;
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    let params = ListParams::default().labels(&pairs.join(",")).limit(PODS_MAX);
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &resource.namespace);
    // Without permission to read pods, the other reasons are reported.
    let pods = cluster.try_ask(pods.list(&params)).await.ok()?;
    let pod = pods.items.iter().find(|pod| !is_ready(pod))?;
    Some(format!("pod {}: {}", pod.metadata.name.as_deref()?, why::of(pod, &[]).words))
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
        || status.and_then(|status| status.phase.as_deref()) == Some("Succeeded")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workloads_in_the_desired_state_are_healthy() {
        for (kind, object) in [
            (
                "Deployment",
                json!({"spec": {"replicas": 2}, "status": {"updatedReplicas": 2, "availableReplicas": 2}}),
            ),
            ("StatefulSet", json!({"status": {"readyReplicas": 1}})),
            ("DaemonSet", json!({"status": {"desiredNumberScheduled": 0, "numberReady": 0}})),
            ("Service", json!({"spec": {"type": "ClusterIP"}})),
            (
                "Service",
                json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
            ),
            ("PersistentVolumeClaim", json!({"status": {"phase": "Bound"}})),
            ("APIService", json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}})),
            ("ConfigMap", json!({})),
            (
                "HorizontalPodAutoscaler",
                json!({"status": {"conditions": [
                    {"type": "AbleToScale", "status": "True"},
                    {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}]}}),
            ),
        ] {
            assert_eq!(judge(kind, &object), None, "{kind} {object}");
        }
    }

    #[test]
    fn what_does_not_is_said_with_the_reason() {
        let conditions = |list: Value| json!({"status": {"conditions": list}});
        for (kind, object, health, word) in [
            (
                "Deployment",
                json!({"spec": {"replicas": 3}, "status": {"availableReplicas": 1}}),
                PROGRESSING,
                "1 of 3",
            ),
            (
                "Deployment",
                json!({"metadata": {"generation": 4}, "status": {"observedGeneration": 3, "updatedReplicas": 1, "availableReplicas": 1}}),
                PROGRESSING,
                "1 of 1",
            ),
            (
                "Deployment",
                conditions(
                    json!([{"type": "Progressing", "status": "False", "message": "exceeded its deadline"}]),
                ),
                DEGRADED,
                "deadline",
            ),
            (
                "Deployment",
                conditions(
                    json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]),
                ),
                DEGRADED,
                "quota",
            ),
            ("StatefulSet", json!({"spec": {"replicas": 3}}), PROGRESSING, "0 of 3 ready"),
            (
                "DaemonSet",
                json!({"status": {"desiredNumberScheduled": 2, "numberReady": 1}}),
                PROGRESSING,
                "1 of 2 nodes",
            ),
            ("Service", json!({"spec": {"type": "LoadBalancer"}}), PROGRESSING, "minikube tunnel"),
            ("PersistentVolumeClaim", json!({"status": {"phase": "Pending"}}), PROGRESSING, "Pending"),
            (
                "APIService",
                conditions(json!([{"type": "Available", "status": "False", "message": "no endpoints"}])),
                PROGRESSING,
                "no endpoints",
            ),
            ("HorizontalPodAutoscaler", json!({}), PROGRESSING, "not looked"),
            (
                "HorizontalPodAutoscaler",
                conditions(json!([{"type": "AbleToScale", "status": "True"},
                    {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": "no metrics"}])),
                PROGRESSING,
                "no metrics",
            ),
        ] {
            let (found, message) = judge(kind, &object).unwrap_or_else(|| panic!("{kind} {object}"));
            assert_eq!(found, health, "{object}");
            assert!(message.contains(word), "{message}");
        }
    }
}
