//! `values.schema.json`, by which Helm refuses what we refuse: made of the rules by which values are read.
//!
//! What one value may be follows from its rule. Beside that there are rules between values; those that JSON schema can
//! express are added here, the others are in the chart's `templates/rules.yaml`.

use serde_json::{Value, json};

use super::{Values, reader, service::REPLICAS_MAX, source::Origins};

use crate::{protocol::Protocol, services::ServiceKind};

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
        if let Value::Object(schema) = schema {
            schema.into_iter().for_each(|(keyword, value)| at[keyword.as_str()] = value);
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

fn between_parts(description: &mut Description) {
    let protocols = ServiceKind::ALL.map(|kind| {
        let spoken = match kind.row().transport {
            Protocol::Tcp => json!(["TCP", "HTTP"]),
            Protocol::Udp => json!(["UDP"]),
        };
        json!({
            "if": {"required": ["service"], "properties": {"service": {"const": kind.name()}}},
            "then": {"properties": {"protocol": {"enum": spoken}}},
        })
    });
    let is_no_http = json!({"required": ["protocol"], "properties": {"protocol": {"enum": ["TCP", "UDP"]}}});
    let has_no_routes = json!({"properties": {"routes": {"maxItems": 0}, "stickyCookie": {"type": "null"}}});
    let rules = protocols.into_iter().chain([json!({"if": is_no_http, "then": has_no_routes})]);
    description.add("gateway.listeners[0]", json!({"allOf": rules.collect::<Vec<_>>()}));
    let over_udp = ServiceKind::ALL.into_iter().filter(|kind| kind.row().transport == Protocol::Udp);
    let over_udp: Vec<_> = over_udp.map(ServiceKind::name).collect();
    description.add(
        "gateway.listeners[0].routes[0]",
        json!({"allOf": [{"properties": {"service": {"not": {"enum": over_udp}}}}]}),
    );
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
