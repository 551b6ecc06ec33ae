//! The Secrets that pods need: which of them are missing, and which of these playctl can make.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams};
use platform::{TargetError, values::setting};
use uuid::Uuid;

use super::{
    LABEL, MANAGER, Site, Wanted,
    manifest::{Object, SecretNeed, secret_needs},
};

/// A Secret to be made, with a random value under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewSecret {
    pub(super) name: String,
    pub(super) key: String,
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

/// Compares what pods need with what there is.
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

/// A password for a part of the chart may be anything; an existing server has its own.
fn made(site: &Site, wanted: &Wanted, need: &SecretNeed) -> Option<NewSecret> {
    let set = |key: &str| setting(wanted.values.merged(), key).filter(|value| !value.is_null());
    let is_empty = |key: &str| set(key).is_none_or(|value| value.as_str() == Some(""));
    let is_true = |key: &str| set(key).is_some_and(|value| value.as_bool() == Some(true));
    let parts = [
        (
            "kafka-user-passwords",
            "client-passwords",
            is_empty("kafka.brokers") && is_empty("kafka.sasl.existingSecret"),
        ),
        (
            "es-elastic-user",
            "elastic",
            is_empty("elasticsearch.url")
                && is_empty("elasticsearch.existingSecret")
                && !is_true("elasticsearch.operator"),
        ),
    ];
    let is_meant = |(name, key, ours): &(&str, &str, bool)| {
        *ours
            && need.namespace == site.namespace()
            && need.secret == format!("{}-{name}", site.release)
            && need.key.as_deref() == Some(*key)
    };
    let (_, key, _) = parts.into_iter().find(is_meant)?;
    Some(NewSecret { name: need.secret.clone(), key: key.to_owned() })
}

/// Makes it; one that is there already stays as it is. Returns whether it was made.
pub(super) async fn make(site: &Site, new: &NewSecret) -> Result<bool, TargetError> {
    // Two random numbers of 122 bits each, in hexadecimal.
    let value = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let labels = [
        (LABEL, site.release.as_str()),
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
    let created = async { api(site, site.namespace()).create(&params, &secret).await };
    match site.cluster.try_ask(created).await {
        Ok(_) => Ok(true),
        Err(call) if call.status() == Some(409) => Ok(false),
        Err(call) => Err(call.error(&format!("making Secret {}", new.name), &site.cluster)),
    }
}
