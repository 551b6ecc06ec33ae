//! The permissions that each command needs, checked before it starts. docs/argocd.md has them as roles.

use platform::TargetError;

use super::api::failed;
use crate::{
    access::{Access, Right},
    connect::Cluster,
};

const GROUP: &str = super::names::GROUP;

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    namespaced: bool,
    without: &'static str,
) -> Right {
    Right { group, resource, verbs, namespaced, without }
}

/// In Argo CD's namespace.
pub(super) const READ: &[Right] =
    &[right(GROUP, "applications", &["get", "list"], true, "applications are not seen")];

/// In Argo CD's namespace.
pub(super) const SYNC: &[Right] =
    &[right(GROUP, "applications", &["get", "list", "patch"], true, "no sync can be started")];

/// In Argo CD's namespace.
pub(super) const REGISTER: &[Right] = &[
    right(GROUP, "applications", &["get", "list", "create", "patch"], true, "the app of apps is not made"),
    right(GROUP, "appprojects", &["get", "create", "patch"], true, "its project is not made"),
    right("", "configmaps", &["get", "patch"], true, "argocd-cm does not learn how our workloads are judged"),
];

/// In Argo CD's namespace, if there is a key.
pub(super) const KEEP_KEY: &[Right] = &[right(
    "",
    "secrets",
    &["get", "list", "create", "patch"],
    true,
    "the key is not made known to Argo CD",
)];

/// In the release's namespace, unless someone else manages its Secrets.
pub(super) const MAKE_SECRETS: &[Right] = &[
    right(
        "",
        "secrets",
        &["create"],
        true,
        "the Secrets that the chart refers to are not made; --no-secrets leaves them out",
    ),
    right(
        "",
        "namespaces",
        &["get", "create"],
        false,
        "the namespace is not made; --no-secrets leaves it to Argo CD",
    ),
];

/// In the release's namespace, to take a release over from Helm.
pub(super) const TAKE_OVER: &[Right] =
    &[right("", "secrets", &["list", "delete"], true, "Helm's record of the release is not removed")];

/// For installing: the manifest has cluster roles, and nobody may grant permissions that they do not have themselves.
pub(super) const INSTALL: &[Right] = &[
    right("", "namespaces", &["get", "create", "patch"], false, "Argo CD's namespace is not made"),
    right(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        &["get", "create", "patch"],
        false,
        "its kinds are not defined",
    ),
    right(
        "rbac.authorization.k8s.io",
        "clusterroles",
        &["get", "create", "patch", "escalate", "bind"],
        false,
        "its controllers get no permissions",
    ),
    right(
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        &["get", "create", "patch"],
        false,
        "its controllers get no permissions",
    ),
    right("apps", "deployments", &["get", "create", "patch"], true, "its controllers are not started"),
    right("apps", "statefulsets", &["get", "create", "patch"], true, "its controllers are not started"),
];

/// In Argo CD's namespace.
pub(super) const REMOVE: &[Right] = &[
    right(GROUP, "applications", &["get", "list", "patch", "delete"], true, "applications are not deleted"),
    right(GROUP, "appprojects", &["get", "patch", "delete"], true, "the projects are not deleted"),
    right("", "secrets", &["get", "delete"], true, "the repository's key is not deleted"),
];

/// An error that names every missing permission.
pub(super) async fn require(cluster: &Cluster, lists: &[&'static [Right]]) -> Result<(), TargetError> {
    let mut missing = Vec::new();
    for rights in lists {
        missing.extend(Access::review(cluster, rights).await?.missing(&cluster.namespace));
    }
    if missing.is_empty() {
        return Ok(());
    }
    failed(format!(
        "this account lacks permissions at {}:\n  {}\ndocs/argocd.md has a role with what each command needs",
        cluster.place,
        missing.join("\n  ")
    ))
}
