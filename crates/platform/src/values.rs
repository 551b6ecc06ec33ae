//! `values.yaml` as types.

/// The merged values of one platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {}
