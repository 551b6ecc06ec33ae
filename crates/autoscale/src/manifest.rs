//! Manifests of `HorizontalPodAutoscaler`s: YAML or JSON files as users keep them, and what
//! `kubectl get hpa -o yaml` prints, lists and several documents included.
//!
//! Inside `spec`, unknown keys are errors, with the path and the nearest known key. Of the metadata name and namespace are
//! checked; the rest of it and the status are the API server's and are passed over. Other kinds of objects in the same
//! file are skipped and counted.

mod names;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::spec::{FieldError, HpaSpec, ObjectReference, required};

/// The one version that is read; older ones say less and differently.
pub const API_VERSION: &str = "autoscaling/v2";
const KIND: &str = "HorizontalPodAutoscaler";

/// More objects than any file has; it bounds the work on hostile input.
const MAX_OBJECTS: usize = 10_000;

/// One HorizontalPodAutoscaler of a file, validated but not defaulted.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// `metadata.name`, or what `generateName` begins it with.
    pub name: String,
    pub namespace: Option<String>,
    /// What it scales.
    pub target: ObjectReference,
    pub spec: HpaSpec,
    /// The status as printed, if there is one.
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

/// Why a file is not a list of valid `HorizontalPodAutoscaler`s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("not YAML or JSON: {0}")]
    Syntax(String),
    #[error("{object}: {message}")]
    Shape {
        /// Which object of the file, such as `HorizontalPodAutoscaler tcp`.
        object: String,
        message: String,
    },
    #[error("{object}: {}", join(.errors))]
    Invalid { object: String, errors: Vec<FieldError> },
    #[error(
        "{object}: apiVersion `{version}` is not read, expected {API_VERSION} (kubectl convert, or kubectl get hpa.v2.autoscaling)"
    )]
    Version { object: String, version: String },
    #[error("no HorizontalPodAutoscaler in it ({skipped} objects of other kinds)")]
    None { skipped: usize },
    #[error("more than {MAX_OBJECTS} objects")]
    TooMany,
}

fn join(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The spec as it stands in a manifest: ours, and what is scaled.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FullSpec {
    scale_target_ref: ObjectReference,
    #[serde(default)]
    min_replicas: Option<i32>,
    max_replicas: i32,
    #[serde(default)]
    metrics: Option<Vec<crate::spec::MetricSpec>>,
    #[serde(default)]
    behavior: Option<crate::spec::Behavior>,
}

/// Reads all `HorizontalPodAutoscaler`s of a YAML or JSON text; one that is invalid makes it fail. `scale_to_zero`: the
/// gate `HPAScaleToZero`.
pub fn read(text: &str, scale_to_zero: bool) -> Result<Vec<Manifest>, ManifestError> {
    read_each(text, scale_to_zero)?.into_iter().map(|entry| entry.manifest).collect()
}

/// Reads all `HorizontalPodAutoscaler`s of a YAML or JSON text, each on its own.
pub fn read_each(text: &str, scale_to_zero: bool) -> Result<Vec<Entry>, ManifestError> {
    let mut found = Vec::new();
    let mut skipped = 0;
    for document in serde_yaml::Deserializer::from_str(without_mark(text)) {
        let value = json(document).map_err(ManifestError::Syntax)?;
        for object in objects(value)? {
            match object.get("kind").and_then(Value::as_str) {
                Some(KIND) => found.push(entry(object, scale_to_zero)),
                _ => skipped += 1,
            }
            if found.len() + skipped > MAX_OBJECTS {
                return Err(ManifestError::TooMany);
            }
        }
    }
    if found.is_empty() { Err(ManifestError::None { skipped }) } else { Ok(found) }
}

/// Some editors put a byte order mark before the text.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// One YAML document as JSON. By way of YAML's own values, since those refuse duplicate keys, as the API server does.
pub(crate) fn json(document: serde_yaml::Deserializer<'_>) -> Result<Value, String> {
    let value = serde_yaml::Value::deserialize(document).map_err(|error| error.to_string())?;
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Reads a bare spec (without `scaleTargetRef`), such as `autoscaling:` of a service in a values file.
pub fn read_spec(value: Value, scale_to_zero: bool) -> Result<HpaSpec, ManifestError> {
    let object = "autoscaling".to_owned();
    let spec: HpaSpec = typed(value, "", &object)?;
    let errors = spec.defaulted().validate(scale_to_zero);
    if errors.is_empty() { Ok(spec) } else { Err(ManifestError::Invalid { object, errors }) }
}

/// The objects of one document: a List's items, one object, or none (an empty document).
fn objects(document: Value) -> Result<Vec<Value>, ManifestError> {
    let is_list = |kind: &str| kind.ends_with("List");
    match document {
        Value::Null => Ok(Vec::new()),
        Value::Object(mut object) if object.get("kind").and_then(Value::as_str).is_some_and(is_list) => {
            let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            // The items of a typed list need not repeat what they are.
            let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty()).map(ToOwned::to_owned);
            let version = object.get("apiVersion").cloned();
            let Some(Value::Array(mut items)) = object.remove("items") else {
                let message = "`items` is missing or not a list".to_owned();
                return Err(ManifestError::Shape { object: kind, message });
            };
            if let (Some(kind), Some(version)) = (item_kind, version) {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    item.entry("kind").or_insert_with(|| Value::String(kind.clone()));
                    item.entry("apiVersion").or_insert_with(|| version.clone());
                }
            }
            Ok(items)
        }
        object @ Value::Object(_) => Ok(vec![object]),
        _ => Err(ManifestError::Syntax("a document is not an object".to_owned())),
    }
}

/// What the metadata say, so far as it concerns us.
struct Metadata {
    /// Empty: not given.
    name: String,
    generate_name: String,
    namespace: Option<String>,
    errors: Vec<FieldError>,
}

impl Metadata {
    fn of(object: &Value) -> Self {
        let mut errors = Vec::new();
        let mut text = |key: &str| match object.get("metadata").and_then(|metadata| metadata.get(key)) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                errors.push(invalid(key, &other.to_string(), "must be a string"));
                String::new()
            }
        };
        let (name, generate_name, namespace) = (text("name"), text("generateName"), text("namespace"));
        let mut add = |key: &str, value: &str, reasons: Vec<String>| {
            errors.extend(reasons.iter().map(|reason| invalid(key, value, reason)));
        };
        if !generate_name.is_empty() {
            add("generateName", &generate_name, names::against_prefix(&generate_name));
        }
        if !name.is_empty() {
            add("name", &name, names::against_name(&name));
        }
        if !namespace.is_empty() {
            add("namespace", &namespace, names::against_namespace(&namespace));
        }
        if name.is_empty() && generate_name.is_empty() && errors.is_empty() {
            errors.push(required("metadata.name", "name or generateName is required"));
        }
        Self { name, generate_name, namespace: Some(namespace).filter(|text| !text.is_empty()), errors }
    }
}

fn invalid(key: &str, value: &str, reason: &str) -> FieldError {
    FieldError { path: format!("metadata.{key}"), value: Some(value.to_owned()), reason: reason.to_owned() }
}

fn entry(object: Value, scale_to_zero: bool) -> Entry {
    let Metadata { name, generate_name, namespace, errors } = Metadata::of(&object);
    let name = if name.is_empty() { generate_name } else { name };
    let called = if name.is_empty() { "without a name" } else { &name };
    let title = format!("{KIND} {}", qualified(namespace.as_deref(), called));
    let manifest = content(object, &title, errors, scale_to_zero).map(|(target, spec, status)| Manifest {
        name: name.clone(),
        namespace: namespace.clone(),
        target,
        spec,
        status,
    });
    Entry { name, namespace, manifest }
}

/// All but the metadata, whose `errors` come before its own.
fn content(
    mut object: Value,
    title: &str,
    mut errors: Vec<FieldError>,
    scale_to_zero: bool,
) -> Result<(ObjectReference, HpaSpec, Option<Value>), ManifestError> {
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != API_VERSION {
        return Err(ManifestError::Version { object: title.to_owned(), version: version.to_owned() });
    }
    let status = object.get("status").filter(|status| status.is_object()).cloned();
    let spec = object.get_mut("spec").map(Value::take).ok_or_else(|| ManifestError::Invalid {
        object: title.to_owned(),
        errors: vec![required("spec", "")],
    })?;
    let full: FullSpec = typed(spec, "spec", title)?;
    let spec = HpaSpec {
        min_replicas: full.min_replicas,
        max_replicas: full.max_replicas,
        metrics: full.metrics.unwrap_or_default(),
        behavior: full.behavior,
    };
    full.scale_target_ref.validate("spec.scaleTargetRef", &mut errors);
    errors.extend(spec.defaulted().validate(scale_to_zero).into_iter().map(|error| error.under("spec")));
    if !errors.is_empty() {
        return Err(ManifestError::Invalid { object: title.to_owned(), errors });
    }
    Ok((full.scale_target_ref, spec, status))
}

/// Deserializes with the path in the error, and a guess where a key is misspelt.
fn typed<T: DeserializeOwned>(value: Value, root: &str, object: &str) -> Result<T, ManifestError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let place = match (root, path.as_str()) {
            ("", ".") => "here".to_owned(),
            (root, ".") => root.to_owned(),
            ("", path) => path.to_owned(),
            (root, path) => format!("{root}.{path}"),
        };
        let message = error.into_inner().to_string();
        let hint = crate::suggest::nearest_key(&message).map(|key| format!("; did you mean `{key}`?"));
        let message = format!("{place}: {message}{}", hint.unwrap_or_default());
        ManifestError::Shape { object: object.to_owned(), message }
    })
}
