//! Reads typed values from a merged tree and collects every problem.
//!
//! A reader covers one table. Each call names a known key and its rule; [`Reader::finish`] reports the keys that nobody
//! asked for. A wrong value is reported and replaced by a placeholder, so the user sees all mistakes at once; a tree with
//! problems never becomes [`Values`](super::Values).
//!
//! The same calls also describe what they read ([`Reader::describing`]), which is where Helm's schema comes from: a key
//! that is read cannot be missing there, nor have another rule.

use std::{cell::RefCell, collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use super::{
    Problem, ValuesError,
    description::{self, Description},
    helm::Table,
    rule::{self, Rule},
    source::Origins,
};

/// The problems found so far.
pub(super) struct Problems<'a> {
    origins: &'a Origins,
    list: RefCell<Vec<Problem>>,
    description: Option<RefCell<Description>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(origins: &'a Origins) -> Self {
        Self { origins, list: RefCell::default(), description: None }
    }

    /// For a description of what is read. Problems mean nothing then: there is nothing to read.
    pub(super) fn describing(origins: &'a Origins) -> Self {
        Self { description: Some(RefCell::default()), ..Self::new(origins) }
    }

    /// Top-level keys of other people's charts.
    pub(super) fn foreign_charts(&self) -> impl Iterator<Item = &'a str> {
        self.origins.foreign_charts.iter().map(String::as_str)
    }

    fn is_describing(&self) -> bool {
        self.description.is_some()
    }

    pub(super) fn describe(&self, path: &str, schema: impl FnOnce() -> Value) {
        if let Some(description) = &self.description {
            description.borrow_mut().add(path, schema());
        }
    }

    fn describe_required(&self, path: &str, key: &str) {
        if let Some(description) = &self.description {
            description.borrow_mut().require(path, key);
        }
    }

    pub(super) fn into_description(self) -> Option<Description> {
        self.description.map(RefCell::into_inner)
    }

    /// Whether there is one with exactly this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.list.borrow().iter().any(|problem| problem.key == key)
    }

    /// `expected`: what should be at `key`, such as `a port from 1 to 65535`.
    pub(super) fn add(&self, key: String, value: Option<&Value>, expected: &str) {
        self.message(key, value, format!("expected {expected}"));
    }

    pub(super) fn message(&self, key: String, value: Option<&Value>, message: String) {
        self.message_got(key, value.map(shown), message);
    }

    pub(super) fn message_got(&self, key: String, value: Option<String>, message: String) {
        let origin = self.origins.of(&key);
        self.list.borrow_mut().push(Problem { key, value, message, origin });
    }

    /// Like [`Self::message`], for a problem that another key inside `table` may have caused.
    pub(super) fn message_inside(&self, table: &str, key: String, value: Option<String>, message: String) {
        let mut origins = self.origins.of_user_inside(table);
        if let Some(own) = self.origins.of(&key) {
            origins.retain(|origin| !own.starts_with(origin.as_str()));
            origins.push(own);
        }
        let origin = (!origins.is_empty()).then(|| origins.join("; "));
        self.list.borrow_mut().push(Problem { key, value, message, origin });
    }

    pub(super) fn into_error(self) -> Option<ValuesError> {
        let mut problems = self.list.into_inner();
        problems.sort_by(|a, b| a.key.cmp(&b.key));
        (!problems.is_empty()).then_some(ValuesError::Invalid { problems })
    }
}

/// A value as JSON, cut before it fills the screen.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A table of values being read, or being described.
pub(super) struct Reader<'a> {
    table: Option<&'a Table>,
    path: String,
    known: Vec<&'a str>,
    problems: &'a Problems<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn top(table: &'a Table, problems: &'a Problems<'a>) -> Self {
        Self { table: Some(table), path: String::new(), known: Vec::new(), problems }
    }

    /// Describes what is read in place of reading it.
    pub(super) fn describing(problems: &'a Problems<'a>) -> Self {
        Self { table: None, path: String::new(), known: Vec::new(), problems }
    }

    pub(super) fn problems(&self) -> &'a Problems<'a> {
        self.problems
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Marks `key` as known, whatever its value.
    pub(super) fn known(&mut self, key: &'a str) {
        self.known.push(key);
        self.describe(key, || json!({}));
    }

    /// The value of `key`; a null counts as absent.
    pub(super) fn get(&mut self, key: &'a str) -> Option<&'a Value> {
        self.known.push(key);
        self.table?.get(key).filter(|value| !value.is_null())
    }

    /// What may be at `key`, for Helm.
    pub(super) fn describe(&self, key: &str, schema: impl FnOnce() -> Value) {
        if self.problems.is_describing() {
            self.problems.describe(&self.path_of(key), schema);
        }
    }

    /// The value of `key` by its rule.
    pub(super) fn optional<T: 'static>(&mut self, key: &'a str, rule: Rule<T>) -> Option<T> {
        self.describe(key, || description::nullable(rule.described()));
        self.checked(key, rule)
    }

    /// Like [`Self::optional`], but an absent key is a problem too.
    pub(super) fn required<T: Default + 'static>(&mut self, key: &'a str, rule: Rule<T>) -> T {
        self.describe(key, || rule.described());
        self.must_have(key, &rule.expected);
        self.checked(key, rule).unwrap_or_default()
    }

    /// The value of `key`; if absent, `base`; if both are, a problem.
    pub(super) fn with_base<T: Default + 'static>(
        &mut self,
        key: &'a str,
        base: Option<T>,
        rule: Rule<T>,
    ) -> T {
        match base {
            Some(base) => self.optional(key, rule).unwrap_or(base),
            None => self.required(key, rule),
        }
    }

    fn checked<T: 'static>(&mut self, key: &'a str, rule: Rule<T>) -> Option<T> {
        let Rule { expected, read, .. } = rule;
        let value = self.get(key)?;
        let found = read(value);
        if found.is_none() {
            self.problems.add(self.path_of(key), Some(value), &expected);
        }
        found
    }

    /// Like [`Self::optional`], but what the chart has there may not be taken away: its templates need it.
    pub(super) fn kept<T: 'static>(&mut self, key: &'a str, rule: Rule<T>) -> Option<T> {
        self.describe(key, || rule.described());
        self.must_keep(key, &rule.expected);
        self.checked(key, rule)
    }

    fn must_keep(&mut self, key: &'a str, expected: &str) {
        if self.problems.origins.of(&self.path_of(key)).is_some() {
            self.must_have(key, expected);
        } else {
            self.problems.describe_required(&self.path, key);
        }
    }

    fn must_have(&mut self, key: &'a str, expected: &str) {
        self.problems.describe_required(&self.path, key);
        // The absent table was already reported, so its keys need not be.
        if self.get(key).is_none() && self.table.is_some() {
            self.problems.message(self.path_of(key), None, format!("is missing; expected {expected}"));
        }
    }

    pub(super) fn bool(&mut self, key: &'a str, absent: bool) -> bool {
        self.optional(key, rule::truth()).unwrap_or(absent)
    }

    pub(super) fn integer(&mut self, key: &'a str, range: RangeInclusive<u32>) -> Option<u32> {
        self.optional(key, rule::integer(range))
    }

    pub(super) fn port(&mut self, key: &'a str) -> u16 {
        self.required(key, rule::port())
    }

    pub(super) fn duration(&mut self, key: &'a str) -> Duration {
        self.required(key, rule::duration())
    }

    pub(super) fn text(&mut self, key: &'a str) -> Option<String> {
        self.optional(key, rule::text())
    }

    /// Names with values, each printed as a template would print it.
    pub(super) fn texts(&mut self, key: &'a str, names: &Rule<String>) -> BTreeMap<String, String> {
        self.describe(key, || description::texts(&names.schema));
        let Some(table) = self.structure(key, "a table of names and values", Value::as_object) else {
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (entry, value) in table {
            let path = format!("{}.{entry}", self.path_of(key));
            if (names.read)(&Value::from(entry.as_str())).is_none() {
                self.problems.add(path, Some(value), &format!("{} instead of {entry:?}", names.expected));
            } else if value.is_null() {
                // A null removes an entry.
            } else if let Some(text) = printed(value) {
                texts.insert(entry.clone(), text);
            } else {
                self.problems.add(path, Some(value), "text, a number or a boolean");
            }
        }
        texts
    }

    /// A table inside this one, if it is there.
    pub(super) fn table(&mut self, key: &'a str) -> Option<Reader<'a>> {
        self.describe(key, || json!({"type": ["object", "null"]}));
        let table = self.structure(key, "a table", Value::as_object);
        (table.is_some() || self.problems.is_describing()).then(|| self.inner(self.path_of(key), table))
    }

    /// Like [`Self::table`], but one that the chart has may not be taken away.
    pub(super) fn kept_table(&mut self, key: &'a str) -> Option<Reader<'a>> {
        self.describe(key, || json!({"type": "object"}));
        self.must_keep(key, "a table");
        let table = self.structure(key, "a table", Value::as_object);
        (table.is_some() || self.problems.is_describing()).then(|| self.inner(self.path_of(key), table))
    }

    /// A table inside this one. An absent table is a problem, and its keys read as placeholders.
    pub(super) fn required_table(&mut self, key: &'a str) -> Reader<'a> {
        self.describe(key, || json!({"type": "object"}));
        self.must_have(key, "a table");
        let table = self.structure(key, "a table", Value::as_object);
        self.inner(self.path_of(key), table)
    }

    /// A list of tables.
    pub(super) fn tables(&mut self, key: &'a str) -> Vec<Reader<'a>> {
        self.describe(key, || json!({"type": ["array", "null"], "items": {"type": "object"}}));
        if self.problems.is_describing() {
            return vec![self.inner(format!("{}[0]", self.path_of(key)), None)];
        }
        let list = self.structure(key, "a list of tables", Value::as_array).into_iter().flatten();
        let mut readers = Vec::new();
        for (index, value) in list.enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match value {
                Value::Object(table) => readers.push(self.inner(path, Some(table))),
                other => self.problems.add(path, Some(other), "a table"),
            }
        }
        readers
    }

    /// A list of values that follow one rule.
    pub(super) fn list<T: 'static>(&mut self, key: &'a str, rule: &Rule<T>) -> Vec<T> {
        self.describe(key, || json!({"type": ["array", "null"], "items": rule.described()}));
        let list = self.structure(key, "a list", Value::as_array).into_iter().flatten();
        let mut read = Vec::new();
        for (index, value) in list.enumerate() {
            match (rule.read)(value) {
                Some(one) => read.push(one),
                None => {
                    self.problems.add(format!("{}[{index}]", self.path_of(key)), Some(value), &rule.expected);
                }
            }
        }
        read
    }

    fn structure<T>(
        &mut self,
        key: &'a str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let found = read(value);
        if found.is_none() {
            self.problems.add(self.path_of(key), Some(value), expected);
        }
        found
    }

    fn inner(&self, path: String, table: Option<&'a Table>) -> Self {
        Self { table, path, known: Vec::new(), problems: self.problems }
    }

    /// Reports unknown keys. `global` is always known: Helm puts it into every subchart's values.
    pub(super) fn finish(self) {
        self.problems.describe(&self.path, || json!({"additionalProperties": false}));
        self.describe("global", || json!({}));
        for (key, value) in self.table.into_iter().flatten() {
            if key == "global" || self.known.contains(&key.as_str()) {
                continue;
            }
            self.problems.message(self.path_of(key), Some(value), yaml::unknown_key(key, &self.known));
        }
    }
}

/// As a template prints a scalar; whole numbers without exponent or fraction.
fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => Some(float.to_string()),
            _ => Some(number.to_string()),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
