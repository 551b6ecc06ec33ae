//! What things are called: Argo CD's, and ours within it.

/// Where Argo CD runs unless something else is said.
pub const NAMESPACE: &str = "argocd";
/// Into which namespace the applications go unless something else is said: `argocd/values.yaml` has it too.
pub const RELEASE_NAMESPACE: &str = "playground";
/// The app of apps and its project.
pub(crate) const ROOT: &str = "playground-apps";
/// The application of the chart, which is also the name of the Helm release that it renders.
pub(crate) const RELEASE: &str = "playground";
/// Whose changes they are, in the managed fields and in Argo CD's operations.
pub(crate) const MANAGER: &str = "playctl";

/// The API group of its own kinds.
pub(crate) const GROUP: &str = "argoproj.io";
