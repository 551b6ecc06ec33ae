//! YAML as Kubernetes and Helm read it: the only reader for manifests, state files, scenarios and values.
//!
//! Both use `sigs.k8s.io/yaml` and go-yaml 2, which turn YAML 1.1 into JSON: `yes` and `on` are true, `010` is eight,
//! `1_000` is a thousand, `<<` merges mappings, and a key is always text. A YAML 1.2 library reads these as strings or
//! as other numbers. So the parser only provides the syntax, and this crate decides what a scalar means.
//! `tests/golden.json` records the Go library's result for each case.
//!
//! ```
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Limits {
//!     replicas: u32,
//! }
//!
//! let document = yaml::read("limits.yaml", "replicas: 010")?;
//! assert_eq!(document.typed::<Limits>()?.replicas, 8);
//!
//! let document = yaml::read("limits.yaml", "# Mine\nreplica: 8")?;
//! let error = document.typed::<Limits>().err().unwrap();
//! assert_eq!(error.to_string(), "limits.yaml:2:1: replica: unknown key; did you mean replicas?");
//! # Ok::<(), yaml::Error>(())
//! ```
//!
//! It is stricter than Go in three points: duplicate keys in a mapping, values that JSON cannot hold (`.inf`, `.nan`)
//! and text that is not UTF-8 are errors. Nesting and the expansion of aliases are bounded.

mod error;
mod marks;
mod parser;
mod scalar;
mod suggest;
mod text;
mod typed;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use error::{Error, Position};
pub use marks::Marks;
pub use suggest::{UNKNOWN, nearest, unknown_key};
pub use text::decode;
pub use typed::{TypeError, typed};

/// One document of a file: its content as JSON, and the position of each value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Null: the document is empty.
    pub value: Value,
    pub marks: Marks,
    /// The file's name in errors.
    pub origin: String,
}

impl Document {
    /// The content as the caller's type. Unknown keys are errors if the type denies them; a top-level key that
    /// begins with `x-` may hold anything, such as anchors.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, Error> {
        typed::of_document(&self.value).map_err(|error| self.error_at(&error.path, error.words()))
    }

    /// The position of the value at a path such as `spec.metrics[0].type`, or of the value that contains it.
    pub fn position(&self, path: &str) -> Option<Position> {
        self.marks.nearest(path)
    }

    /// An error about the value at `path`.
    pub fn error_at(&self, path: &str, message: impl Into<String>) -> Error {
        Error {
            origin: self.origin.clone(),
            position: self.position(path),
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// Reads a file that holds one document; an empty file is null. `origin` is the file's name in errors.
pub fn read(origin: &str, text: &str) -> Result<Document, Error> {
    let mut documents = read_all(origin, text)?;
    match documents.len() {
        0 => Ok(Document { origin: origin.to_owned(), ..Document::default() }),
        1 => Ok(documents.remove(0)),
        _ => Err(documents[1].error_at("", "a second document begins here; this file holds one")),
    }
}

/// Reads a file that may hold several documents, separated by `---`; empty ones are skipped.
pub fn read_all(origin: &str, text: &str) -> Result<Vec<Document>, Error> {
    let mut documents = parser::documents(origin, text)?;
    documents.retain(|document| !document.value.is_null());
    Ok(documents)
}

/// Reads a text with one document as the caller's type.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    read("", text)?.typed()
}

#[cfg(test)]
mod tests;
