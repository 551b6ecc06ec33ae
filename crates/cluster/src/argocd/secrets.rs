//! The Secrets that the chart refers to. Argo CD must not create them: a template that did would generate new ones at
//! every sync.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use platform::{TargetError, values::ValuesSource};
use serde_json::Value;

use super::{
    api::failed,
    bootstrap::{self, Given, Told},
    git::Fetched,
    names::RELEASE,
    render::assignment,
    results::{Outcome, Put, ResourceName},
    step::{Step, Tell},
};
use crate::{
    connect::Cluster,
    install::{
        prepare,
        secrets::{self, NewSecret},
    },
};

/// The Secrets that the chart refers to and that may contain any password, according to the values with which Argo CD
/// will render it.
pub(super) fn needed(root: &Value, files: Option<&Fetched>) -> Result<Vec<NewSecret>, TargetError> {
    let Told { presets, values } = bootstrap::told(root)?;
    let chart = files.map(|files| files.path().join("helm-chart"));
    let (texts, typed): (Vec<_>, Vec<_>) = values.into_iter().partition(|(_, given)| given.is_text);
    let lines = |values: Vec<(String, Given)>| -> Vec<String> {
        values.iter().map(|(key, given)| assignment(key, &given.value)).collect()
    };
    let source = ValuesSource {
        // Without the repository's files, the chart in this program is the best substitute.
        files: chart.iter().flat_map(|chart| presets.iter().map(|preset| chart.join(preset))).collect(),
        chart_dir: chart,
        set: lines(typed),
        set_string: lines(texts),
        ..ValuesSource::default()
    };
    let values = source.merged().map_err(|error| TargetError::Invalid { message: error.to_string() })?;
    Ok(secrets::of_chart(&values, RELEASE))
}

/// Creates the namespace and the Secrets that are missing; existing ones stay unchanged.
pub(super) async fn make_missing(
    release: &Cluster,
    needed: &[NewSecret],
    tell: &Tell,
) -> Result<Vec<Put>, TargetError> {
    let namespaces: Api<Namespace> = Api::all(release.client.clone());
    let namespace = &release.namespace;
    let mut put = Vec::new();
    let present = release.ask(format!("namespace {namespace}"), namespaces.get_opt(namespace)).await?;
    if present.as_ref().is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
        return failed(format!(
            "namespace {namespace} is still being deleted; run this again once it is gone"
        ));
    }
    if present.is_none() && prepare::namespace(release, RELEASE).await? {
        put.push(made_now("Namespace", "", namespace, true));
    }
    for new in needed {
        let is_new = secrets::make(release, RELEASE, new).await?;
        put.push(made_now("Secret", namespace, &new.name, is_new));
    }
    for one in &put {
        tell.step(Step::Put(one.clone())).await;
    }
    Ok(put)
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
        let redis = "playground-redis-password";
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
            (&["ws.enabled"], vec![kafka, redis]),
            (&["redis.enabled"], vec![kafka, redis]),
            (&["directory.enabled"], vec![kafka, redis]),
            (&["ws.enabled", "redis.address=redis.example:6379"], vec![kafka]),
            (&["ws.enabled", "redis.existingSecret=mine"], vec![kafka]),
            (&["balancer.enabled", "ws.enabled"], vec![kafka, redis, "playground-shed-token"]),
            (&["balancer.enabled", "ws.enabled", "balancer.existingSecret=mine"], vec![kafka, redis]),
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
