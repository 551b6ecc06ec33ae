//! The stored documents: two files of lines, and the IDs of their contents.

use std::{borrow::Cow, collections::HashSet, io, path::PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use service::logs::Seldom;

use super::bulk::Action;
use crate::journal::Journal;

/// The outcome for one document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Created,
    /// A document with this ID exists.
    Conflict,
    /// It does not fit the mapping, and why.
    Refused(String),
}

impl Written {
    pub(super) fn is_error(&self) -> bool {
        *self != Self::Created
    }

    /// The item in the answer.
    pub(super) fn item(&self, action: &Action<'_>) -> String {
        let outcome = match self {
            Self::Created => json!({ "status": 201, "result": "created" }),
            Self::Conflict => error(409, "version_conflict_engine_exception", "document already exists"),
            Self::Refused(reason) => error(400, "document_parsing_exception", reason),
        };
        let mut item = json!({ "_index": action.index, "_id": action.id });
        if let (Value::Object(item), Value::Object(outcome)) = (&mut item, outcome) {
            item.extend(outcome);
        }
        json!({ "create": item }).to_string()
    }
}

fn error(status: u16, kind: &str, reason: &str) -> Value {
    json!({ "status": status, "error": { "type": kind, "reason": reason } })
}

/// A document as stored, and as returned in an answer.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Kept {
    #[serde(rename = "_index")]
    pub(super) index: String,
    #[serde(rename = "_id")]
    pub(super) id: String,
    /// The original document. The reader decides how to interpret it.
    #[serde(rename = "_source")]
    pub(super) source: Box<RawValue>,
}

impl Kept {
    /// Its approximate size in an answer.
    pub(super) fn bytes(&self) -> usize {
        const AROUND: usize = 64;
        self.index.len() + self.id.len() + self.source.get().len() + AROUND
    }
}

/// Maximum nesting depth. Readers give up at 128, and an answer adds some levels around a document.
const DEPTH_MAX: usize = 64;
/// Maximum length of an index name and an ID, as in Elasticsearch.
const NAME_MAX: usize = 255;
const ID_MAX: usize = 512;

/// Checks that all readers will be able to read a document; otherwise says why not.
fn check(source: &str) -> Result<(), String> {
    // Parses everything: numbers that are too large, nesting and escapes that do not represent text are errors here.
    let document: Value = serde_json::from_str(source).map_err(|error| error.to_string())?;
    if !document.is_object() {
        return Err("a document is an object".to_owned());
    }
    if depth(source) > DEPTH_MAX {
        return Err(format!("more than {DEPTH_MAX} objects and arrays within each other"));
    }
    Looked::at(source).map(drop).map_err(|error| format!("failed to parse: {error}"))
}

/// The members of a document that searches use.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Looked<'a> {
    #[serde(borrow)]
    pub(super) pod: Option<Cow<'a, str>>,
    pub(super) timestamp: Option<Timestamp>,
}

impl<'a> Looked<'a> {
    pub(super) fn at(source: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(source)
    }
}

/// Nesting depth of a valid document. The text counts: of two members with one name, a [`Value`] has only the last, but
/// a reader of the text meets both.
fn depth(source: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in source.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    journal: Journal,
    segment: u64,
    /// IDs (with their indices) in the current file and its predecessor.
    present: HashSet<Box<str>>,
    before: HashSet<Box<str>>,
    /// Searches that met unreadable documents.
    pub(super) bad_searches: Mutex<Seldom>,
}

impl Store {
    pub(super) fn create(file: PathBuf, segment_max: u64) -> io::Result<Self> {
        let journal = Journal::create(file, segment_max)?;
        Ok(Self {
            journal,
            segment: 0,
            present: HashSet::new(),
            before: HashSet::new(),
            bad_searches: Mutex::default(),
        })
    }

    pub(super) fn write(&mut self, action: &Action<'_>) -> io::Result<Written> {
        if action.index.is_empty()
            || action.index.len() > NAME_MAX
            || action.id.is_empty()
            || action.id.len() > ID_MAX
        {
            return Ok(Written::Refused(format!(
                "expected a name of an index of 1 to {NAME_MAX} bytes, and an id of 1 to {ID_MAX}"
            )));
        }
        if let Err(reason) = check(action.source) {
            return Ok(Written::Refused(reason));
        }
        let key: Box<str> = format!("{}/{}", action.index, action.id).into();
        if self.present.contains(&key) || self.before.contains(&key) {
            return Ok(Written::Conflict);
        }
        let (index, id) = (serde_json::to_string(&action.index)?, serde_json::to_string(&action.id)?);
        // The source is already one line of valid JSON.
        let appended = self
            .journal
            .append(&format!(r#"{{"_index":{index},"_id":{id},"_source":{}}}"#, action.source.trim()));
        if self.journal.segment() != self.segment {
            self.segment = self.journal.segment();
            self.before = std::mem::take(&mut self.present);
        }
        appended?;
        self.present.insert(key);
        Ok(Written::Created)
    }

    /// All stored documents, in the order in which they were written; an error for an unreadable one, and the end after
    /// an error of the file itself.
    pub(super) fn documents(&self) -> impl Iterator<Item = io::Result<Kept>> + use<> {
        let mut tail = self.journal.source().tail();
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let line = tail.next_present().transpose()?;
            failed = line.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::InvalidData);
            Some(line.and_then(|line| serde_json::from_str(&line).map_err(invalid)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::search::Query, *};

    fn nested(depth: usize) -> String {
        format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
    }

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
            (r#"{"timestamp":"soon"}"#, "failed to parse"),
            (r#"{"timestamp":7}"#, "failed to parse"),
            (r#"{"a":1e999}"#, "number out of range"),
            (r#"{"a":"\ud800"}"#, "unexpected end of hex escape"),
            (r#"{"\ude00":1}"#, "lone leading surrogate"),
            (&nested(DEPTH_MAX + 1), "more than 64 objects and arrays"),
            // The second member of that name is shallow.
            (&format!(r#"{{"a":{},"a":1}}"#, nested(DEPTH_MAX)), "more than 64 objects and arrays"),
            (&nested(130), "recursion limit exceeded"),
        ] {
            let Written::Refused(why) = write("2", source) else { panic!("{source}") };
            assert!(why.starts_with(reason), "{source}: {why}");
        }
        let kept: Vec<String> = store.documents().map(|kept| kept.unwrap().source.get().to_owned()).collect();
        assert_eq!(kept, [r#"{"a":"\"\n"}"#]);
        // Brackets in strings do not count as nesting.
        let brackets = format!(r#"{{"a":"\"{}"}}"#, "[{".repeat(DEPTH_MAX));
        assert_eq!(store.write(&action("3", &brackets)).unwrap(), Written::Created);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Others can read every accepted document, and a refused document changes nothing.
        #[test]
        fn accepted_input_can_be_read_back(documents in prop::collection::vec(json_text(), 1..8)) {
            let directory = tempfile::tempdir().unwrap();
            let mut store = Store::create(directory.path().join("documents"), 100_000).unwrap();
            let mut taken = 0;
            for (number, document) in documents.iter().enumerate() {
                let written = store.write(&action(&number.to_string(), document)).unwrap();
                taken += usize::from(written == Written::Created);
            }
            let query = Query::parse("*", "").unwrap();
            let answer: Value = serde_json::from_str(&query.run(&store).unwrap()).unwrap();
            prop_assert_eq!(answer["hits"]["hits"].as_array().unwrap().len(), taken);
            prop_assert_eq!(&answer["unreadable"], 0);
        }
    }

    /// Texts that are JSON or nearly so, with content that trips up parsers.
    fn json_text() -> impl Strategy<Value = String> {
        const ODD: [&str; 11] = [
            "1e999",
            "-1e-999",
            r#""\ud800""#,
            r#""\udead\ud83d""#,
            "null",
            "[",
            "{}",
            "1",
            "nul",
            "\u{0}",
            "\"a",
        ];
        let leaf = prop_oneof![
            prop::sample::select(ODD.as_slice()).prop_map(str::to_owned),
            any::<String>().prop_map(|text| json!(text).to_string()),
            any::<f64>().prop_map(|number| number.to_string()),
        ];
        let member = prop_oneof![Just("a"), Just("timestamp"), Just("pod"), Just("text")];
        (leaf, prop::collection::vec(member, 1..140)).prop_map(|(leaf, members)| {
            members.iter().fold(leaf, |inner, member| format!(r#"{{"{member}":{inner}}}"#))
        })
    }

    #[test]
    fn unreadable_entries_are_skipped_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("documents");
        let mut store = Store::create(file.clone(), 100_000).unwrap();
        for id in ["1", "2", "3", "4"] {
            store.write(&action(id, r#"{"a":1}"#)).unwrap();
        }
        let mut lines = std::fs::read(&file).unwrap();
        let length = lines.len() / 4;
        lines[length] = b'x';
        lines[2 * length + 3] = 0xff;
        std::fs::write(&file, lines).unwrap();
        let answer = Query::parse("*", "").unwrap().run(&store).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let ids: Vec<&Value> =
            answer["hits"]["hits"].as_array().unwrap().iter().map(|hit| &hit["_id"]).collect();
        assert_eq!(ids, ["1", "4"]);
        assert_eq!(answer["unreadable"], 2);
    }

    /// `/dev/full` stands for a full disk.
    #[test]
    fn a_full_disk_is_an_error_and_the_write_can_be_repeated_later() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path().join("documents"), 100_000).unwrap();
        store.journal.swap_file("/dev/full");
        assert!(store.write(&action("1", "{}")).is_err());
        store.journal.swap_file(directory.path().join("documents"));
        assert_eq!(store.write(&action("1", "{}")).unwrap(), Written::Created);
        assert_eq!(store.documents().count(), 1);
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
