//! Which values of two objects differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::results::Change;

/// What a comparison is worth showing of; more would be nobody's reading.
const CHANGES_MAX: usize = 200;

/// What differs, in the order of the paths; items of lists are paired by their `name` where all have one.
pub(super) fn changes(live: &Value, desired: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&mut found, "", Some(live), Some(desired));
    found.truncate(CHANGES_MAX);
    found
}

fn compare(found: &mut Vec<Change>, path: &str, live: Option<&Value>, desired: Option<&Value>) {
    if live == desired {
        return;
    }
    match (live, desired) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                compare(found, &member(path, key), one.get(key), other.get(key));
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            let (one, other) = match (by_name(one), by_name(other)) {
                (Some(one), Some(other)) => (one, other),
                _ => (by_index(one), by_index(other)),
            };
            // A list in another order is another list.
            if one == other {
                let change = Change { path: path.to_owned(), live: live.cloned(), desired: desired.cloned() };
                found.push(change);
                return;
            }
            let keys: BTreeSet<&Item<'_>> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let item = match key {
                    Item::Name(name) => format!("{path}[{name}]"),
                    Item::Index(index) => format!("{path}[{index}]"),
                };
                compare(found, &item, one.get(key).copied(), other.get(key).copied());
            }
        }
        _ => found.push(Change { path: path.to_owned(), live: live.cloned(), desired: desired.cloned() }),
    }
}

fn member(path: &str, key: &str) -> String {
    let is_plain =
        !key.is_empty() && key.chars().all(|one| one.is_ascii_alphanumeric() || one == '-' || one == '_');
    match (path.is_empty(), is_plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item<'a> {
    Index(usize),
    Name(&'a str),
}

fn by_index(list: &[Value]) -> BTreeMap<Item<'_>, &Value> {
    list.iter().enumerate().map(|(index, value)| (Item::Index(index), value)).collect()
}

fn by_name(list: &[Value]) -> Option<BTreeMap<Item<'_>, &Value>> {
    let mut named = BTreeMap::new();
    for value in list {
        let name = value.get("name")?.as_str()?;
        if named.insert(Item::Name(name), value).is_some() {
            return None;
        }
    }
    Some(named)
}

/// Takes away what a JSON pointer names; nothing if it is not there.
pub(super) fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return };
    let last = last.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(table)) => drop(table.remove(&last)),
        Some(Value::Array(list)) => {
            if let Some(index) = last.parse().ok().filter(|index| *index < list.len()) {
                list.remove(index);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn paths(live: &Value, desired: &Value) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), ToString::to_string);
        let found = changes(live, desired);
        found
            .iter()
            .map(|one| format!("{}: {} → {}", one.path, text(&one.live), text(&one.desired)))
            .collect()
    }

    #[test]
    fn a_change_is_named_by_its_path() {
        let live = json!({
            "data": {"envoy.yaml": "a", "same": 1},
            "containers": [{"name": "tcp", "image": "x:1"}, {"name": "old"}],
            "args": ["a", "b"],
        });
        let desired = json!({
            "data": {"envoy.yaml": "b", "same": 1, "new": true},
            "containers": [{"name": "tcp", "image": "x:2"}],
            "args": ["a", "c", "d"],
        });
        assert_eq!(
            paths(&live, &desired),
            [
                "args[1]: \"b\" → \"c\"",
                "args[2]: - → \"d\"",
                "containers[old]: {\"name\":\"old\"} → -",
                "containers[tcp].image: \"x:1\" → \"x:2\"",
                "data[\"envoy.yaml\"]: \"a\" → \"b\"",
                "data.new: - → true",
            ]
        );
    }

    #[test]
    fn another_order_is_a_change() {
        let (a, b) = (json!({"name": "a"}), json!({"name": "b"}));
        assert_eq!(paths(&json!([a, b]), &json!([b, a])).len(), 1);
        assert_eq!(paths(&json!([1, 2]), &json!([2, 1])).len(), 2);
        // Names that are not unique pair nothing.
        assert_eq!(paths(&json!([a, a]), &json!([a])).len(), 1);
    }

    #[test]
    fn pointers_take_away_what_they_name() {
        let mut value = json!({"spec": {"replicas": 4, "a/b": {"~": 1}}, "list": [1, 2]});
        for pointer in ["/spec/replicas", "/spec/a~1b/~0", "/list/0", "/list/7", "/not/there", "", "nonsense"]
        {
            remove(&mut value, pointer);
        }
        assert_eq!(value, json!({"spec": {"a/b": {}}, "list": [2]}));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("name|[a-c]", inner, 0..4)
                    .prop_map(|table| Value::Object(table.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn there_are_changes_exactly_where_something_differs(one in value(), other in value()) {
            prop_assert!(changes(&one, &one).is_empty());
            prop_assert_eq!(changes(&one, &other).is_empty(), one == other);
        }
    }
}
