//! Manifests of `HorizontalPodAutoscaler`s: YAML or JSON files as users keep them, and what
//! `kubectl get hpa -o yaml` prints, lists and several documents included.
//!
//! Read as kubectl and an API server with strict field validation read them: unknown keys are errors, with the path and
//! the nearest known key. Keys at the top that begin with `x-` may hold anchors. Other kinds of objects in the same
//! file are skipped and counted.

mod metadata;

mod older;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use yaml::Document;

use crate::spec::{FieldError, HpaSpec, ObjectReference, Scope, required};
use metadata::Metadata;

/// The version whose fields are read; [`older`] ones are brought into its form.
pub const API_VERSION: &str = "autoscaling/v2";
const KIND: &str = "HorizontalPodAutoscaler";

/// More objects than any file has; it bounds the work on hostile input.
const MAX_OBJECTS: usize = 10_000;

/// One HorizontalPodAutoscaler of a file, validated but not defaulted.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `metadata.name`, or the prefix in `generateName`.
    pub name: String,
    pub namespace: Option<String>,
    /// What it scales.
    pub target: ObjectReference,
    pub spec: HpaSpec,
    /// The status as printed, if there is one, in the form of `autoscaling/v2`.
    pub status: Option<Value>,
}

/// One HorizontalPodAutoscaler of a file, valid or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As in [`Manifest`]; empty: it has none.
    pub name: String,
    pub namespace: Option<String>,
    pub manifest: Result<Manifest, ManifestError>,
}

impl Entry {
    /// `NAMESPACE/NAME`, or the name alone if no namespace is given.
    pub fn qualified_name(&self) -> String {
        qualified(self.namespace.as_deref(), &self.name)
    }
}

fn qualified(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Why a file is not a list of valid `HorizontalPodAutoscaler`s. Each names the file and, where it is known, the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("{0}")]
    Syntax(yaml::Error),
    #[error("{place}: {object}: {message}")]
    Shape {
        /// File and line.
        place: String,
        /// Which object of the file, such as `HorizontalPodAutoscaler tcp`.
        object: String,
        message: String,
    },
    #[error("{place}: {object}: {}", join(.errors))]
    Invalid { place: String, object: String, errors: Vec<FieldError> },
    #[error(
        "{place}: {object}: apiVersion `{version}` is not read, expected {API_VERSION} (or autoscaling/v1, v2beta1, v2beta2)"
    )]
    Version { place: String, object: String, version: String },
    /// `kinds`: what else is in it, without repetition and only the first ones.
    #[error("{origin}: there is no HorizontalPodAutoscaler in it; {}", instead(kinds))]
    None { origin: String, kinds: Vec<String> },
    #[error("{origin}: more than {MAX_OBJECTS} objects")]
    TooMany { origin: String },
}

/// Kinds to name; a file may have any number.
const KINDS_SHOWN: usize = 5;

fn instead(kinds: &[String]) -> String {
    match kinds {
        [] => "it is empty".to_owned(),
        [kind] if kind.is_empty() => "no object in it has a kind".to_owned(),
        _ if kinds.iter().any(|kind| kind == "ScaledObject") => {
            "KEDA makes one of a ScaledObject: kubectl get hpa -o yaml".to_owned()
        }
        _ => format!("it has objects of other kinds: {}", kinds.join(", ")),
    }
}

fn join(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The spec as it stands in a manifest: ours, and what is scaled.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FullSpec {
    #[serde(default)]
    scale_target_ref: ObjectReference,
    #[serde(default)]
    min_replicas: Option<i32>,
    #[serde(default)]
    max_replicas: i32,
    #[serde(default)]
    metrics: Vec<crate::spec::MetricSpec>,
    #[serde(default)]
    behavior: Option<crate::spec::Behavior>,
}

/// Reads all `HorizontalPodAutoscaler`s of a YAML or JSON text and fails if any is invalid. `origin` is the file's name
/// in errors, `scale_to_zero` the gate `HPAScaleToZero`.
pub fn read(origin: &str, text: &str, scale_to_zero: bool) -> Result<Vec<Manifest>, ManifestError> {
    read_each(origin, text, scale_to_zero)?.into_iter().map(|entry| entry.manifest).collect()
}

/// Reads all `HorizontalPodAutoscaler`s of a YAML or JSON text, each on its own.
pub fn read_each(origin: &str, text: &str, scale_to_zero: bool) -> Result<Vec<Entry>, ManifestError> {
    let mut found = Vec::new();
    let mut skipped = 0;
    let mut kinds = Vec::new();
    for mut document in yaml::read_all(origin, text).map_err(ManifestError::Syntax)? {
        let value = document.value.take();
        for (path, value) in objects(&document, value)? {
            match value.get("kind").and_then(Value::as_str) {
                Some(KIND) => found.push(Object { document: &document, path, value }.entry(scale_to_zero)),
                kind => {
                    skipped += 1;
                    let kind = kind.unwrap_or_default().chars().take(64).collect();
                    if kinds.len() < KINDS_SHOWN && !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
            }
            if found.len() + skipped > MAX_OBJECTS {
                return Err(ManifestError::TooMany { origin: origin.to_owned() });
            }
        }
    }
    let origin = origin.to_owned();
    if found.is_empty() { Err(ManifestError::None { origin, kinds }) } else { Ok(found) }
}

/// The objects of one document with their paths: a List's items, or one object.
fn objects(document: &Document, value: Value) -> Result<Vec<(String, Value)>, ManifestError> {
    let is_list = |kind: &str| kind.ends_with("List");
    let Value::Object(mut object) = value else {
        let message = "expected an object: a mapping with apiVersion, kind, metadata and spec";
        return Err(ManifestError::Syntax(document.error_at("", message)));
    };
    if !object.get("kind").and_then(Value::as_str).is_some_and(is_list) {
        return Ok(vec![(String::new(), Value::Object(object))]);
    }
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    // The items of a typed list need not repeat their kind.
    let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty()).map(ToOwned::to_owned);
    let version = object.get("apiVersion").cloned();
    let Some(Value::Array(mut items)) = object.remove("items") else {
        let message = format!("a {kind} needs a list of items");
        return Err(ManifestError::Syntax(document.error_at("items", message)));
    };
    if let (Some(kind), Some(version)) = (item_kind, version) {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.entry("kind").or_insert_with(|| Value::String(kind.clone()));
            item.entry("apiVersion").or_insert_with(|| version.clone());
        }
    }
    Ok(items.into_iter().enumerate().map(|(index, item)| (format!("items[{index}]"), item)).collect())
}

/// One object of a document.
struct Object<'a> {
    document: &'a Document,
    /// Its path in the document; empty: it is the whole document.
    path: String,
    value: Value,
}

impl Object<'_> {
    fn entry(self, scale_to_zero: bool) -> Entry {
        let text = |key: &str| self.value["metadata"][key].as_str().unwrap_or_default().to_owned();
        let (name, namespace) = (text("name"), Some(text("namespace")).filter(|text| !text.is_empty()));
        let name = if name.is_empty() { text("generateName") } else { name };
        let called = if name.is_empty() { "without a name" } else { &name };
        let title = format!("{KIND} {}", qualified(namespace.as_deref(), called));
        let manifest = self.content(&title, scale_to_zero).map(|(target, spec, status)| Manifest {
            name: name.clone(),
            namespace: namespace.clone(),
            target,
            spec,
            status,
        });
        Entry { name, namespace, manifest }
    }

    fn content(
        mut self,
        title: &str,
        scale_to_zero: bool,
    ) -> Result<(ObjectReference, HpaSpec, Option<Value>), ManifestError> {
        let version = self.value["apiVersion"].as_str().unwrap_or_default();
        let older = older::Version::of(version);
        if version != API_VERSION && older.is_none() {
            let (place, version) = (self.place("apiVersion"), version.to_owned());
            return Err(ManifestError::Version { place, object: title.to_owned(), version });
        }
        self.known_keys(title)?;
        let metadata: Metadata = self.typed("metadata", title)?;
        let mut errors = metadata.errors();
        if let Some(older) = older {
            older.modernise(&mut self.value).map_err(|error| self.shape(title, "", &error))?;
        }
        let full: FullSpec = self.typed("spec", title)?;
        let status = self.value.get("status").filter(|status| status.is_object()).cloned();
        let spec = HpaSpec {
            min_replicas: full.min_replicas,
            max_replicas: full.max_replicas,
            metrics: full.metrics,
            behavior: full.behavior,
        };
        full.scale_target_ref.validate("spec.scaleTargetRef", Scope::ScaleTarget, &mut errors);
        errors.extend(spec.defaulted().validate(scale_to_zero).into_iter().map(|error| error.under("spec")));
        if let Some(first) = errors.first() {
            let place = self.place(&first.path);
            return Err(ManifestError::Invalid { place, object: title.to_owned(), errors });
        }
        Ok((full.scale_target_ref, spec, status))
    }

    fn known_keys(&self, title: &str) -> Result<(), ManifestError> {
        const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
        for key in self.value.as_object().into_iter().flat_map(|object| object.keys()) {
            if !KNOWN.contains(&key.as_str()) && !key.starts_with("x-") {
                let (place, message) = (self.place(key), yaml::unknown_key(key, &KNOWN));
                let message = format!("{key}: {message}");
                return Err(ManifestError::Shape { place, object: title.to_owned(), message });
            }
        }
        Ok(())
    }

    /// The member `key` as a type; absent or null: the type's own defaults.
    fn typed<T: DeserializeOwned>(&self, key: &str, title: &str) -> Result<T, ManifestError> {
        yaml::typed(&self.value[key]).map_err(|error| self.shape(title, key, &error))
    }

    fn shape(&self, title: &str, key: &str, error: &yaml::TypeError) -> ManifestError {
        let separator = if key.is_empty() || error.path.is_empty() { "" } else { "." };
        let path = format!("{key}{separator}{}", error.path);
        let message = format!("{path}: {}", error.words());
        ManifestError::Shape { place: self.place(&path), object: title.to_owned(), message }
    }

    /// The file, and the line of the value at `path` of this object.
    fn place(&self, path: &str) -> String {
        let separator = if self.path.is_empty() { "" } else { "." };
        let position = self.document.position(&format!("{}{separator}{path}", self.path));
        let position = position.map(|position| position.to_string());
        let parts = [Some(self.document.origin.clone()).filter(|origin| !origin.is_empty()), position];
        parts.into_iter().flatten().collect::<Vec<_>>().join(":")
    }
}
