//! Names: Argo CD's own, and ours within it.

/// Argo CD's default namespace.
pub const NAMESPACE: &str = "argocd";
/// The default namespace of the applications, also set in `argocd/values.yaml`.
pub const RELEASE_NAMESPACE: &str = "playground";
/// The app of apps and its project.
pub(crate) const ROOT: &str = "playground-apps";
/// The application of the chart, which is also the name of the Helm release that it renders.
pub(crate) const RELEASE: &str = "playground";
/// The name of our changes in the managed fields and in Argo CD's operations.
pub(crate) const MANAGER: &str = "playctl";

/// The API group of Argo CD's own kinds.
pub(crate) const GROUP: &str = "argoproj.io";
