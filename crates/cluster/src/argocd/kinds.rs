//! Kinds of the API, by the names in manifests.

use kube::{
    Api,
    core::{DynamicObject, GroupVersionKind},
};
use platform::TargetError;
use serde_json::Value;

use super::results::ResourceName;
pub(super) use crate::kinds::Kinds;
use crate::kinds::named;

impl Kinds<'_> {
    /// Where an object of a manifest belongs. A namespaced object without a namespace goes into `namespace`.
    pub(super) async fn place(
        &mut self,
        object: &mut Value,
        namespace: &str,
    ) -> Result<Option<Api<DynamicObject>>, TargetError> {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        let Some((resource, namespaced)) = self.find(&named(&version, &kind)).await? else {
            return Ok(None);
        };
        let client = self.cluster().client.clone();
        let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Ok(None);
        };
        if !namespaced {
            metadata.remove("namespace");
            return Ok(Some(Api::all_with(client, &resource)));
        }
        let namespace = metadata.entry("namespace").or_insert_with(|| Value::from(namespace));
        Ok(Some(Api::namespaced_with(client, namespace.as_str().unwrap_or_default(), &resource)))
    }

    /// The API of a kind that is known only by its names.
    pub(super) async fn api(
        &mut self,
        resource: &ResourceName,
        version: &str,
    ) -> Result<Option<Api<DynamicObject>>, TargetError> {
        let kind = GroupVersionKind::gvk(&resource.group, version, &resource.kind);
        let client = self.cluster().client.clone();
        Ok(self.find(&kind).await?.map(|(kind, namespaced)| {
            if namespaced {
                Api::namespaced_with(client, &resource.namespace, &kind)
            } else {
                Api::all_with(client, &kind)
            }
        }))
    }
}

/// The name of a manifest's object.
pub(super) fn name_of(object: &Value) -> ResourceName {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = text("/apiVersion");
    ResourceName {
        group: version.split_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default(),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    }
}
