//! `values.schema.json`, by which Helm refuses what we refuse: made of the rules by which values are read.
//!
//! What one value may be follows from its rule. Beside that there are rules between values; those that JSON schema can
//! express are added here, the others are in the chart's `templates/rules.yaml`.

use serde_json::{Value, json};

use super::{Values, reader, service::REPLICAS_MAX, source::Origins};
use crate::services::ServiceKind;

/// A schema that grows with every key that is read.
#[derive(Debug, Default)]
pub(super) struct Description {
    root: Value,
}

impl Description {
    /// Adds to what is known of the value at `path`.
    pub(super) fn add(&mut self, path: &str, schema: Value) {
        let at = self.at(path);
        if at.is_null() {
            *at = json!({});
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            at[keyword] = value.clone();
        }
    }

    /// The table at `path` must have `key`.
    pub(super) fn require(&mut self, path: &str, key: &str) {
        match &mut self.at(path)["required"] {
            Value::Array(keys) => keys.push(key.into()),
            none => *none = json!([key]),
        }
    }

    fn at(&mut self, path: &str) -> &mut Value {
        let mut at = &mut self.root;
        for key in path.split('.').filter(|key| !key.is_empty()) {
            let (name, is_item) = key.split_once('[').map_or((key, false), |(name, _)| (name, true));
            at = &mut at["properties"][name];
            if is_item {
                at = &mut at["items"];
            }
        }
        at
    }
}

/// The schema of the chart's values, of JSON schema's draft 7, which all versions of Helm read.
pub fn schema() -> Value {
    let origins = Origins::default();
    let problems = reader::Problems::describing(&origins);
    Values::read_all(reader::Reader::describing(&problems));
    let mut description = problems.into_description().unwrap_or_default();
    for kind in ServiceKind::ALL {
        between_values_of_a_service(&mut description, kind);
    }
    between_parts(&mut description);
    description.add(
        "",
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Values of the chart; made by the types in crates/platform/src/values",
            "type": "object",
        }),
    );
    description.root
}

fn between_values_of_a_service(description: &mut Description, kind: ServiceKind) {
    let has_autoscaler =
        json!({"required": ["autoscaling"], "properties": {"autoscaling": {"type": "object"}}});
    let owns_replicas = json!({"properties": {"replicas": {"type": "null"}}});
    description.add(kind.name(), json!({"allOf": [{"if": has_autoscaler, "then": owns_replicas}]}));
}

fn between_parts(description: &mut Description) {
    let protocols = ServiceKind::ALL.map(|kind| {
        let protocol = kind.row().transport.as_str();
        json!({
            "if": {"required": ["service"], "properties": {"service": {"const": kind.name()}}},
            "then": {"properties": {"protocol": {"const": protocol}}},
        })
    });
    description.add("gateway.listeners[0]", json!({"allOf": protocols}));
    let asks_prometheus = json!({"properties": {"metrics": {"properties": {"source": {"const": "prometheus"}}, "required": ["source"]}}, "required": ["metrics"]});
    let has_prometheus = json!({"properties": {"prometheus": {"properties": {"enabled": {"const": true}}, "required": ["enabled"]}}});
    description.add("", json!({"allOf": [{"if": asks_prometheus, "then": has_prometheus}]}));
    let is_the_operators = json!({"properties": {"operator": {"const": true}}, "required": ["operator"]});
    let has_an_address =
        json!({"properties": {"url": {"minLength": 1, "type": "string"}}, "required": ["url"]});
    description.add("prometheus", json!({"allOf": [{"if": is_the_operators, "then": has_an_address}]}));
}

/// A spec of the autoscaler, word for word as the API has it. What else it must fulfil, the API server says.
pub(super) fn autoscaling() -> Value {
    let settings = schemars::generate::SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<autoscale::HpaSpec>().to_value();
    schema["required"] = json!(["maxReplicas"]);
    for (key, most) in [("minReplicas", None), ("maxReplicas", Some(REPLICAS_MAX))] {
        let replicas = &mut schema["properties"][key];
        replicas["minimum"] = 1.into();
        if let Some(most) = most {
            replicas["maximum"] = most.into();
        }
    }
    nullable(schema)
}

/// Names with values that a template can print.
pub(super) fn texts(names: &Value) -> Value {
    json!({
        "type": ["object", "null"],
        "propertyNames": names,
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    })
}

/// What the schema allows, or null.
pub(super) fn nullable(mut schema: Value) -> Value {
    if let Some(all) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        all.push(Value::Null);
    }
    let types = &mut schema["type"];
    *types = match types.take() {
        Value::Array(mut types) => {
            types.push("null".into());
            types.into()
        }
        one => json!([one, "null"]),
    };
    schema
}
