//! What differs between two sets of values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Values, helm::Table};

/// Stands for a value that must not be shown.
const SECRET: &str = "(secret)";

/// Names of keys whose values are never shown.
const SECRETS: [&str; 6] = ["password", "passwd", "secret", "token", "apikey", "credential"];

/// One setting that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingChange {
    /// A key of `values.yaml`, such as `tcp.env.BUFF_SIZE`; or `nodes`.
    pub key: String,
    /// Absent: it was not set. `(secret)` stands for a value that must not be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// Absent: it is not set any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

impl Values {
    /// What is set differently than in `before`, in the order of the keys.
    pub fn changes_since(&self, before: &Self) -> Vec<SettingChange> {
        let mut changes = Vec::new();
        compare(&mut Vec::new(), &before.merged, &self.merged, &mut changes);
        changes
    }
}

impl SettingChange {
    /// Whether `values` have what it is set to now.
    pub fn is_as_in(&self, values: &Values) -> bool {
        let there = setting(&values.merged, &self.key).map(|value| shown(&self.key, value));
        same(there.as_ref(), self.new.as_ref())
    }
}

/// What a key such as `tcp.env.BUFF_SIZE` is set to. Names may have dots themselves (`podAnnotations.example.com/x`).
pub fn setting<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let inside = |at: usize| match table.get(&key[..at]) {
        Some(Value::Object(inner)) => setting(inner, &key[at + 1..]),
        _ => None,
    };
    table.get(key).or_else(|| key.match_indices('.').find_map(|(at, _)| inside(at)))
}

/// Whether two values mean the same: `"512"` and 512, a null and nothing.
fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match (one.filter(|value| !value.is_null()), other.filter(|value| !value.is_null())) {
        (Some(one), Some(other)) if one != other => {
            let floats = one.as_f64().zip(other.as_f64());
            floats.is_some_and(|(one, other)| one.total_cmp(&other).is_eq())
                || text(one).is_some_and(|one| text(other) == Some(one))
        }
        (one, other) => one.is_some() == other.is_some(),
    }
}

/// The overrides of `base` that give `wanted`, as Helm merges values into a chart's own: a null removes a key.
pub fn overrides(base: &Table, wanted: &Table) -> Table {
    let gone = base.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let there = wanted.iter().filter_map(|(key, new)| match (base.get(key), new) {
        (Some(old), new) if old == new => None,
        (Some(Value::Object(old)), Value::Object(new)) => {
            Some((key.clone(), Value::Object(overrides(old, new))))
        }
        (_, new) => Some((key.clone(), new.clone())),
    });
    gone.chain(there).collect()
}

/// `path`: the keys that lead to the two tables.
fn compare<'a>(
    path: &mut Vec<&'a str>,
    before: &'a Table,
    after: &'a Table,
    changes: &mut Vec<SettingChange>,
) {
    // Mostly both have the same keys in the same order, so that none has to be looked up.
    let mut in_step = before.iter().peekable();
    let mut common = 0;
    for (key, new) in after {
        let next = in_step.next_if(|(next, _)| *next == key);
        let old = next.map(|(_, old)| old).or_else(|| before.get(key));
        common += usize::from(old.is_some());
        compare_one(path, key, (old, Some(new)), changes);
    }
    if common < before.len() {
        for (key, old) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
            compare_one(path, key, (Some(old), None), changes);
        }
    }
}

fn compare_one<'a>(
    path: &mut Vec<&'a str>,
    key: &'a str,
    values: (Option<&'a Value>, Option<&'a Value>),
    changes: &mut Vec<SettingChange>,
) {
    path.push(key);
    match values {
        (Some(Value::Object(old)), Some(Value::Object(new))) => compare(path, old, new, changes),
        (old, new) if same(old, new) => {}
        (old, new) => {
            let key = path.join(".");
            let shown = |value: &Value| shown(&key, value);
            changes.push(SettingChange { old: old.map(shown), new: new.map(shown), key });
        }
    }
    path.pop();
}

/// A value without its secrets, by the name of its key.
pub fn shown(key: &str, value: &Value) -> Value {
    let folded = key.to_ascii_lowercase().replace(['_', '-'], "");
    if SECRETS.iter().any(|secret| folded.contains(secret)) {
        return SECRET.into();
    }
    match value {
        Value::String(text) => without_user(text).into(),
        Value::Array(items) => items.iter().map(|item| shown(key, item)).collect(),
        Value::Object(table) => {
            table.iter().map(|(name, value)| (name.clone(), shown(&format!("{key}.{name}"), value))).collect()
        }
        other => other.clone(),
    }
}

/// `http://user:password@host` without the user.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{SECRET}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::values::ValuesSource;

    fn with(set: &[&str]) -> Values {
        let set = set.iter().map(|&set| set.to_owned()).collect();
        Values::load(&ValuesSource { set, ..ValuesSource::default() }).unwrap()
    }

    #[test]
    fn each_key_is_told_with_what_it_was_and_is() {
        let (before, after) = (with(&[]), with(&["tcp.env.BUFF_SIZE=900", "tcp.autoscaling.maxReplicas=3"]));
        let mut expected = [
            ("tcp.autoscaling.maxReplicas", Some(json!(5)), Some(json!(3))),
            ("tcp.env.BUFF_SIZE", setting(before.merged(), "tcp.env.BUFF_SIZE").cloned(), Some(json!(900))),
        ]
        .map(|(key, old, new)| SettingChange { key: key.to_owned(), old, new });
        assert_eq!(after.changes_since(&before), expected);
        for change in &mut expected {
            std::mem::swap(&mut change.old, &mut change.new);
        }
        assert_eq!(before.changes_since(&after), expected);
        assert_eq!(before.changes_since(&before), []);
    }

    #[test]
    fn keys_that_only_one_side_has_are_found_wherever_they_stand() {
        let (one, other) =
            (with(&["tcp.env.AAA=1,tcp.env.MMM=2"]), with(&["tcp.env.BBB=3,tcp.env.MMM=4,tcp.env.ZZZ=5"]));
        let changes = |before: &Values, after: &Values| -> Vec<String> {
            let told = |change: SettingChange| {
                let [old, new] = [change.old, change.new].map(|value| value.unwrap_or(json!("-")));
                format!("{} {old} {new}", change.key)
            };
            after.changes_since(before).into_iter().map(told).collect()
        };
        assert_eq!(
            changes(&one, &other),
            ["tcp.env.BBB \"-\" 3", "tcp.env.MMM 2 4", "tcp.env.ZZZ \"-\" 5", "tcp.env.AAA 1 \"-\""]
        );
        assert_eq!(
            changes(&other, &one),
            ["tcp.env.AAA \"-\" 1", "tcp.env.MMM 4 2", "tcp.env.BBB 3 \"-\"", "tcp.env.ZZZ 5 \"-\""]
        );
    }

    #[test]
    fn what_means_the_same_is_no_change() {
        let (number, null) = (with(&["tcp.env.BUFF_SIZE=900"]), with(&["tcp.env.NEW=null"]));
        let text =
            ValuesSource { set_string: vec!["tcp.env.BUFF_SIZE=900".to_owned()], ..ValuesSource::default() };
        assert_eq!(Values::load(&text).unwrap().changes_since(&number), []);
        assert_eq!(null.changes_since(&with(&[])), []);
        assert_eq!(with(&["tcp.env.BUFF_SIZE=901"]).changes_since(&number).len(), 1);
    }

    #[test]
    fn a_change_back_to_the_default_is_known_whatever_its_key_and_value() {
        for set in
            ["tcp.env.BUFF_SIZE=900", r"tcp.podAnnotations.example\.com/a=b", "tcp.env.SOME_PASSWORD=hunter2"]
        {
            let (default, changed) = (with(&[]), with(&[set]));
            let [change] = &changed.changes_since(&default)[..] else { panic!("{set}") };
            assert!(!change.is_as_in(&default), "{set}");
            assert!(change.is_as_in(&changed), "{set}");
            assert!(setting(changed.merged(), &change.key).is_some(), "{set}");
            let [change] = &default.changes_since(&changed)[..] else { panic!("{set}") };
            assert!(change.is_as_in(&default), "{set}");
        }
    }

    #[test]
    fn what_is_laid_over_the_charts_values_gives_the_wanted_ones() {
        let base = with(&[]);
        for set in [
            &["tcp.env.BUFF_SIZE=900"][..],
            &["tcp.autoscaling=null", "tcp.replicas=3"],
            &["tcp.env.WORKERS=null", "envoy.externalIPs={192.0.2.1}", "tcp.podAnnotations.a=b"],
            &[],
        ] {
            let wanted = with(set);
            let over = overrides(base.merged(), wanted.merged());
            assert_eq!(over.is_empty(), set.is_empty(), "{over:?}");
            let source = ValuesSource {
                set_json: over.iter().map(|(key, value)| format!("{key}={value}")).collect(),
                ..ValuesSource::default()
            };
            assert_eq!(source.merged().unwrap(), *wanted.merged(), "{set:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (key, value) in [
            ("tcp.env.KAFKA_SASL_PASSWORD", "hunter2"),
            ("tcp.env.SOME_TOKEN", "hunter2"),
            ("tcp.env.API_KEY", "hunter2"),
            ("elasticsearch.url", "http://elastic:hunter2@127.0.0.1:9200/x"),
        ] {
            let changes = with(&[&format!("{key}={value}")]).changes_since(&with(&[]));
            let text = serde_json::to_string(&changes).unwrap();
            assert!(text.contains(key) && text.contains(SECRET) && !text.contains("hunter2"), "{text}");
        }
        let whole = shown("tcp.env", &json!({ "A": "1", "DB_PASSWORD": "hunter2" }));
        assert_eq!(whole, json!({ "A": "1", "DB_PASSWORD": SECRET }));
    }
}
