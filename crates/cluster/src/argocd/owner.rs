//! Objects have one owner: Helm, or Argo CD.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use platform::TargetError;

use super::{names::RELEASE, step::Tell};
use crate::connect::Cluster;

/// Helm's records of our release in a namespace. Helm finds the release's objects only by them.
pub(super) async fn helm_records(release: &Cluster) -> Result<Vec<String>, TargetError> {
    let params = ListParams::default().labels(&format!("owner=helm,name={RELEASE}"));
    let what = format!("Helm's releases in namespace {}", release.namespace);
    let list = release.ask(what, secrets(release).list_metadata(&params)).await?;
    Ok(list.items.into_iter().filter_map(|secret| secret.metadata.name).collect())
}

/// Makes Helm forget a release; its objects stay.
pub(super) async fn forget(release: &Cluster, records: &[String], tell: &Tell) -> Result<(), TargetError> {
    for name in records {
        let what = format!("deleting Helm's record {name}");
        release.ask(what, secrets(release).delete(name, &DeleteParams::default())).await?;
    }
    tell.note(format!(
        "Helm has forgotten release {RELEASE} of namespace {}; its objects stay, and the next sync takes them over",
        release.namespace
    ))
    .await;
    Ok(())
}

fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}
