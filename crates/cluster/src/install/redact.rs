//! Removes secrets from a support bundle. Secret objects are never collected; this covers the other places that may show
//! their values: variables, annotations, log lines.

use std::{cmp::Reverse, collections::BTreeSet};

use regex_lite::{Captures, Regex};
use serde_json::{Map, Value};

const HIDDEN: &str = "(secret)";
/// Values shorter than this could be any word.
const SHORTEST: usize = 6;
/// Words in the names of what is secret.
const NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "apikey", "credential", "privatekey"];

/// Knows the values that must not be shown.
#[derive(Debug, Default)]
pub struct Redactor {
    /// The longest first: one may begin like another.
    values: BTreeSet<(Reverse<usize>, String)>,
    shapes: Shapes,
}

#[derive(Debug)]
struct Shapes {
    /// `password=…`, `"token": "…"`, `\"token\": \"…\"`, `Authorization: Bearer …`
    assigned: Regex,
    /// `--password …`
    option: Regex,
    key: Regex,
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
                r#"(?i)((?:password|passwd|secret|token|api[_-]?key|credential|authorization)[a-z0-9_.-]*\\*["']?\s*[:=]\s*(?:bearer\s+|basic\s+)?)("(?:[^"\\]|\\.)*"|\\+"[^"]*"|'[^']*'|\\*["']?[^\s"',;}\]]+)"#,
            ),
            option: shape(
                r"(?i)(--?[a-z0-9_-]*(?:password|passwd|secret|token|api-?key|credential)\s+)[^\s-]\S*",
            ),
            key: shape(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"),
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
            self.values.insert((Reverse(value.len()), value.to_owned()));
        }
    }

    /// A text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (_, value) in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), HIDDEN);
            }
        }
        let text = self.shapes.key.replace_all(&text, HIDDEN);
        let text = self.shapes.jwt.replace_all(&text, HIDDEN);
        let text = self.shapes.user.replace_all(&text, format!("://{HIDDEN}@").as_str());
        let text = self.shapes.option.replace_all(&text, format!("${{1}}{HIDDEN}").as_str());
        let hide = |found: &Captures<'_>| {
            // The quotes stay, so that JSON is JSON still.
            let value = &found[2];
            let end = value.find(['"', '\'']).map_or(0, |quote| quote + 1);
            let is_quoted = end > 0 && value.len() > end && value.ends_with(&value[end - 1..end]);
            let quote = if is_quoted { &value[..end] } else { "" };
            format!("{}{quote}{HIDDEN}{quote}", &found[1])
        };
        self.shapes.assigned.replace_all(&text, hide).into_owned()
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
            Value::Array(items) => {
                // An option's value may be the next word: `["--password", "…"]`.
                let before = std::iter::once(None).chain(items.iter().map(Value::as_str));
                let is_value = |before: Option<&str>| {
                    before.is_some_and(|word| word.starts_with('-') && !word.contains('=') && is_secret(word))
                };
                let shown = items.iter().zip(before).map(|(item, before)| match item {
                    Value::String(_) if is_value(before) => HIDDEN.into(),
                    item => self.value(key, item),
                });
                shown.collect()
            }
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
        redactor.add("hunter2");
        assert_eq!(redactor.text("login ab with hunter2hunter2 failed"), "login ab with (secret) failed");
        assert_eq!(redactor.text("and hunter2, too"), "and (secret), too");
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
            (r#"{"password": "two words; and, more", "x": 1}"#, r#"{"password": "(secret)", "x": 1}"#),
            (r#"{"password": "a\"b c", "x": 1}"#, r#"{"password": "(secret)", "x": 1}"#),
            (r#"msg="{\"token\": \"two words\", \"x\": 1}""#, r#"msg="{\"token\": \"(secret)\", \"x\": 1}""#),
            ("password='two words' next", "password='(secret)' next"),
            ("password=\"cut off", "password=(secret) off"),
            (
                "redis-server --requirepass-token hunter2 --port 1",
                "redis-server --requirepass-token (secret) --port 1",
            ),
            ("--token --port 1", "--token --port 1"),
            ("a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a (secret) b"),
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
        let words =
            json!({"args": ["--password", "hunter2", "--token=hunter2", "--token-file", "/run/token"]});
        let shown = Redactor::default().object(&words).to_string();
        assert!(!shown.contains("hunter2") && shown.contains("/run/token"), "{shown}");
        let secret = json!({"kind": "Secret", "data": {"anything": "aHVudGVyMg=="}});
        assert!(!Redactor::default().object(&secret).to_string().contains("aHVud"));
    }
}
