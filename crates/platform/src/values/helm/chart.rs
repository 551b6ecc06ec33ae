//! A chart as far as values are concerned: its name, its defaults, its subcharts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use yaml::Marks;

use super::Table;
use crate::file;

/// Largest file that is read, in bytes. Helm's own limit for a file of a chart is 5 MiB.
const FILE_SIZE_MAX: u64 = 5 << 20;
/// Deepest nesting of subcharts.
const DEPTH_MAX: usize = 16;

/// A chart and the charts inside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// From `Chart.yaml`; the key of this chart's values in its parent's.
    pub name: String,
    /// `values.yaml`.
    pub values: Table,
    /// `dependencies` of `Chart.yaml`; `None` if there is no such list.
    pub requirements: Option<Vec<Requirement>>,
    /// What lies unpacked in `charts/`, by directory name.
    pub charts: Vec<Chart>,
    /// Where `values` came from: the file and the places of its keys.
    pub source: Option<ValuesFile>,
}

/// One entry of `dependencies` in `Chart.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    /// The key of its values: the alias, if it has one.
    pub name: String,
    /// The name of the chart itself.
    pub chart: String,
    /// Comma-separated paths into the values; the first that holds a boolean decides.
    pub condition: String,
    /// Names under `tags` of the values.
    pub tags: Vec<String>,
    /// Tables that are copied into the parent.
    pub import_values: Vec<Import>,
}

/// One entry of `import-values`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub child: String,
    /// `.` is the top of the parent's values.
    pub parent: String,
}

/// A values file, for messages.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuesFile {
    pub name: String,
    pub marks: Marks,
}

/// Why a chart could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChartError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("{}: {message}", path.display())]
    Metadata { path: PathBuf, message: String },
    #[error("{}: subcharts nest deeper than {DEPTH_MAX} levels", path.display())]
    TooDeep { path: PathBuf },
}

impl Chart {
    /// A chart made of one values file, without subcharts.
    pub fn from_values(name: &str, file: &str, text: &str) -> Result<Self, ChartError> {
        let document = parse(file, text)?;
        Ok(Self {
            name: name.to_owned(),
            values: document.values,
            requirements: None,
            charts: Vec::new(),
            source: Some(ValuesFile { name: file.to_owned(), marks: document.marks }),
        })
    }

    /// Reads an unpacked chart: `Chart.yaml`, `values.yaml` and the charts in `charts/`.
    pub fn load(dir: &Path) -> Result<Self, ChartError> {
        Self::load_nested(dir, 0)
    }

    fn load_nested(dir: &Path, depth: usize) -> Result<Self, ChartError> {
        if depth > DEPTH_MAX {
            return Err(ChartError::TooDeep { path: dir.to_owned() });
        }
        let metadata_path = dir.join("Chart.yaml");
        let metadata = parse(&metadata_path.display().to_string(), &read(&metadata_path)?)?.values;
        let bad = |message: String| ChartError::Metadata { path: metadata_path.clone(), message };
        let name = match metadata.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            other => {
                return Err(bad(format!("name: expected the chart's name, got {}", shown(other))));
            }
        };
        let requirements = match metadata.get("dependencies") {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) => {
                let parsed = list.iter().enumerate().map(|(index, entry)| {
                    requirement(entry).map_err(|message| bad(format!("dependencies[{index}]: {message}")))
                });
                Some(parsed.collect::<Result<_, _>>()?)
            }
            other => {
                return Err(bad(format!("dependencies: expected a list, got {}", shown(other))));
            }
        };
        let values_path = dir.join("values.yaml");
        let file = values_path.display().to_string();
        let (values, source) = if values_path.exists() {
            let document = parse(&file, &read(&values_path)?)?;
            (document.values, Some(ValuesFile { name: file, marks: document.marks }))
        } else {
            (Table::new(), None)
        };
        let charts = subchart_dirs(&dir.join("charts"))?;
        let charts = charts.iter().map(|sub| Self::load_nested(sub, depth + 1)).collect::<Result<_, _>>()?;
        Ok(Self { name, values, requirements, charts, source })
    }
}

fn requirement(entry: &Value) -> Result<Requirement, String> {
    let Value::Object(entry) = entry else {
        return Err(format!("expected a table, got {}", shown(Some(entry))));
    };
    let text = |key: &str| match entry.get(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(format!("{key}: expected text, got {}", shown(other))),
    };
    let list = |key: &str| match entry.get(key) {
        None | Some(Value::Null) => Ok(&[][..]),
        Some(Value::Array(list)) => Ok(list.as_slice()),
        other => Err(format!("{key}: expected a list, got {}", shown(other))),
    };
    let chart = text("name")?;
    let alias = text("alias")?;
    if chart.is_empty() {
        return Err("name: expected the name of a chart".to_owned());
    }
    let tags = list("tags")?.iter().map(|tag| match tag {
        Value::String(tag) => Ok(tag.clone()),
        other => Err(format!("tags: expected names, got {}", shown(Some(other)))),
    });
    Ok(Requirement {
        name: if alias.is_empty() { chart.clone() } else { alias },
        chart,
        condition: text("condition")?,
        tags: tags.collect::<Result<_, _>>()?,
        import_values: list("import-values")?.iter().map(import).collect::<Result<_, _>>()?,
    })
}

fn import(entry: &Value) -> Result<Import, String> {
    match entry {
        Value::String(name) => Ok(Import { child: format!("exports.{name}"), parent: ".".to_owned() }),
        Value::Object(pair) => match (pair.get("child"), pair.get("parent")) {
            (Some(Value::String(child)), Some(Value::String(parent))) => {
                Ok(Import { child: child.clone(), parent: parent.clone() })
            }
            _ => Err(format!("import-values: expected child and parent, got {}", shown(Some(entry)))),
        },
        other => {
            Err(format!("import-values: expected a name or a pair of paths, got {}", shown(Some(other))))
        }
    }
}

/// Directories that hold a chart. Helm skips names that begin with `_` or `.`.
fn subchart_dirs(charts: &Path) -> Result<Vec<PathBuf>, ChartError> {
    let failed = |source| ChartError::Read { path: charts.to_owned(), source };
    let entries = match fs::read_dir(charts) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['_', '.']));
        if !hidden && path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file of values as text, up to a limit that no real one reaches.
pub(in crate::values) fn read(path: &Path) -> Result<String, ChartError> {
    let bytes = file::read(path, FILE_SIZE_MAX)
        .map_err(|source| ChartError::Read { path: path.to_owned(), source })?;
    Ok(yaml::decode(&path.display().to_string(), bytes)?)
}

/// The content of a file of values.
#[derive(Debug, Clone, Default)]
pub struct ValuesText {
    pub values: Table,
    pub marks: Marks,
}

/// Reads a text that is a mapping or empty. Top-level keys that begin with `x-` are dropped: they hold anchors.
pub fn parse(file: &str, text: &str) -> Result<ValuesText, ChartError> {
    let document = yaml::read(file, text)?;
    match document.value {
        Value::Null => Ok(ValuesText::default()),
        Value::Object(mut values) => {
            values.retain(|key, _| !key.starts_with("x-"));
            Ok(ValuesText { values, marks: document.marks })
        }
        ref other => {
            let message = format!("expected a mapping of keys to values, got {}", shown(Some(other)));
            Err(document.error_at("", message).into())
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
