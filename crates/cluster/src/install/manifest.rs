//! The chart's rendered objects.

use std::collections::BTreeMap;

use autoscale::{Quantity, spec::ObjectReference};
use platform::TargetError;
use serde_json::Value;

use super::{catalog::Catalog, key::Key};
use crate::kinds;

/// One object of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) key: Key,
    pub(super) value: Value,
}

/// The objects of a manifest, in Helm's order.
pub(super) fn parse(
    origin: &str,
    text: &str,
    namespace: &str,
    catalog: &Catalog,
) -> Result<Vec<Object>, TargetError> {
    let documents = yaml::read_all(origin, text).map_err(TargetError::other)?;
    let objects = documents.into_iter().map(|document| {
        object(document.value, namespace, catalog)
            .ok_or_else(|| TargetError::other(format!("{origin} has an object without kind or name")))
    });
    objects.collect()
}

fn object(value: Value, namespace: &str, catalog: &Catalog) -> Option<Object> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let api_version = text(&value["apiVersion"])?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let (kind, metadata) = (text(&value["kind"])?, &value["metadata"]);
    // An unknown kind belongs to an operator that is not installed; the kinds that the chart uses are namespaced.
    let namespaced = catalog.get(group, &kind).is_none_or(|kind| kind.namespaced);
    let key = Key {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespaced.then(|| text(&metadata["namespace"]).unwrap_or_else(|| namespace.to_owned())),
        name: text(&metadata["name"])?,
        kind,
    };
    Some(Object { key, value })
}

/// What runs pods.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workload {
    pub(super) kind: WorkloadKind,
    pub(super) namespace: String,
    pub(super) name: String,
    /// How many pods; a DaemonSet has one on each node that it may run on.
    pub(super) replicas: u32,
    /// Of one pod.
    pub(super) cpu_milli: i64,
    /// Of one pod.
    pub(super) memory_bytes: i64,
    /// `spec.template.spec`
    pub(super) pod: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl WorkloadKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// The workloads of a manifest. An autoscaler's `minReplicas` counts where it owns the number.
pub(super) fn workloads(objects: &[Object]) -> Vec<Workload> {
    let least: BTreeMap<(Option<&str>, String, String), u64> = objects
        .iter()
        .filter(|object| {
            (object.key.group.as_str(), object.key.kind.as_str())
                == ("autoscaling", "HorizontalPodAutoscaler")
        })
        .filter_map(|object| {
            let spec = &object.value["spec"];
            let target: ObjectReference = serde_json::from_value(spec["scaleTargetRef"].clone()).ok()?;
            let least = spec["minReplicas"].as_u64().unwrap_or(1);
            Some(((object.key.namespace.as_deref(), kinds::id_of(&target), target.name), least))
        })
        .collect();
    let found = objects.iter().filter_map(|object| {
        let kind = match (object.key.group.as_str(), object.key.kind.as_str()) {
            ("apps", "Deployment") => WorkloadKind::Deployment,
            ("apps", "StatefulSet") => WorkloadKind::StatefulSet,
            ("apps", "DaemonSet") => WorkloadKind::DaemonSet,
            _ => return None,
        };
        let spec = &object.value["spec"];
        let pod = spec["template"]["spec"].clone();
        let owned =
            least.get(&(object.key.namespace.as_deref(), kind.name().to_owned(), object.key.name.clone()));
        let replicas = owned.copied().or(spec["replicas"].as_u64()).unwrap_or(1);
        Some(Workload {
            kind,
            namespace: object.key.namespace.clone().unwrap_or_default(),
            name: object.key.name.clone(),
            replicas: u32::try_from(replicas).unwrap_or(u32::MAX),
            cpu_milli: requested(&pod, "cpu"),
            memory_bytes: requested(&pod, "memory") / 1000,
            pod,
        })
    });
    found.collect()
}

/// What the scheduler reckons for a pod, in thousandths: all containers together, or one that runs before them.
fn requested(pod: &Value, resource: &str) -> i64 {
    let of = |container: &Value| {
        let resources = &container["resources"];
        // A limit alone is the request, too.
        let quantity = [&resources["requests"][resource], &resources["limits"][resource]];
        let quantity = quantity.into_iter().find(|quantity| !quantity.is_null());
        quantity
            .and_then(|quantity| serde_json::from_value::<Quantity>(quantity.clone()).ok())
            .map_or(0, |quantity| quantity.milli())
    };
    let list = |key: &str| pod[key].as_array().into_iter().flatten();
    let together: i64 = list("containers").map(of).fold(0, i64::saturating_add);
    list("initContainers").map(of).max().unwrap_or(0).max(together)
}

/// A key of a Secret that a pod needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SecretNeed {
    pub(super) namespace: String,
    pub(super) secret: String,
    /// `None`: all that it has.
    pub(super) key: Option<String>,
    /// The first that needs it.
    pub(super) by: String,
}

/// The Secrets without which pods do not start, each once.
pub(super) fn secret_needs(objects: &[Object]) -> Vec<SecretNeed> {
    let mut needs: Vec<SecretNeed> = Vec::new();
    for workload in workloads(objects) {
        let by = format!("{} {}/{}", workload.kind.name(), workload.namespace, workload.name);
        let mut add = |secret: &Value, key: Option<&Value>, optional: &Value| {
            let (Some(secret), false) = (secret.as_str(), optional == &Value::Bool(true)) else { return };
            let key = key.and_then(Value::as_str).map(str::to_owned);
            let is_known = |need: &SecretNeed| {
                need.namespace == workload.namespace && need.secret == secret && need.key == key
            };
            if !needs.iter().any(is_known) {
                let namespace = workload.namespace.clone();
                needs.push(SecretNeed { namespace, secret: secret.to_owned(), key, by: by.clone() });
            }
        };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for container in
            list(&workload.pod["containers"]).iter().chain(&list(&workload.pod["initContainers"]))
        {
            for variable in list(&container["env"]) {
                let from = &variable["valueFrom"]["secretKeyRef"];
                add(&from["name"], Some(&from["key"]), &from["optional"]);
            }
            for from in list(&container["envFrom"]) {
                add(&from["secretRef"]["name"], None, &from["secretRef"]["optional"]);
            }
        }
        for volume in list(&workload.pod["volumes"]) {
            add(&volume["secret"]["secretName"], None, &volume["secret"]["optional"]);
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(text: &str) -> Vec<Object> {
        parse("manifest", text, "here", &Catalog::default()).unwrap()
    }

    const TWO: &str = "
---
# Source: playground/templates/parts.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: tcp}
spec:
  replicas: 2
  template:
    spec:
      initContainers: [{name: i, resources: {requests: {cpu: 2}}}]
      containers:
        - name: a
          env:
            - {name: P, valueFrom: {secretKeyRef: {name: passwords, key: one}}}
            - {name: Q, valueFrom: {secretKeyRef: {name: maybe, key: one, optional: true}}}
          resources: {requests: {cpu: 500m, memory: 1Gi}}
        - name: b
          envFrom: [{secretRef: {name: passwords}}]
          resources: {limits: {cpu: 250m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaler, namespace: here}
spec: {minReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tcp}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: other, namespace: here}
spec: {minReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: tcp}}
";

    #[test]
    fn a_pod_requests_what_the_scheduler_reckons() {
        let workloads = workloads(&objects(TWO));
        let [tcp] = &workloads[..] else { panic!("{workloads:?}") };
        assert_eq!((tcp.cpu_milli, tcp.memory_bytes), (2000, 1 << 30));
        assert_eq!((tcp.replicas, tcp.namespace.as_str()), (3, "here"), "the autoscaler owns the number");
        assert_eq!(requested(&json!({}), "cpu"), 0);
    }

    #[test]
    fn secrets_that_pods_cannot_start_without_are_known() {
        let needs = secret_needs(&objects(TWO));
        let named: Vec<_> = needs.iter().map(|need| (need.secret.as_str(), need.key.as_deref())).collect();
        assert_eq!(named, [("passwords", Some("one")), ("passwords", None)]);
        assert_eq!(needs[0].by, "Deployment here/tcp");
    }
}
