//! The metadata of an object, with the API server's objections.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::required;
use crate::{names, spec::FieldError};

/// `ObjectMeta`. Fields that the API server fills in are known but ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metadata {
    name: String,
    generate_name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    self_link: Value,
    uid: Value,
    resource_version: Value,
    generation: Value,
    creation_timestamp: Value,
    deletion_timestamp: Value,
    deletion_grace_period_seconds: Value,
    owner_references: Value,
    finalizers: Value,
    managed_fields: Value,
}

impl Metadata {
    pub(super) fn errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut add = |key: &str, value: &str, reasons: Vec<String>| {
            errors.extend(reasons.into_iter().map(|reason| FieldError {
                path: format!("metadata.{key}"),
                value: Some(value.to_owned()),
                reason,
            }));
        };
        if !self.generate_name.is_empty() {
            add("generateName", &self.generate_name, names::against_prefix(&self.generate_name));
        }
        if !self.name.is_empty() {
            add("name", &self.name, names::against_name(&self.name));
        }
        if !self.namespace.is_empty() {
            add("namespace", &self.namespace, names::against_label(&self.namespace));
        }
        for (key, value) in &self.labels {
            add("labels", key, names::against_key(key));
            add("labels", value, names::against_label_value(value));
        }
        for key in self.annotations.keys() {
            // Annotations may be spelt with capitals.
            add("annotations", key, names::against_key(&key.to_lowercase()));
        }
        if self.name.is_empty() && self.generate_name.is_empty() {
            errors.insert(0, required("metadata.name", "name or generateName is required"));
        }
        errors
    }
}
