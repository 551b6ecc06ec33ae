//! What is read, described as a JSON schema: it grows with every key that a reader asks for.

use serde_json::{Value, json};

/// A schema that grows with every key that is read.
#[derive(Debug, Default)]
pub(super) struct Description {
    pub(super) root: Value,
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
