//! The differences between two objects.

use std::collections::BTreeSet;

use platform::values::shown;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Of `metadata`, what people set. The rest is the API server's.
const METADATA: [&str; 3] = ["labels", "annotations", "finalizers"];

/// One field.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FieldChange {
    /// Such as `spec.template.spec.containers[tcp].image`.
    pub path: String,
    /// Absent: it is not set. `(secret)` stands for a value that must not be shown.
    pub old: Option<Value>,
    /// Absent: it is removed.
    pub new: Option<Value>,
}

/// The fields in which an object would change, each with what it is and would be.
pub(crate) fn changed(kind: &str, live: &Value, would_be: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    walk(String::new(), Some(&settings(live)), Some(&settings(would_be)), &mut changes);
    hidden(kind, changes)
}

/// What was in the manifest before, is not any more, and is on the live object still: Helm takes it away.
pub(super) fn removed(kind: &str, before: &Value, now: &Value, live: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    gone("", &settings(before), &settings(now), &settings(live), &mut changes);
    hidden(kind, changes)
}

/// Without status, and without what the API server writes.
fn settings(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(table) = object.as_object_mut() {
        table.remove("status");
        if let Some(metadata) = table.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, value| METADATA.contains(&key.as_str()) && !value.is_null());
        }
    }
    object
}

fn walk(path: String, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                walk(inside(&path, key), old.get(key), new.get(key), changes);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => match (by_name(old), by_name(new)) {
            (Some(old), Some(new)) => {
                let names: BTreeSet<&str> = old.iter().chain(&new).map(|(name, _)| *name).collect();
                let of = |all: &[(&str, &'_ Value)], name: &str| {
                    all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).clone())
                };
                for name in names {
                    let (old, new) = (of(&old, name), of(&new, name));
                    walk(format!("{path}[{name}]"), old.as_ref(), new.as_ref(), changes);
                }
            }
            _ if old.len() == new.len() => {
                for (index, (old, new)) in old.iter().zip(new).enumerate() {
                    walk(format!("{path}[{index}]"), Some(old), Some(new), changes);
                }
            }
            _ => changes.push(FieldChange {
                path,
                old: Some(old.clone().into()),
                new: Some(new.clone().into()),
            }),
        },
        (old, new) => changes.push(FieldChange { path, old: old.cloned(), new: new.cloned() }),
    }
}

/// What Helm's change comes to, as a merge patch: `would_be` without what left the manifest. `None`: nothing left it that is
/// there still.
pub(super) fn patch_of_removal(before: &Value, now: &Value, live: &Value, would_be: &Value) -> Option<Value> {
    let mut wanted = settings(would_be);
    strip(&settings(before), &settings(now), &mut wanted).then(|| merge_patch(&settings(live), &wanted))
}

/// Takes away what was in the manifest before and is not any more; says whether there was any.
fn strip(before: &Value, now: &Value, object: &mut Value) -> bool {
    match (before, now, object) {
        (Value::Object(before), Value::Object(now), Value::Object(object)) => {
            let mut stripped = false;
            for (key, before) in before {
                stripped |= match (now.get(key), object.get_mut(key)) {
                    (_, None) => false,
                    (Some(now), Some(inside)) => strip(before, now, inside),
                    (None, Some(_)) => object.remove(key).is_some(),
                };
            }
            stripped
        }
        (Value::Array(before), Value::Array(now), Value::Array(object)) => {
            let (Some(before), Some(now)) = (by_name(before), by_name(now)) else { return false };
            let of = |all: &[(&str, &Value)], name: &str| {
                all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).clone())
            };
            let count = object.len();
            object.retain(|item| {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
                of(&before, name).is_none() || of(&now, name).is_some()
            });
            let mut stripped = object.len() < count;
            for item in object {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
                if let (Some(before), Some(now)) = (of(&before, name), of(&now, name)) {
                    stripped |= strip(&before, &now, item);
                }
            }
            stripped
        }
        _ => false,
    }
}

/// What makes `new` of `old` (RFC 7396).
fn merge_patch(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter_map(|(key, new)| match old.get(key) {
        Some(old) if old == new => None,
        Some(old) => Some((key.clone(), merge_patch(old, new))),
        None => Some((key.clone(), new.clone())),
    });
    Value::Object(removed.chain(changed).collect())
}

fn gone(path: &str, before: &Value, now: &Value, live: &Value, changes: &mut Vec<FieldChange>) {
    match (before, now, live) {
        (Value::Object(before), Value::Object(now), Value::Object(live)) => {
            for (key, before) in before {
                let Some(live) = live.get(key) else { continue };
                match now.get(key) {
                    Some(now) => gone(&inside(path, key), before, now, live, changes),
                    None => changes.push(FieldChange {
                        path: inside(path, key),
                        old: Some(live.clone()),
                        new: None,
                    }),
                }
            }
        }
        (Value::Array(before), Value::Array(now), Value::Array(live)) => {
            let (Some(before), Some(now), Some(live)) = (by_name(before), by_name(now), by_name(live)) else {
                return;
            };
            for (name, before) in before {
                let of = |all: &[(&str, &'_ Value)]| {
                    all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).clone())
                };
                let Some(live) = of(&live) else { continue };
                let path = format!("{path}[{name}]");
                match of(&now) {
                    Some(now) => gone(&path, before, &now, &live, changes),
                    None => changes.push(FieldChange { path, old: Some(live), new: None }),
                }
            }
        }
        _ => {}
    }
}

/// The items of a list of named things; `None`: it is none.
fn by_name(list: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let named: Vec<(&str, &Value)> =
        list.iter().map(|item| Some((item.get("name")?.as_str()?, item))).collect::<Option<_>>()?;
    let names: BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
    (names.len() == named.len() && !named.is_empty()).then_some(named)
}

fn inside(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Without secrets.
fn hidden(kind: &str, changes: Vec<FieldChange>) -> Vec<FieldChange> {
    let hide = |path: &str, value: Option<Value>| {
        let is_secret = kind == "Secret" && (path.starts_with("data") || path.starts_with("stringData"));
        value.map(|value| shown(if is_secret { "secret" } else { path }, &value))
    };
    let hide = |change: FieldChange| FieldChange {
        old: hide(&change.path, change.old),
        new: hide(&change.path, change.new),
        path: change.path,
    };
    changes.into_iter().map(hide).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(changes: &[FieldChange]) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
        changes.iter().map(|one| format!("{} {} {}", one.path, text(&one.old), text(&one.new))).collect()
    }

    #[test]
    fn fields_are_named_by_their_place_and_lists_by_their_items() {
        let live = json!({"metadata": {"resourceVersion": "7", "labels": {"a": "1"}}, "status": {"x": 1},
            "spec": {"containers": [{"name": "tcp", "image": "p:1", "args": ["a"]}], "ports": [1, 2]}});
        let mut would_be = live.clone();
        assert!(changed("Deployment", &live, &would_be).is_empty());
        would_be["metadata"]["resourceVersion"] = "8".into();
        would_be["status"] = json!(null);
        would_be["metadata"]["labels"]["b"] = "2".into();
        would_be["spec"]["containers"][0]["image"] = "p:2".into();
        would_be["spec"]["ports"] = json!([1, 3]);
        assert_eq!(
            texts(&changed("Deployment", &live, &would_be)),
            [r#"metadata.labels.b - "2""#, r#"spec.containers[tcp].image "p:1" "p:2""#, "spec.ports[1] 2 3",]
        );
    }

    #[test]
    fn what_left_the_manifest_is_removed_only_where_it_still_is() {
        let before = json!({"spec": {"a": 1, "b": {"c": 2}, "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}});
        let now = json!({"spec": {"b": {}, "env": [{"name": "Y", "value": "2"}]}});
        let live = json!({"spec": {"b": {"c": 3}, "other": 1, "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}});
        assert_eq!(
            texts(&removed("Deployment", &before, &now, &live)),
            ["spec.b.c 3 -", r#"spec.env[X] {"name":"X","value":"1"} -"#]
        );
    }

    #[test]
    fn a_removal_is_a_patch_that_takes_away_what_left_the_manifest_alone() {
        let before = json!({"spec": {"claims": [{"metadata": {"name": "data"}}], "env": [{"name": "X"}, {"name": "Y", "a": 1}]}});
        let now = json!({"spec": {"env": [{"name": "Y"}]}});
        let live = json!({"metadata": {"uid": "u"}, "status": {"x": 1}, "spec": {"other": 1, "claims": [{"metadata": {"name": "data"}}],
            "env": [{"name": "X"}, {"name": "Y", "a": 1, "b": 2}, {"name": "Z"}]}});
        assert_eq!(
            patch_of_removal(&before, &now, &live, &live).unwrap(),
            json!({"spec": {"claims": null, "env": [{"name": "Y", "b": 2}, {"name": "Z"}]}})
        );
        assert_eq!(patch_of_removal(&now, &now, &live, &live), None);
        assert_eq!(patch_of_removal(&before, &now, &now, &now), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let (old, new) = (json!({"data": {"key": "aGk="}}), json!({"data": {"key": "aG8="}}));
        let text = texts(&changed("Secret", &old, &new)).concat();
        assert!(text.contains("data.key") && !text.contains("aG"), "{text}");
        let env = |value: &str| json!({"env": [{"name": "SASL_PASSWORD", "value": value}]});
        let text = texts(&changed("Deployment", &env("hunter2"), &env("hunter3"))).concat();
        assert!(text.contains("SASL_PASSWORD") && !text.contains("hunter"), "{text}");
    }
}
