//! The Secrets that pods need: which are missing, and which of these playctl can create.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams};
use platform::{
    TargetError,
    values::{helm::Table, setting},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    LABEL, MANAGER, Site, Wanted,
    manifest::{Object, SecretNeed, secret_needs},
};
use crate::connect::Cluster;

/// A Secret to be made, with a random value under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewSecret {
    pub(crate) name: String,
    key: String,
}

/// What is missing.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub(super) new: Vec<NewSecret>,
    /// What somebody else must bring, in words.
    pub(super) problems: Vec<String>,
}

fn api(site: &Site, namespace: &str) -> Api<Secret> {
    Api::namespaced(site.cluster.client.clone(), namespace)
}

/// Compares the pods' needs with the existing Secrets.
pub(super) async fn missing(
    site: &Site,
    wanted: &Wanted,
    objects: &[Object],
) -> Result<Missing, TargetError> {
    let mut missing = Missing::default();
    let is_rendered = |need: &SecretNeed| {
        objects.iter().any(|object| {
            object.key.kind == "Secret"
                && object.key.name == need.secret
                && object.key.namespace.as_ref() == Some(&need.namespace)
        })
    };
    for need in secret_needs(objects).into_iter().filter(|need| !is_rendered(need)) {
        let SecretNeed { namespace, secret, key, by } = &need;
        match site.cluster.try_ask(api(site, namespace).get(secret)).await {
            Ok(there) => {
                let has = |key: &String| there.data.as_ref().is_some_and(|data| data.contains_key(key));
                if let Some(key) = key.as_ref().filter(|key| !has(key)) {
                    missing.problems.push(format!(
                        "Secret {namespace}/{secret} has no key {key}, which {by} needs; add it, or delete the Secret"
                    ));
                }
            }
            Err(call) if call.status() == Some(404) => match made(site, wanted, &need) {
                Some(new) => missing.new.push(new),
                None => missing.problems.push(format!(
                    "Secret {namespace}/{secret}, which {by} needs, is missing, and only you know what belongs in it: \
                     {} -n {namespace} create secret generic {secret} --from-literal={}=…",
                    site.kubectl(),
                    key.as_deref().unwrap_or("KEY"),
                )),
            },
            // A missing permission is told by itself.
            Err(call) if call.status() == Some(403) => {}
            Err(call) => return Err(call.error(&format!("Secret {secret}"), &site.cluster)),
        }
    }
    Ok(missing)
}

/// The Secret that a pod needs, if it is one of the chart's own.
fn made(site: &Site, wanted: &Wanted, need: &SecretNeed) -> Option<NewSecret> {
    let of_chart = of_chart(wanted.values.merged(), &site.release);
    let is_meant = |new: &NewSecret| {
        need.namespace == site.namespace() && need.secret == new.name && need.key.as_ref() == Some(&new.key)
    };
    of_chart.into_iter().find(is_meant)
}

/// The Secrets of the parts that the chart itself brings, as its `kafka.isOurs`, `elasticsearch.isOurs` and `redis.isOurs`
/// say, and the token that the balancer shares with those whom it orders: they may be anything. Only the user knows the password of a server that exists, and an operator makes its own.
pub(crate) fn of_chart(values: &Table, release: &str) -> Vec<NewSecret> {
    let is_on = |key: &str| setting(values, key) == Some(&Value::Bool(true));
    let is_empty = |key: &str| setting(values, key).is_none_or(|value| value.is_null() || *value == "");
    let kafka = is_on("kafka.enabled")
        && is_on("kafka.sasl.enabled")
        && is_empty("kafka.brokers")
        && is_empty("kafka.sasl.existingSecret");
    let elasticsearch = (is_on("elasticsearch.enabled") || is_on("logger.enabled"))
        && is_empty("elasticsearch.url")
        && is_empty("elasticsearch.existingSecret")
        && !is_on("elasticsearch.operator");
    let redis = ["redis.enabled", "ws.enabled", "directory.enabled", "stream.enabled"].into_iter().any(is_on)
        && is_empty("redis.address")
        && is_empty("redis.existingSecret");
    let balancer = is_on("balancer.enabled") && is_empty("balancer.existingSecret");
    let parts = [
        (kafka, "kafka-user-passwords", "client-passwords"),
        (elasticsearch, "es-elastic-user", "elastic"),
        (redis, "redis-password", "password"),
        (balancer, "shed-token", "token"),
    ];
    let needed = parts.into_iter().filter(|(is_needed, ..)| *is_needed);
    needed
        .map(|(_, name, key)| NewSecret { name: format!("{release}-{name}"), key: key.to_owned() })
        .collect()
}

/// Makes it; one that is there already stays as it is. Returns whether it was made.
pub(crate) async fn make(cluster: &Cluster, release: &str, new: &NewSecret) -> Result<bool, TargetError> {
    // Two random numbers of 122 bits each, in hexadecimal.
    let value = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let labels = [
        (LABEL, release),
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/part-of", "playground"),
    ];
    let mut secret = Secret {
        type_: Some("Opaque".to_owned()),
        data: Some([(new.key.clone(), ByteString(value.into_bytes()))].into()),
        ..Secret::default()
    };
    secret.metadata.name = Some(new.name.clone());
    secret.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let created = async { secrets.create(&params, &secret).await };
    match cluster.try_ask(created).await {
        Ok(_) => Ok(true),
        Err(call) if call.status() == Some(409) => Ok(false),
        Err(call) => Err(call.error(&format!("making Secret {}", new.name), cluster)),
    }
}
