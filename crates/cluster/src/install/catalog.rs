//! The kinds that the API server has.

use std::collections::BTreeMap;

use kube::{
    Api, Discovery,
    core::{ApiResource, DynamicObject},
    discovery::{Scope, verbs},
};
use platform::TargetError;

use super::manifest::Key;
use crate::connect::Cluster;

/// One kind.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    pub(super) namespaced: bool,
    pub(super) listable: bool,
    pub(super) deletable: bool,
}

/// All kinds, by group and name; each in the version that the API server prefers.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog {
    kinds: BTreeMap<(String, String), Kind>,
}

impl Catalog {
    pub(super) async fn read(cluster: &Cluster) -> Result<Self, TargetError> {
        let discovery = cluster
            .ask("the kinds that it has", Box::pin(Discovery::new(cluster.client.clone()).run_aggregated()))
            .await?;
        let mut kinds = BTreeMap::new();
        for group in discovery.groups() {
            for (resource, can) in group.recommended_resources() {
                let kind = Kind {
                    namespaced: can.scope == Scope::Namespaced,
                    listable: can.supports_operation(verbs::LIST),
                    deletable: can.supports_operation(verbs::DELETE),
                    resource,
                };
                kinds.insert((kind.resource.group.clone(), kind.resource.kind.clone()), kind);
            }
        }
        Ok(Self { kinds })
    }

    pub(super) fn get(&self, group: &str, kind: &str) -> Option<&Kind> {
        self.kinds.get(&(group.to_owned(), kind.to_owned()))
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// Where an object of the manifest is; `None`: the API server does not know its kind.
    pub(super) fn api(&self, cluster: &Cluster, key: &Key) -> Option<Api<DynamicObject>> {
        let kind = self.get(&key.group, &key.kind)?;
        // In the version of the manifest, whose fields are meant.
        let resource = ApiResource {
            version: key.version.clone(),
            api_version: key.api_version(),
            ..kind.resource.clone()
        };
        Some(match &key.namespace {
            Some(namespace) if kind.namespaced => {
                Api::namespaced_with(cluster.client.clone(), namespace, &resource)
            }
            _ => Api::all_with(cluster.client.clone(), &resource),
        })
    }
}
