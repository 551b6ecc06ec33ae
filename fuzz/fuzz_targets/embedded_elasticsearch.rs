//! Bulks, documents and searches of the embedded Elasticsearch: raw text, and JSON of every shape.
#![no_main]

use std::{path::Path, sync::LazyLock};

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use local::embedded::elasticsearch::fuzzing;
use tempfile::TempDir;

/// In memory if possible: a store consists of files.
static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    directory.expect("a directory")
});

#[derive(Debug, Arbitrary)]
enum Json {
    Null,
    Number(f64),
    Integer(i64),
    Text(String),
    Time(i32),
    /// Raw text: escapes, numbers and literals that are nearly right.
    Raw(String),
    List(Vec<Json>),
    Object(Vec<(Key, Json)>),
    /// This many nested objects.
    Deep(u8),
}

#[derive(Debug, Arbitrary)]
enum Key {
    Pod,
    Timestamp,
    Text,
    Query,
    Bool,
    Filter,
    Term,
    Prefix,
    Range,
    Gte,
    Lt,
    Size,
    Sort,
    Order,
    Other(String),
}

impl Key {
    fn name(&self) -> &str {
        match self {
            Self::Pod => "pod",
            Self::Timestamp => "timestamp",
            Self::Text => "text",
            Self::Query => "query",
            Self::Bool => "bool",
            Self::Filter => "filter",
            Self::Term => "term",
            Self::Prefix => "prefix",
            Self::Range => "range",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Size => "size",
            Self::Sort => "sort",
            Self::Order => "order",
            Self::Other(name) => name,
        }
    }
}

impl Json {
    fn write(&self, out: &mut String) {
        let quoted = |text: &str| serde_json::to_string(text).expect("a text");
        match self {
            Self::Null => out.push_str("null"),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Integer(number) => out.push_str(&number.to_string()),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::Time(seconds) => {
                let time = jiff::Timestamp::from_second(i64::from(*seconds)).expect("a time");
                out.push_str(&quoted(&time.to_string()));
            }
            Self::Raw(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    out.push_str(if number > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (number, (key, value)) in members.iter().enumerate() {
                    out.push_str(if number > 0 { "," } else { "" });
                    out.push_str(&quoted(key.name()));
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Deep(levels) => {
                out.push_str(&"{\"a\":".repeat(usize::from(*levels)));
                out.push('1');
                out.push_str(&"}".repeat(usize::from(*levels)));
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }
}

fuzz_target!(|input: (Vec<(String, u8, Json)>, String, Json)| {
    let (documents, bulk, query) = input;
    let mut bulks: Vec<String> = documents
        .iter()
        .map(|(index, id, document)| {
            let index = serde_json::to_string(index).expect("a text");
            format!("{{\"create\":{{\"_index\":{index},\"_id\":\"{id}\"}}}}\n{}\n", document.text())
        })
        .collect();
    bulks.push(bulk);
    fuzzing::documents(DIRECTORY.path(), &bulks, &query.text());
});
