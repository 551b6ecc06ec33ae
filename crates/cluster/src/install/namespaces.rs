//! Namespaces: who owns them, and why one does not terminate.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use platform::TargetError;

use super::{LABEL, OnProgress, Progress, Site};

/// How often to look whether one is gone.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What there is of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Missing,
    /// `ours`: playctl made it for this release.
    There {
        ours: bool,
    },
    /// It is being deleted. What the API server says of that.
    Ending {
        why: Vec<String>,
    },
    /// This account may not look.
    Unknown,
}

fn api(site: &Site) -> Api<Namespace> {
    Api::all(site.cluster.client.clone())
}

pub(super) async fn state(site: &Site, name: &str) -> Result<State, TargetError> {
    match site.cluster.try_ask(api(site).get(name)).await {
        Ok(namespace) => Ok(of(&namespace, &site.release)),
        Err(call) if call.status() == Some(404) => Ok(State::Missing),
        Err(call) if call.status() == Some(403) => Ok(State::Unknown),
        Err(call) => Err(call.error(&format!("namespace {name}"), &site.cluster)),
    }
}

fn of(namespace: &Namespace, release: &str) -> State {
    if namespace.metadata.deletion_timestamp.is_some() {
        return State::Ending { why: why(namespace) };
    }
    let labels = namespace.metadata.labels.as_ref();
    State::There { ours: labels.and_then(|labels| labels.get(LABEL)).is_some_and(|label| label == release) }
}

/// What holds it, in the API server's own words.
fn why(namespace: &Namespace) -> Vec<String> {
    let status = namespace.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let holding = conditions.filter(|condition| condition.status == "True");
    let mut why: Vec<String> =
        holding.filter_map(|condition| condition.message.clone().filter(|words| !words.is_empty())).collect();
    let spec = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    let metadata = namespace.metadata.finalizers.clone().unwrap_or_default();
    let others: Vec<String> = spec.into_iter().filter(|one| one != "kubernetes").chain(metadata).collect();
    if !others.is_empty() {
        why.push(format!("the namespace itself has finalizers: {}", others.join(", ")));
    }
    why
}

/// Waits until it is gone; `Some`: what holds it after that time.
pub(super) async fn gone(
    site: &Site,
    name: &str,
    limit: Duration,
    tell: &mut OnProgress<'_>,
) -> Result<Option<Vec<String>>, TargetError> {
    let began = clock::now();
    loop {
        let State::Ending { why } = state(site, name).await? else { return Ok(None) };
        if began.elapsed() >= limit {
            return Ok(Some(why));
        }
        let seconds = began.elapsed().as_secs();
        let detail = format!("namespace {name} is being deleted ({seconds} s)");
        tell(Progress::Doing { stage: "namespace", detail });
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// That it does not end, and what to do.
pub(super) fn stuck(site: &Site, name: &str, why: &[String]) -> String {
    let words = if why.is_empty() { "the API server does not say why".to_owned() } else { why.join("; ") };
    let next = if words.contains("finalizer") {
        format!(
            "see which objects have them: {} -n {name} get all,configmaps,secrets,persistentvolumeclaims -o yaml | grep \
             -B20 finalizers; their controller must remove them, or you must, if it is gone for good",
            site.kubectl()
        )
    } else if words.contains("iscovery") || words.contains("unable to retrieve the complete list") {
        format!(
            "an API that does not answer blocks every namespace: {} get apiservices; delete the one that is not Available",
            site.kubectl()
        )
    } else {
        format!("see what is in it: {} get namespace {name} -o yaml", site.kubectl())
    };
    format!("namespace {name} does not finish terminating: {words}\n{next}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(text: serde_json::Value) -> Namespace {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn what_holds_a_namespace_is_said() {
        let ending = namespace(serde_json::json!({
            "metadata": {"name": "n", "deletionTimestamp": "2026-11-28T08:00:00Z"},
            "spec": {"finalizers": ["kubernetes", "example.com/own"]},
            "status": {"conditions": [
                {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "All resources successfully discovered"},
                {"type": "NamespaceFinalizersRemaining", "status": "True",
                 "message": "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"}]}}));
        let State::Ending { why } = of(&ending, "playground") else { panic!() };
        assert_eq!(why.len(), 2, "{why:?}");
        assert!(why[0].contains("example.com/hold") && why[1].contains("example.com/own"), "{why:?}");
    }

    #[test]
    fn one_is_ours_by_the_label_of_this_release() {
        let labelled = |release: &str| {
            of(&namespace(serde_json::json!({"metadata": {"name": "n", "labels": {LABEL: release}}})), "blue")
        };
        assert_eq!(labelled("blue"), State::There { ours: true });
        assert_eq!(labelled("green"), State::There { ours: false });
    }
}
