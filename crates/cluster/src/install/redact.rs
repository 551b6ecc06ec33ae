//! Removes secrets from a support bundle. Secret objects are never collected; this covers the other places that may show
//! their values: variables, annotations, log lines.

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::{Map, Value};

const HIDDEN: &str = "(secret)";
/// Values shorter than this could be any word.
const SHORTEST: usize = 6;
/// Words in the names of what is secret.
const NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "apikey", "credential", "privatekey"];

/// Knows the values that must not be shown.
#[derive(Debug, Default)]
pub struct Redactor {
    values: BTreeSet<String>,
    shapes: Shapes,
}

#[derive(Debug)]
struct Shapes {
    /// `password=…`, `"token": "…"`, `Authorization: Bearer …`
    assigned: Regex,
    /// `http://user:password@host`
    user: Regex,
    /// Three parts in base64, as service accounts have.
    jwt: Regex,
}

impl Default for Shapes {
    fn default() -> Self {
        let shape = |pattern: &str| Regex::new(pattern).expect("a pattern of ours is tested");
        Self {
            assigned: shape(
                r#"(?i)((?:password|passwd|secret|token|api[_-]?key|credential|authorization)[a-z0-9_.-]*["']?\s*[:=]\s*["']?(?:bearer\s+|basic\s+)?)[^\s"',;}\]]+"#,
            ),
            user: shape(r"://[^/\s@]+@"),
            jwt: shape(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        }
    }
}

impl Redactor {
    /// This value is secret, wherever it shows.
    pub fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.len() >= SHORTEST {
            self.values.insert(value.to_owned());
        }
    }

    /// A text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in self.values.iter().filter(|value| value.len() >= SHORTEST) {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), HIDDEN);
            }
        }
        let text = self.shapes.jwt.replace_all(&text, HIDDEN);
        let text = self.shapes.user.replace_all(&text, format!("://{HIDDEN}@").as_str());
        self.shapes.assigned.replace_all(&text, format!("${{1}}{HIDDEN}").as_str()).into_owned()
    }

    /// An object of the API without secrets, and without what only takes room.
    pub fn object(&self, value: &Value) -> Value {
        let mut value = value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
        if value["kind"] == "Secret" {
            for key in ["data", "stringData"] {
                if let Some(data) = value.get_mut(key).and_then(Value::as_object_mut) {
                    data.values_mut().for_each(|one| *one = HIDDEN.into());
                }
            }
        }
        self.value("", &value)
    }

    fn value(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(_) | Value::Number(_) if is_secret(key) => HIDDEN.into(),
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(key, item)).collect(),
            Value::Object(table) => self.table(table),
            other => other.clone(),
        }
    }

    fn table(&self, table: &Map<String, Value>) -> Value {
        // A variable: its name says what its value is.
        let variable = table.get("name").and_then(Value::as_str).filter(|name| is_secret(name));
        let inside = table.iter().map(|(key, value)| {
            let shown = match variable {
                Some(_) if key == "value" => HIDDEN.into(),
                _ => self.value(key, value),
            };
            (key.clone(), shown)
        });
        Value::Object(inside.collect())
    }
}

/// Judged by its name. A reference (`secretName`, `secretKeyRef`) is not secret.
fn is_secret(key: &str) -> bool {
    let key: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let refers = ["name", "ref", "path", "seconds", "file"].iter().any(|end| key.ends_with(end));
    !refers && NAMES.iter().any(|name| key.contains(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_known_value_is_nowhere_shown() {
        let mut redactor = Redactor::default();
        redactor.add("hunter2hunter2\n");
        redactor.add("ab");
        assert_eq!(redactor.text("login ab with hunter2hunter2 failed"), "login ab with (secret) failed");
    }

    #[test]
    fn what_looks_like_a_secret_is_hidden_and_the_rest_stays() {
        let redactor = Redactor::default();
        for (text, shown) in [
            ("KAFKA_SASL_PASSWORD=hunter2 next", "KAFKA_SASL_PASSWORD=(secret) next"),
            (r#"{"token": "abc", "x": 1}"#, r#"{"token": "(secret)", "x": 1}"#),
            ("Authorization: Bearer abc.def", "Authorization: Bearer (secret)"),
            ("http://elastic:pw@es:9200/x", "http://(secret)@es:9200/x"),
            ("got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", "got (secret)"),
            ("connected to kafka:9092", "connected to kafka:9092"),
        ] {
            assert_eq!(redactor.text(text), shown);
        }
    }

    #[test]
    fn variables_and_data_are_hidden_but_not_where_they_come_from() {
        let object = json!({"kind": "Pod", "metadata": {"managedFields": [1], "annotations": {"my/api-key": "hunter2"}},
            "spec": {"automountServiceAccountToken": false, "volumes": [{"secret": {"secretName": "passwords"}}], "containers": [{"env": [
                {"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "MODE", "value": "fast"},
                {"name": "OTHER_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "passwords", "key": "one"}}}]}]}});
        let shown = Redactor::default().object(&object);
        let text = shown.to_string();
        assert!(!text.contains("hunter2") && !text.contains("managedFields"), "{text}");
        for kept in [
            "\"secretName\":\"passwords\"",
            "\"key\":\"one\"",
            "fast",
            "\"automountServiceAccountToken\":false",
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        let secret = json!({"kind": "Secret", "data": {"anything": "aHVudGVyMg=="}});
        assert!(!Redactor::default().object(&secret).to_string().contains("aHVud"));
    }
}
