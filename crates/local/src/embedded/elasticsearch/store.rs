//! Where the documents are: two files of lines, and the ids of what is in them.

use std::{collections::HashSet, io, path::PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::bulk::Action;
use crate::journal::Journal;

/// What became of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Created,
    /// There is one of that id.
    Conflict,
    /// It is no document of this mapping, and why.
    Refused(String),
}

impl Written {
    pub(super) fn is_error(&self) -> bool {
        *self != Self::Created
    }

    /// As it is in the answer.
    pub(super) fn item(&self, action: &Action<'_>) -> Value {
        let outcome = match self {
            Self::Created => json!({ "status": 201, "result": "created" }),
            Self::Conflict => error(409, "version_conflict_engine_exception", "document already exists"),
            Self::Refused(reason) => error(400, "document_parsing_exception", reason),
        };
        let mut item = json!({ "_index": action.index, "_id": action.id });
        if let (Value::Object(item), Value::Object(outcome)) = (&mut item, outcome) {
            item.extend(outcome);
        }
        json!({ "create": item })
    }
}

fn error(status: u16, kind: &str, reason: &str) -> Value {
    json!({ "status": status, "error": { "type": kind, "reason": reason } })
}

/// A document as it is kept.
#[derive(Debug, Deserialize)]
pub(super) struct Kept {
    #[serde(rename = "_index")]
    pub(super) index: String,
    #[serde(rename = "_id")]
    pub(super) id: String,
    #[serde(rename = "_source")]
    pub(super) source: Value,
}

/// What is looked at in a document.
#[derive(Deserialize)]
struct Mapped {
    #[serde(rename = "timestamp")]
    _timestamp: Option<Timestamp>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    journal: Journal,
    segment: u64,
    /// Ids (with their indices) of the file that is written and of the one before it.
    present: HashSet<Box<str>>,
    before: HashSet<Box<str>>,
}

impl Store {
    pub(super) fn create(file: PathBuf, segment_max: u64) -> io::Result<Self> {
        let journal = Journal::create(file, segment_max)?;
        Ok(Self { journal, segment: 0, present: HashSet::new(), before: HashSet::new() })
    }

    pub(super) fn write(&mut self, action: &Action<'_>) -> io::Result<Written> {
        let source: &RawValue = match serde_json::from_str(action.source) {
            Ok(source) => source,
            Err(error) => return Ok(Written::Refused(error.to_string())),
        };
        if !source.get().starts_with('{') {
            return Ok(Written::Refused("a document is an object".to_owned()));
        }
        if let Err(error) = serde_json::from_str::<Mapped>(source.get()) {
            return Ok(Written::Refused(format!("failed to parse field [timestamp]: {error}")));
        }
        let key: Box<str> = format!("{}/{}", action.index, action.id).into();
        if self.present.contains(&key) || self.before.contains(&key) {
            return Ok(Written::Conflict);
        }
        let (index, id) = (serde_json::to_string(&action.index)?, serde_json::to_string(&action.id)?);
        // `source` is one line of valid JSON already.
        self.journal
            .append(&format!(r#"{{"_index":{index},"_id":{id},"_source":{}}}"#, source.get().trim()))?;
        if self.journal.segment() != self.segment {
            self.segment = self.journal.segment();
            self.before = std::mem::take(&mut self.present);
        }
        self.present.insert(key);
        Ok(Written::Created)
    }

    /// All documents that are kept, in the order in which they were written.
    pub(super) fn documents(&self) -> impl Iterator<Item = io::Result<Kept>> + use<> {
        let mut tail = self.journal.source().tail();
        std::iter::from_fn(move || {
            let line = tail.next_present().transpose()?;
            Some(line.and_then(|line| serde_json::from_str(&line).map_err(io::Error::from)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action<'a>(id: &str, source: &'a str) -> Action<'a> {
        Action { index: "i".to_owned(), id: id.to_owned(), source }
    }

    #[test]
    fn documents_are_created_once_and_refused_with_a_reason() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path().join("documents"), 1000).unwrap();
        let mut write = |id, source| store.write(&action(id, source)).unwrap();
        assert_eq!(write("1", r#" {"a":"\"\n"} "#), Written::Created);
        assert_eq!(write("1", r#"{"a":1}"#), Written::Conflict);
        for (source, reason) in [
            (r#"{"a":"#, "EOF while parsing"),
            ("[1]", "a document is an object"),
            (r#"{"timestamp":"soon"}"#, "failed to parse field [timestamp]"),
        ] {
            let Written::Refused(why) = write("2", source) else { panic!("{source}") };
            assert!(why.starts_with(reason), "{source}: {why}");
        }
        let kept: Vec<Value> = store.documents().map(|kept| kept.unwrap().source).collect();
        assert_eq!(kept, [json!({"a": "\"\n"})]);
    }

    #[test]
    fn files_and_ids_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path().join("documents"), 1000).unwrap();
        for number in 0..1000 {
            let written = store.write(&action(&number.to_string(), "{}")).unwrap();
            assert_eq!(written, Written::Created);
        }
        let ids: Vec<String> = store.documents().map(|kept| kept.unwrap().id).collect();
        assert_eq!(ids.last().unwrap(), "999");
        assert!((20..60).contains(&ids.len()), "{}", ids.len());
        assert_eq!(store.present.len() + store.before.len(), ids.len());
    }
}
