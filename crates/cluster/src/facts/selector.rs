//! Label selectors: which pods belong to a workload.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// A label selector, as in the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: BTreeMap<String, String>,
    expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// From `{matchLabels, matchExpressions}`; `None`: there is none, or it cannot be evaluated.
    pub(crate) fn read(selector: &Value) -> Option<Self> {
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let labels = labels.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        let selector = Self {
            labels: labels.collect::<Option<_>>()?,
            expressions: expressions.map(Expression::read).collect::<Option<_>>()?,
        };
        // An empty one would match every pod; no controller has one.
        (!selector.labels.is_empty() || !selector.expressions.is_empty()).then_some(selector)
    }

    /// A selector that requires all of these labels.
    pub(crate) fn of_labels(labels: BTreeMap<String, String>) -> Self {
        Self { labels, expressions: Vec::new() }
    }

    /// Parses the form in a scale's status and in URLs: `app=web,tier!=back,zone in (a,b),!old`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut selector = Self::default();
        for part in split(text) {
            let part = part.trim();
            let list = |text: &str| -> Option<Vec<String>> {
                let inside = text.trim().strip_prefix('(')?.strip_suffix(')')?;
                Some(inside.split(',').map(|value| value.trim().to_owned()).collect())
            };
            if let Some((key, values)) = part.split_once(" notin ") {
                selector.expressions.push(Expression::NotIn(key.trim().to_owned(), list(values)?));
            } else if let Some((key, values)) = part.split_once(" in ") {
                selector.expressions.push(Expression::In(key.trim().to_owned(), list(values)?));
            } else if let Some((key, value)) = part.split_once("!=") {
                let not = Expression::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()]);
                selector.expressions.push(not);
            } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                selector.labels.insert(key.trim().to_owned(), value.trim().to_owned());
            } else if let Some(key) = part.strip_prefix('!') {
                selector.expressions.push(Expression::Absent(key.trim().to_owned()));
            } else if part.is_empty() {
                return None;
            } else {
                selector.expressions.push(Expression::Exists(part.to_owned()));
            }
        }
        Some(selector)
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|expression| expression.matches(labels))
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
}

impl Expression {
    fn read(expression: &Value) -> Option<Self> {
        let key = expression["key"].as_str()?.to_owned();
        let values = expression["values"].as_array().into_iter().flatten();
        let values = values.map(|value| Some(value.as_str()?.to_owned())).collect::<Option<_>>()?;
        match expression["operator"].as_str()? {
            "In" => Some(Self::In(key, values)),
            "NotIn" => Some(Self::NotIn(key, values)),
            "Exists" => Some(Self::Exists(key)),
            "DoesNotExist" => Some(Self::Absent(key)),
            _ => None,
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }
}

/// As in a URL's query, before escaping.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.expressions.iter().map(|expression| match expression {
            Expression::In(key, values) => format!("{key} in ({})", values.join(",")),
            Expression::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
            Expression::Exists(key) => key.clone(),
            Expression::Absent(key) => format!("!{key}"),
        });
        f.write_str(&labels.chain(expressions).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_selector_means_the_same_in_both_forms() {
        let selector = Selector::read(&serde_json::json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "zone", "operator": "In", "values": ["a", "b"]},
                {"key": "tier", "operator": "NotIn", "values": ["back"]},
                {"key": "live", "operator": "Exists"},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        let text = "app=web,zone in (a,b),tier notin (back),live,!old";
        assert_eq!(selector.to_string(), text);
        assert_eq!(Selector::parse(text), Some(selector.clone()));
        assert!(selector.matches(&labels("app=web,zone=b,live=,more=1")));
        for not in [
            "app=api,zone=b,live=",
            "app=web,zone=c,live=",
            "app=web,live=",
            "app=web,zone=a,live=,tier=back",
            "app=web,zone=a",
            "app=web,zone=a,live=,old=1",
        ] {
            assert!(!selector.matches(&labels(not)), "{not}");
        }
        assert_eq!(Selector::parse("tier!=back").unwrap().to_string(), "tier notin (back)");
    }

    #[test]
    fn an_empty_selector_selects_nothing_here() {
        assert_eq!(Selector::read(&serde_json::json!({})), None);
        assert_eq!(Selector::parse(""), None);
    }
}
