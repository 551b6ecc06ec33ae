//! Reads typed values from a merged tree and collects every problem.
//!
//! A reader covers one table. Each `get` names a known key; [`Reader::finish`] reports the keys that nobody asked for.
//! A wrong value is reported and replaced by a placeholder, so the user sees all mistakes at once; a tree with problems
//! never becomes [`Values`](super::Values).

use std::{cell::RefCell, collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde_json::Value;

use super::{Problem, ValuesError, helm::Table, source::Origins};
use crate::duration;

/// The problems found so far.
pub(super) struct Problems<'a> {
    origins: &'a Origins,
    list: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(origins: &'a Origins) -> Self {
        Self { origins, list: RefCell::new(Vec::new()) }
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

/// A table of values being read.
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

    pub(super) fn problems(&self) -> &'a Problems<'a> {
        self.problems
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Marks `key` as known, whatever its value.
    pub(super) fn known(&mut self, key: &'a str) {
        self.known.push(key);
    }

    /// Marks keys as known that only the chart reads.
    pub(super) fn chart_only(&mut self, keys: &[&'a str]) {
        self.known.extend(keys);
    }

    /// The value of `key`; a null counts as absent.
    pub(super) fn get(&mut self, key: &'a str) -> Option<&'a Value> {
        self.known(key);
        self.table?.get(key).filter(|value| !value.is_null())
    }

    /// Reads `key` with `read`; reports `expected` if that fails.
    pub(super) fn optional<T>(
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

    /// Like [`Self::optional`], but an absent key is a problem too.
    pub(super) fn required<T: Default>(
        &mut self,
        key: &'a str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> T {
        // The absent table was already reported, so its keys need not be.
        if self.get(key).is_none() && self.table.is_some() {
            self.problems.message(self.path_of(key), None, format!("is missing; expected {expected}"));
        }
        self.optional(key, expected, read).unwrap_or_default()
    }

    pub(super) fn bool(&mut self, key: &'a str, absent: bool) -> bool {
        self.optional(key, "true or false", Value::as_bool).unwrap_or(absent)
    }

    pub(super) fn integer(&mut self, key: &'a str, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = match (range.start(), range.end()) {
            (start, &u32::MAX) => format!("an integer of at least {start}"),
            (start, end) => format!("an integer from {start} to {end}"),
        };
        self.optional(key, &expected, |value| integer(value).filter(|number| range.contains(number)))
    }

    pub(super) fn port(&mut self, key: &'a str) -> u16 {
        self.required(key, "a port from 1 to 65535", |value| {
            integer(value).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
        })
    }

    pub(super) fn duration(&mut self, key: &'a str) -> Duration {
        self.required(key, "a duration above zero, such as 7s or 1m30s", |value| {
            duration::parse(value.as_str()?).ok().filter(|duration| *duration >= Duration::from_millis(1))
        })
    }

    pub(super) fn text(&mut self, key: &'a str) -> Option<String> {
        self.optional(key, "text", |value| value.as_str().map(str::to_owned))
    }

    /// Names with values, each printed as a template would print it.
    pub(super) fn texts(
        &mut self,
        key: &'a str,
        name_is_valid: fn(&str) -> bool,
        name: &str,
    ) -> BTreeMap<String, String> {
        let Some(table) = self.optional(key, "a table of names and values", Value::as_object) else {
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (entry, value) in table {
            let path = format!("{}.{entry}", self.path_of(key));
            if !name_is_valid(entry) {
                self.problems.add(path, Some(value), &format!("{name} instead of {entry:?}"));
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
        let table = self.optional(key, "a table", Value::as_object)?;
        Some(Reader {
            table: Some(table),
            path: self.path_of(key),
            known: Vec::new(),
            problems: self.problems,
        })
    }

    /// A table inside this one. An absent table is a problem, and its keys read as placeholders.
    pub(super) fn required_table(&mut self, key: &'a str) -> Reader<'a> {
        if self.get(key).is_none() && self.table.is_some() {
            self.problems.message(self.path_of(key), None, "is missing; expected a table".to_owned());
        }
        let absent =
            Reader { table: None, path: self.path_of(key), known: Vec::new(), problems: self.problems };
        self.table(key).unwrap_or(absent)
    }

    /// A list of tables.
    pub(super) fn tables(&mut self, key: &'a str) -> Vec<Reader<'a>> {
        let Some(list) = self.optional(key, "a list of tables", Value::as_array) else {
            return Vec::new();
        };
        let mut readers = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match value {
                Value::Object(table) => {
                    readers.push(Reader {
                        table: Some(table),
                        path,
                        known: Vec::new(),
                        problems: self.problems,
                    });
                }
                other => self.problems.add(path, Some(other), "a table"),
            }
        }
        readers
    }

    /// Reports unknown keys. `global` is always known: Helm puts it into every subchart's values.
    pub(super) fn finish(self) {
        for (key, value) in self.table.into_iter().flatten() {
            if key == "global" || self.known.contains(&key.as_str()) {
                continue;
            }
            self.problems.message(self.path_of(key), Some(value), yaml::unknown_key(key, &self.known));
        }
    }
}

/// An integer; YAML's `60.0` is one too, as it is to Helm, whose numbers are all floating.
fn integer(value: &Value) -> Option<u32> {
    let number = value.as_f64()?;
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
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
