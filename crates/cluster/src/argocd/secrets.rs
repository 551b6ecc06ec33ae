//! The Secrets that the chart refers to: Argo CD may make none, and a template that did would make others at every
//! sync.

use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
};
use kube::{Api, api::PostParams, core::ObjectMeta};
use platform::{
    TargetError,
    values::{ValuesSource, helm::Table, setting},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    MANAGER, RELEASE,
    bootstrap::{self, Given, Told},
    git::Fetched,
    render::assignment,
    results::{Outcome, Put, ResourceName},
    step::{Step, Tell},
};
use crate::connect::Cluster;

/// A Secret with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needed {
    name: String,
    key: &'static str,
}

/// Those that the chart refers to and any password is right for: the parts that it brings along. Only the user knows the
/// password of a server that exists, and an operator makes its own Secret.
pub(super) fn needed(root: &Value, files: Option<&Fetched>) -> Result<Vec<Needed>, TargetError> {
    let Told { presets, values } = bootstrap::told(root)?;
    let chart = files.map(|files| files.path().join("helm-chart"));
    let (texts, typed): (Vec<_>, Vec<_>) = values.into_iter().partition(|(_, given)| given.is_text);
    let lines = |values: Vec<(String, Given)>| -> Vec<String> {
        values.iter().map(|(key, given)| assignment(key, &given.value)).collect()
    };
    let source = ValuesSource {
        // Without the repository's files, the chart in this program is the next best thing.
        files: chart.iter().flat_map(|chart| presets.iter().map(|preset| chart.join(preset))).collect(),
        chart_dir: chart,
        set: lines(typed),
        set_string: lines(texts),
        ..ValuesSource::default()
    };
    let values = source.merged().map_err(|error| TargetError::Invalid { message: error.to_string() })?;
    Ok(of_values(&values))
}

/// As `kafka.isOurs` and `elasticsearch.isOurs` of the chart say.
fn of_values(values: &Table) -> Vec<Needed> {
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
    let parts =
        [(kafka, "kafka-user-passwords", "client-passwords"), (elasticsearch, "es-elastic-user", "elastic")];
    let needed = parts.into_iter().filter(|(is_needed, ..)| *is_needed);
    needed.map(|(_, name, key)| Needed { name: format!("{RELEASE}-{name}"), key }).collect()
}

/// Makes the namespace and the Secrets that are missing; the others stay as they are.
pub(super) async fn make_missing(
    release: &Cluster,
    needed: &[Needed],
    tell: &Tell,
) -> Result<Vec<Put>, TargetError> {
    let namespaces: Api<Namespace> = Api::all(release.client.clone());
    let namespace = &release.namespace;
    let mut put = Vec::new();
    let present = release.ask(format!("namespace {namespace}"), namespaces.get_opt(namespace)).await?;
    if present.is_none() {
        let wanted = Namespace { metadata: metadata(namespace), ..Namespace::default() };
        let made = async { namespaces.create(&by_us(), &wanted).await };
        release.ask(format!("making namespace {namespace}"), made).await?;
        put.push(made_now("Namespace", "", namespace, true));
    }
    let secrets: Api<Secret> = Api::namespaced(release.client.clone(), namespace);
    for Needed { name, key } in needed {
        let present = release.ask(format!("Secret {name}"), secrets.get_opt(name)).await?;
        if present.is_none() {
            let wanted = secret(name, key);
            let made = async { secrets.create(&by_us(), &wanted).await };
            release.ask(format!("making Secret {name}"), made).await?;
        }
        put.push(made_now("Secret", namespace, name, present.is_none()));
    }
    for one in &put {
        tell.step(Step::Put(one.clone())).await;
    }
    Ok(put)
}

fn by_us() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// With the label of everything that is made for a release.
fn metadata(name: &str) -> ObjectMeta {
    let labels = [("playctl/release", RELEASE), ("app.kubernetes.io/managed-by", MANAGER)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ObjectMeta { name: Some(name.to_owned()), labels: Some(labels.into()), ..ObjectMeta::default() }
}

fn secret(name: &str, key: &str) -> Secret {
    // Two random UUIDs: 244 bits from the operating system.
    let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    Secret {
        metadata: metadata(name),
        data: Some([(key.to_owned(), ByteString(password.into_bytes()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

fn made_now(kind: &str, namespace: &str, name: &str, is_new: bool) -> Put {
    let object = ResourceName {
        group: String::new(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    Put { object, outcome: if is_new { Outcome::Created } else { Outcome::Unchanged } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_password_is_made_for_what_the_chart_brings_along() {
        let (kafka, elastic) = ("playground-kafka-user-passwords", "playground-es-elastic-user");
        for (set, expected) in [
            (&[][..], vec![kafka]),
            (&["logger.enabled"], vec![kafka, elastic]),
            (&["elasticsearch.enabled"], vec![kafka, elastic]),
            (&["kafka.enabled=false"], vec![]),
            (&["kafka.sasl.enabled=false"], vec![]),
            (&["kafka.brokers=kafka.example:9092"], vec![]),
            (&["kafka.sasl.existingSecret=mine"], vec![]),
            (&["logger.enabled", "elasticsearch.url=https://es.example"], vec![kafka]),
            (&["logger.enabled", "elasticsearch.operator"], vec![kafka]),
            (&["logger.enabled", "elasticsearch.existingSecret=mine"], vec![kafka]),
        ] {
            let parameters: Vec<Value> = set
                .iter()
                .map(|set| {
                    let (key, value) = set.split_once('=').unwrap_or((set, "true"));
                    json!({"name": bootstrap::of_chart(key), "value": value})
                })
                .collect();
            let root = json!({"spec": {"source": {"helm": {"parameters": parameters}}}});
            let names: Vec<String> = needed(&root, None).unwrap().into_iter().map(|one| one.name).collect();
            assert_eq!(names, expected, "{set:?}");
        }
    }
}
