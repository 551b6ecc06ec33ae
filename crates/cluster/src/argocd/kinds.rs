//! Kinds of the API, by the names in manifests.

use std::collections::HashMap;

use kube::{
    Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
};
use platform::TargetError;
use serde_json::Value;

use super::results::ResourceName;
use crate::{connect::Cluster, error::Call};

/// Looks up kinds, each only once.
pub(super) struct Kinds<'a> {
    cluster: &'a Cluster,
    known: HashMap<GroupVersionKind, Option<(ApiResource, bool)>>,
}

impl<'a> Kinds<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, known: HashMap::new() }
    }

    /// The kind, and whether it is namespaced; `None`: the cluster does not have it.
    async fn find(&mut self, kind: &GroupVersionKind) -> Result<Option<(ApiResource, bool)>, TargetError> {
        if let Some(known) = self.known.get(kind) {
            return Ok(known.clone());
        }
        let found = match self.cluster.try_ask(discovery::pinned_kind(&self.cluster.client, kind)).await {
            Ok((resource, about)) => Some((resource, about.scope == Scope::Namespaced)),
            Err(call) if call.status() == Some(404) => None,
            Err(Call::Failed(kube::Error::Discovery(_))) => None,
            Err(call) => return Err(call.error(&format!("the kind {}", kind.kind), self.cluster)),
        };
        self.known.insert(kind.clone(), found.clone());
        Ok(found)
    }

    /// Where an object of a manifest belongs. A namespaced object without a namespace goes into `namespace`.
    pub(super) async fn place(
        &mut self,
        object: &mut Value,
        namespace: &str,
    ) -> Result<Option<Api<DynamicObject>>, TargetError> {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let Some((resource, namespaced)) = self.find(&GroupVersionKind::gvk(group, version, &kind)).await?
        else {
            return Ok(None);
        };
        let client = self.cluster.client.clone();
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
        let client = self.cluster.client.clone();
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
