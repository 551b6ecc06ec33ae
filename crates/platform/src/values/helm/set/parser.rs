//! The parser behind [`set`](super::set).

use serde_json::Value;

use super::{DEPTH_MAX, INDEX_MAX, Reading, SetError, Table, typed};

/// Whether there is more text to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// A value, or nothing because the text ended right after the `=`.
enum Found {
    Value(Value),
    Nothing,
}

pub(super) struct Parser<'text, 'reading> {
    rest: &'text str,
    reading: Reading<'reading>,
}

impl<'text, 'reading> Parser<'text, 'reading> {
    pub(super) fn new(text: &'text str, reading: Reading<'reading>) -> Self {
        Self { rest: text, reading }
    }

    pub(super) fn run(mut self, values: &mut Table) -> Result<(), SetError> {
        while self.pair(values, 0)? == More::Yes {}
        Ok(())
    }

    /// Reads one name and what follows it into `table`.
    fn pair(&mut self, table: &mut Table, depth: usize) -> Result<More, SetError> {
        let stops: &[char] = if self.literal() { &['=', '[', '.'] } else { &['=', '[', ',', '.'] };
        let (name, stop) = self.until(stops);
        match stop {
            None if name.is_empty() => Ok(More::No),
            None => Err(SetError(format!("key {name:?} has no value"))),
            Some(',') => Err(SetError(format!("key {name:?} has no value (cannot end with ,)"))),
            Some('.') => self.nested(table, name, depth + 1),
            Some('[') => self.indexed(table, name, depth),
            Some(_) => {
                let (value, more) = match self.value()? {
                    Found::Value(value) => (value, More::Yes),
                    Found::Nothing => (Value::String(String::new()), More::No),
                };
                insert(table, name, value);
                Ok(more)
            }
        }
    }

    /// `name.…`
    fn nested(&mut self, table: &mut Table, name: String, depth: usize) -> Result<More, SetError> {
        if depth > DEPTH_MAX {
            return Err(SetError(format!("names nested deeper than {DEPTH_MAX} levels")));
        }
        let mut inner = match table.get(&name) {
            None => Table::new(),
            Some(Value::Object(inner)) => inner.clone(),
            Some(other) => {
                return Err(SetError(format!("{name}: expected a table to write into, got {other}")));
            }
        };
        let more = self.pair(&mut inner, depth)?;
        if inner.is_empty() {
            return match more {
                More::Yes => Err(SetError(format!("key map {name:?} has no value"))),
                More::No => Ok(More::No),
            };
        }
        insert(table, name, Value::Object(inner));
        Ok(more)
    }

    /// `name[…`
    fn indexed(&mut self, table: &mut Table, name: String, depth: usize) -> Result<More, SetError> {
        let index = self.index()?;
        let mut list = match table.get(&name) {
            None => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(other) => {
                return Err(SetError(format!("{name}: expected a list to write into, got {other}")));
            }
        };
        let more = self.item(&mut list, index, depth)?;
        insert(table, name, Value::Array(list));
        Ok(more)
    }

    /// Reads what follows `[index]` into `list`.
    fn item(&mut self, list: &mut Vec<Value>, index: usize, depth: usize) -> Result<More, SetError> {
        let (unexpected, stop) = self.until(&['[', '.', '=']);
        if !unexpected.is_empty() {
            return Err(SetError(format!("unexpected text after an index: {unexpected:?}")));
        }
        match stop {
            None => Ok(More::No),
            Some('=') => {
                let value = match self.value()? {
                    Found::Value(value) => value,
                    Found::Nothing => Value::String(String::new()),
                };
                put(list, index, value);
                Ok(More::Yes)
            }
            Some('[') => {
                let next = self.index()?;
                let existing = list.get(index).filter(|value| !value.is_null());
                let mut inner = match existing {
                    None => Vec::new(),
                    Some(Value::Array(inner)) => inner.clone(),
                    Some(other) => {
                        return Err(SetError(format!(
                            "[{index}]: expected a list to write into, got {other}"
                        )));
                    }
                };
                let existed = existing.is_some();
                let more = self.item(&mut inner, next, depth)?;
                // If the text ends early, Helm drops what is unfinished but keeps what was changed in place.
                if more == More::Yes || existed {
                    put(list, index, Value::Array(inner));
                }
                Ok(more)
            }
            Some(_) => {
                let existed = index < list.len();
                let mut inner = match list.get(index) {
                    Some(Value::Object(inner)) => inner.clone(),
                    _ => Table::new(),
                };
                let more = self.pair(&mut inner, depth)?;
                if more == More::Yes || existed {
                    put(list, index, Value::Object(inner));
                }
                Ok(more)
            }
        }
    }

    /// The digits up to `]`.
    fn index(&mut self) -> Result<usize, SetError> {
        let (digits, stop) = self.until(&[']']);
        if stop.is_none() {
            return Err(SetError(format!("index {digits:?} has no ]")));
        }
        match digits.parse::<i64>().map(usize::try_from) {
            Ok(Ok(index)) if index <= INDEX_MAX => Ok(index),
            _ => Err(SetError(format!("expected an index from 0 to {INDEX_MAX}, got {digits:?}"))),
        }
    }

    /// The value after the `=`, including a trailing `,`.
    fn value(&mut self) -> Result<Found, SetError> {
        match self.reading {
            Reading::Json => return self.json(),
            Reading::Literal => {
                let text = std::mem::take(&mut self.rest);
                return Ok(Found::Value(Value::String(text.to_owned())));
            }
            _ => {}
        }
        if self.rest.is_empty() {
            return Ok(Found::Nothing);
        }
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            return self.list();
        }
        let (text, _) = self.until(&[',']);
        Ok(Found::Value(self.read(text)?))
    }

    /// `{a,b,c}`
    fn list(&mut self) -> Result<Found, SetError> {
        let mut list = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            if stop.is_none() {
                return Err(SetError("a list must end with }".to_owned()));
            }
            list.push(self.read(text)?);
            if stop == Some('}') {
                self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
                return Ok(Found::Value(Value::Array(list)));
            }
        }
    }

    fn json(&mut self) -> Result<Found, SetError> {
        if self.skip_blank() {
            return Ok(Found::Value(Value::Null));
        }
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        let value = match stream.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(SetError(format!("not JSON: {error}"))),
            None => Value::Null,
        };
        self.rest = &self.rest[stream.byte_offset()..];
        self.skip_blank();
        Ok(Found::Value(value))
    }

    /// Skips white space and one comma. True: there was nothing else.
    fn skip_blank(&mut self) -> bool {
        let rest = self.rest.trim_start();
        self.rest = rest.strip_prefix(',').unwrap_or(rest);
        rest.is_empty() || rest.starts_with(',')
    }

    fn read(&mut self, text: String) -> Result<Value, SetError> {
        match &mut self.reading {
            Reading::Typed => Ok(typed(text)),
            Reading::File(content) => content(&text).map(Value::String).map_err(SetError),
            Reading::Text | Reading::Json | Reading::Literal => Ok(Value::String(text)),
        }
    }

    /// Text up to and including one of `stops`. A backslash escapes the next character.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        let mut characters = self.rest.chars();
        let mut stop = None;
        while let Some(character) = characters.next() {
            if stops.contains(&character) {
                stop = Some(character);
                break;
            }
            if character == '\\' && !self.literal() {
                text.extend(characters.next());
            } else {
                text.push(character);
            }
        }
        self.rest = characters.as_str();
        (text, stop)
    }

    fn literal(&self) -> bool {
        matches!(self.reading, Reading::Literal)
    }
}

/// An empty name is skipped, as in Helm.
fn insert(table: &mut Table, name: String, value: Value) {
    if !name.is_empty() {
        table.insert(name, value);
    }
}

/// Writes at an index; gaps before it become null.
fn put(list: &mut Vec<Value>, index: usize, value: Value) {
    if list.len() <= index {
        list.resize(index + 1, Value::Null);
    }
    list[index] = value;
}
