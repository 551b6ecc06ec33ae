//! What helm's errors mean, and what to do next.

use super::Site;

/// Longest text that is shown of it.
const LONGEST: usize = 4000;

/// What it says, as it is, and what that means.
pub(super) fn explained(said: &str, site: &Site) -> String {
    let said = text(said);
    match meaning(&said, site) {
        Some(meaning) => format!("helm: {said}\n{meaning}"),
        None => format!("helm: {said}"),
    }
}

/// Without what is no error, and within bounds.
fn text(said: &str) -> String {
    let lines: Vec<&str> =
        said.lines().filter(|line| !line.starts_with("WARNING:") && !line.trim().is_empty()).collect();
    let said = lines.join("\n");
    let said = said.strip_prefix("Error: ").unwrap_or(&said);
    match said.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &said[..at]),
        None => said.to_owned(),
    }
}

/// In our words; `None`: it speaks for itself.
fn meaning(said: &str, site: &Site) -> Option<String> {
    let (helm, release, namespace) = (site.helm(), &site.release, site.namespace());
    let has = |words: &[&str]| words.iter().any(|words| said.contains(words));
    Some(if has(&["another operation (install/upgrade/rollback) is in progress"]) {
        format!(
            "Somebody else is changing this release, or was killed while doing so. See who: {helm} -n {namespace} \
             history {release}; if nobody is, run playctl up again"
        )
    } else if has(&["invalid ownership metadata", "cannot be imported into the current release"]) {
        "An object of the chart exists already and is not part of this release. Delete it, or hand it over: playctl up \
         --take-ownership"
            .to_owned()
    } else if has(&["attempting to grant RBAC permissions not currently held"]) {
        "Kubernetes lets nobody grant permissions that they do not have: install as a cluster administrator, or switch \
         off what needs these rights (prometheus.enabled=false, cadvisor.enabled=false)"
            .to_owned()
    } else if has(&["failed calling webhook", "admission webhook"]) {
        "An admission webhook of the cluster refused this, or does not answer; its own words are above"
            .to_owned()
    } else if has(&["is forbidden: exceeded quota"]) {
        format!(
            "A ResourceQuota of the namespace is used up: kubectl -n {namespace} describe quota; raise it, or lower the \
             requests with --set"
        )
    } else if has(&["is forbidden: User", "is forbidden: user"]) {
        "The account of this context lacks that permission: ask for it, or choose another --context"
            .to_owned()
    } else if has(&["because it is being terminated"]) {
        "The namespace is still being deleted: wait until it is gone, then run playctl up again".to_owned()
    } else if has(&[
        "field is immutable",
        "updates to statefulset spec for fields other than",
        "may not change once set",
    ]) {
        "Kubernetes does not let this field change. Delete the object (kubectl delete --cascade=orphan keeps its pods), \
         then run playctl up again"
            .to_owned()
    } else if has(&["no matches for kind", "ensure CRDs are installed first"]) {
        "The cluster does not know this kind: install its operator first, or switch off what uses it \
         (prometheus.operator=false, elasticsearch.operator=false)"
            .to_owned()
    } else if has(&["which is incompatible with Kubernetes"]) {
        format!(
            "The API server is {}: upgrade the cluster, or take a chart that fits it with --chart DIR",
            site.version
        )
    } else if has(&["Kubernetes cluster unreachable", "connection refused", "i/o timeout", "EOF"]) {
        "The API server no longer answers. The partial installation is still there; run playctl up again once it answers"
            .to_owned()
    } else if has(&["values don't meet the specifications of the schema"]) {
        "A value does not fit this chart. playctl checks values by its own rules first, so this chart is for \
         another version of playctl"
            .to_owned()
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::site, *};

    #[tokio::test]
    async fn what_an_admission_webhook_says_is_not_taken_for_the_api_servers_own_silence() {
        let site = site(kube::Client::new(
            tower::service_fn(async |_| {
                Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("none"))
            }),
            "n",
        ));
        let of = |said: &str| explained(said, &site);
        let webhook = "Error: UPGRADE FAILED: failed calling webhook \"w\": dial tcp 127.0.0.1:1: connect: connection refused";
        assert!(of(webhook).contains("An admission webhook of the cluster"), "{}", of(webhook));
        let silent =
            "Error: Kubernetes cluster unreachable: dial tcp 127.0.0.1:6443: connect: connection refused";
        assert!(of(silent).contains("no longer answers"), "{}", of(silent));
    }
}
