//! The API of Argo CD's own kinds, and short error texts.

use kube::{
    Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use platform::TargetError;

use super::names::GROUP;
use crate::connect::Cluster;

/// The API of one of Argo CD's own kinds.
pub(super) fn api(cluster: &Cluster, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1alpha1", kind));
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource)
}

pub(super) fn failed<T>(message: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError::Other { message: message.into() })
}

pub(super) fn invalid<T>(message: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError::Invalid { message: message.into() })
}
