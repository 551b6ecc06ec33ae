//! What playctl makes itself, before the chart: the namespace, and Secrets.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use platform::TargetError;

use super::{LABEL, MANAGER, Site, secrets, secrets::NewSecret};

/// Makes the namespace, with our label, so that `down` knows that it may take it away.
pub(super) async fn namespace(site: &Site) -> Result<bool, TargetError> {
    let mut namespace = Namespace::default();
    let labels = [(LABEL, site.release.as_str()), ("app.kubernetes.io/managed-by", MANAGER)];
    namespace.metadata.name = Some(site.namespace().to_owned());
    namespace.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let api: Api<Namespace> = Api::all(site.cluster.client.clone());
    match site.cluster.try_ask(api.create(&params, &namespace)).await {
        Ok(_) => Ok(true),
        Err(call) if call.status() == Some(409) => Ok(false),
        Err(call) => Err(call.error(&format!("making namespace {}", site.namespace()), &site.cluster)),
    }
}

/// Makes the Secrets; returns a line for each.
pub(super) async fn secrets(site: &Site, new: &[NewSecret]) -> Result<Vec<String>, TargetError> {
    let mut made = Vec::new();
    for secret in new {
        if secrets::make(site, secret).await? {
            made.push(format!("Secret {}/{} made, with a random password", site.namespace(), secret.name));
        }
    }
    Ok(made)
}
