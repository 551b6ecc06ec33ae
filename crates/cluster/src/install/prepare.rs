//! What playctl creates itself, before the chart: the namespace, and Secrets.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use platform::TargetError;

use super::{LABEL, MANAGER, Site, secrets, secrets::NewSecret};
use crate::connect::Cluster;

/// Makes the namespace, with our label, so that `down` knows that it may take it away.
pub(crate) async fn namespace(cluster: &Cluster, release: &str) -> Result<bool, TargetError> {
    let mut namespace = Namespace::default();
    let labels = [(LABEL, release), ("app.kubernetes.io/managed-by", MANAGER)];
    namespace.metadata.name = Some(cluster.namespace.clone());
    namespace.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    match cluster.try_ask(api.create(&params, &namespace)).await {
        Ok(_) => Ok(true),
        Err(call) if call.status() == Some(409) => Ok(false),
        Err(call) => Err(call.error(&format!("making namespace {}", cluster.namespace), cluster)),
    }
}

/// Makes the Secrets; returns a line for each.
pub(super) async fn secrets(site: &Site, new: &[NewSecret]) -> Result<Vec<String>, TargetError> {
    let mut made = Vec::new();
    for secret in new {
        if secrets::make(&site.cluster, &site.release, secret).await? {
            made.push(format!("Secret {}/{} created, with a random password", site.namespace(), secret.name));
        }
    }
    Ok(made)
}
