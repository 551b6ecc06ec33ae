//! This reader gives the same result as `sigs.k8s.io/yaml`.
//!
//! `golden.json` was recorded by `golden/main.go`; to record it again: `cd tests/golden && go run . > ../golden.json`.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Outcome {
    text: String,
    #[serde(default)]
    json: Value,
    error: Option<String>,
}

/// Numbers are all doubles in the end: JSON does not tell `1.0` from `1`.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(table) => table.iter().map(|(key, value)| (key.clone(), normal(value))).collect(),
        other => other.clone(),
    }
}

/// Where we differ, and why.
const DIFFERENT: [&str; 14] = [
    // Stricter: nearly always a mistake, which Go silently ignores.
    "a: 1\na: 2",
    "{1: a, \"1\": b}",
    "a: 1\n---\nb: 2",
    " a: 1\nb: 2",
    // Stricter, because of the parser.
    "a: {\n\tb: 1\n}",
    "a: x\u{feff}y",
    // Stricter: nothing that we read needs them.
    "1.5: x",
    "a: !!binary aGk=",
    // More lenient: an empty document before the only other one.
    "---\n---\na: 1",
    // More lenient, because of the parser.
    "- \ta",
    "-\ta",
    "...\na: 1",
    "a: x\u{85}b",
    // More lenient: JSON's escape, which kubectl reads too.
    "a: 'it''s'\nb: \"tab\\there \\u00e9 \\x41 \\/ \\e\"",
];

#[test]
fn texts_mean_what_they_mean_to_kubernetes() {
    let outcomes: Vec<Outcome> = serde_json::from_str(include_str!("golden.json")).unwrap();
    assert!(outcomes.len() > 1000);
    let mut wrong = Vec::new();
    for Outcome { text, json, error } in outcomes {
        let ours = yaml::read("", &text);
        let agrees = match (&ours, &error) {
            (Ok(ours), None) => normal(&ours.value) == normal(&json),
            (Err(_), Some(_)) => true,
            _ => false,
        };
        if agrees == DIFFERENT.contains(&text.trim_end_matches('\n')) {
            let ours = ours.map_or_else(|error| error.to_string(), |document| document.value.to_string());
            let theirs = error.unwrap_or_else(|| json.to_string());
            wrong.push(format!("{text:?}\n    ours   {ours}\n    theirs {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
