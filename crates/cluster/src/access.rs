//! This account's permissions. They are checked first, so that missing ones can be named and the rest still works.

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};
use platform::TargetError;

use crate::connect::Cluster;

/// The maximum number of concurrent reviews.
const AT_ONCE: usize = 8;

/// A permission for one kind of object, and what does not work without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) group: &'static str,
    /// Including its subresource, as in `pods/log`.
    pub(crate) resource: &'static str,
    pub(crate) verbs: &'static [&'static str],
    /// Granted in a namespace; otherwise in the whole cluster.
    pub(crate) namespaced: bool,
    /// What does not work without it.
    pub(crate) without: &'static str,
}

const WATCH: &[&str] = &["list", "watch"];

/// What `watch`, `status` and `explain` read, except custom and external metrics: permissions for these are granted one
/// by one, and the API server itself names the missing one.
pub(crate) const READING: &[Right] = &[
    Right {
        group: "autoscaling",
        resource: "horizontalpodautoscalers",
        verbs: WATCH,
        namespaced: true,
        without: "autoscalers and their decisions are not seen",
    },
    Right { group: "", resource: "pods", verbs: WATCH, namespaced: true, without: "pods are not seen" },
    Right {
        group: "apps",
        resource: "deployments",
        verbs: WATCH,
        namespaced: true,
        without: "Deployments, and who sets their replicas, are not seen",
    },
    Right {
        group: "apps",
        resource: "statefulsets",
        verbs: WATCH,
        namespaced: true,
        without: "StatefulSets, and who sets their replicas, are not seen",
    },
    Right {
        group: "discovery.k8s.io",
        resource: "endpointslices",
        verbs: WATCH,
        namespaced: true,
        without: "which pods get traffic is not seen",
    },
    Right {
        group: "",
        resource: "events",
        verbs: WATCH,
        namespaced: true,
        without: "the controller's own reasons are not seen",
    },
    Right {
        group: "",
        resource: "nodes",
        verbs: WATCH,
        namespaced: false,
        without: "nodes that come, go or fail are not seen",
    },
    Right {
        group: "metrics.k8s.io",
        resource: "pods",
        verbs: &["list"],
        namespaced: true,
        without: "CPU and memory are not read",
    },
];

/// The permissions that this account lacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    /// With the denied verbs.
    denied: Vec<(Right, Vec<&'static str>)>,
}

impl Access {
    /// Checks each permission. An API server that cannot review is assumed to allow everything; what it then denies is
    /// reported when it happens.
    pub(crate) async fn review(cluster: &Cluster, rights: &'static [Right]) -> Result<Self, TargetError> {
        let questions = rights.iter().flat_map(|right| right.verbs.iter().map(move |verb| (*right, *verb)));
        let mut answers = stream::iter(questions)
            .map(|(right, verb)| async move { (right, verb, allowed(cluster, right, verb).await) })
            .buffered(AT_ONCE);
        let mut denied: Vec<(Right, Vec<&'static str>)> = Vec::new();
        while let Some((right, verb, allowed)) = answers.next().await {
            if allowed? {
                continue;
            }
            match denied.iter_mut().find(|(other, _)| *other == right) {
                Some((_, verbs)) => verbs.push(verb),
                None => denied.push((right, vec![verb])),
            }
        }
        Ok(Self { denied })
    }

    pub(crate) fn allows(&self, group: &str, resource: &str) -> bool {
        !self.denied.iter().any(|(right, _)| right.group == group && right.resource == resource)
    }

    /// The missing permissions, one sentence each.
    pub(crate) fn missing(&self, namespace: &str) -> Vec<String> {
        self.denied.iter().map(|(right, verbs)| right.sentence(verbs, namespace)).collect()
    }
}

impl Right {
    fn sentence(&self, verbs: &[&str], namespace: &str) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let place =
            if self.namespaced { format!("in namespace {namespace}") } else { "in the cluster".to_owned() };
        format!("not allowed to {} {}{group} {place}: {}", verbs.join(" and "), self.resource, self.without)
    }
}

async fn allowed(cluster: &Cluster, right: Right, verb: &str) -> Result<bool, TargetError> {
    let text = |text: &str| Some(text.to_owned());
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, text(subresource)),
        None => (right.resource, None),
    };
    let attributes = ResourceAttributes {
        group: text(right.group),
        resource: text(resource),
        subresource,
        verb: text(verb),
        namespace: right.namespaced.then(|| cluster.namespace.clone()),
        ..ResourceAttributes::default()
    };
    is_allowed(cluster, attributes).await
}

/// Checks one permission.
pub(crate) async fn is_allowed(cluster: &Cluster, right: ResourceAttributes) -> Result<bool, TargetError> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(right),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    match cluster.try_ask(reviews.create(&PostParams::default(), &review)).await {
        Ok(answer) => Ok(answer.status.is_none_or(|status| status.allowed)),
        Err(call) if matches!(call.status(), Some(403..=405)) => Ok(true),
        Err(call) => Err(call.error("what this account may do", cluster)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_where_and_what_for() {
        let of = |resource: &str| *READING.iter().find(|right| right.resource == resource).unwrap();
        let access =
            Access { denied: vec![(of("nodes"), vec!["list", "watch"]), (of("deployments"), vec!["watch"])] };
        assert_eq!(
            access.missing("chat"),
            [
                "not allowed to list and watch nodes in the cluster: nodes that come, go or fail are not seen",
                "not allowed to watch deployments.apps in namespace chat: Deployments, and who sets their replicas, \
                 are not seen",
            ]
        );
        assert!(
            !access.allows("", "nodes") && access.allows("", "pods") && !access.allows("apps", "deployments")
        );
    }
}
