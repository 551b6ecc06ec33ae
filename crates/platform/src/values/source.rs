//! Where values come from, and which of the sources said what.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::services::ServiceKind;

use super::{
    ValuesError,
    helm::{
        self, Chart, Table,
        chart::{parse, read},
        set::{Reading, set},
        yaml::Lines,
    },
};

/// The chart's own values, as part of the program.
const BUILTIN: &str = include_str!("../../../../helm-chart/values.yaml");

/// The top-level keys that are no service's.
const PARTS: [&str; 6] = ["gateway", "kafka", "memcached", "elasticsearch", "prometheus", "metrics"];

/// What the user gives, with Helm's meaning. Whatever their order on the command line: files first, then
/// `set_json`, `set`, `set_string`, `set_file`, `set_literal`, each in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValuesSource {
    /// A chart's directory instead of the built-in one.
    pub chart_dir: Option<PathBuf>,
    /// `-f FILE`
    pub files: Vec<PathBuf>,
    pub set: Vec<String>,
    pub set_string: Vec<String>,
    pub set_json: Vec<String>,
    pub set_file: Vec<String>,
    pub set_literal: Vec<String>,
}

/// Who set what: the sources from the weakest to the strongest.
#[derive(Debug, Default)]
pub(super) struct Origins {
    layers: Vec<Layer>,
    /// Top-level keys of other people's charts, whose content is not ours to check.
    pub(super) foreign_charts: BTreeSet<String>,
}

#[derive(Debug)]
struct Layer {
    /// A file's or flag's name.
    name: String,
    /// Where in the tree its content lies: empty, or a subchart's key.
    prefix: String,
    /// Paths that it sets, with lines in a file.
    lines: Lines,
}

impl Origins {
    /// Who set `path`: the strongest source that has it, or else has what it lies in.
    pub(super) fn of(&self, path: &str) -> Option<String> {
        let mut path = path;
        loop {
            for layer in self.layers.iter().rev() {
                let Some(inner) = below(path, &layer.prefix) else {
                    continue;
                };
                if let Some(line) = layer.lines.get(inner) {
                    // A flag has no lines.
                    return Some(if *line == 0 {
                        layer.name.clone()
                    } else {
                        format!("{}:{line}", layer.name)
                    });
                }
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    fn add(&mut self, name: impl Into<String>, prefix: &str, lines: Lines) {
        self.layers.push(Layer { name: name.into(), prefix: prefix.to_owned(), lines });
    }

    /// A subchart's own values are weaker than its parent's.
    fn add_chart(&mut self, chart: &Chart, prefix: &str) {
        for subchart in &chart.charts {
            let prefix =
                if prefix.is_empty() { subchart.name.clone() } else { format!("{prefix}.{}", subchart.name) };
            self.add_chart(subchart, &prefix);
        }
        if let Some(source) = &chart.source {
            self.add(source.name.clone(), prefix, source.lines.clone());
        }
    }
}

impl ValuesSource {
    /// The merged tree alone, unchecked: what a chart's templates would see.
    pub fn merged(&self) -> Result<Table, ValuesError> {
        self.merge().map(|(merged, _)| merged)
    }

    /// The merged tree and who said what.
    pub(super) fn merge(&self) -> Result<(Table, Origins), ValuesError> {
        let mut origins = Origins::default();
        let chart = match &self.chart_dir {
            Some(dir) => Chart::load(dir)?,
            None => Chart::from_values("playground", "built-in values.yaml", BUILTIN)?,
        };
        origins.add_chart(&chart, "");
        let ours = |name: &str| ServiceKind::by_name(name).is_some() || PARTS.contains(&name);
        let required = chart.requirements.iter().flatten().map(|requirement| requirement.name.clone());
        let unpacked = chart.charts.iter().map(|subchart| subchart.name.clone());
        origins.foreign_charts = unpacked.chain(required).filter(|name| !ours(name)).collect();

        let mut overrides = Table::new();
        for file in &self.files {
            let name = file.display().to_string();
            let document = parse(&name, &read(file)?)?;
            origins.add(name, "", document.lines);
            helm::overlay(&mut overrides, document.values);
        }
        self.flags(&mut overrides, &mut origins)?;
        Ok((helm::merged(&chart, &overrides)?, origins))
    }

    fn flags(&self, overrides: &mut Table, origins: &mut Origins) -> Result<(), ValuesError> {
        let mut content = |path: &str| read(Path::new(path)).map_err(|error| error.to_string());
        for (flag, texts) in [
            ("--set-json", &self.set_json),
            ("--set", &self.set),
            ("--set-string", &self.set_string),
            ("--set-file", &self.set_file),
            ("--set-literal", &self.set_literal),
        ] {
            for text in texts {
                let mut reading = |values: &mut Table| {
                    let reading = match flag {
                        "--set-json" => Reading::Json,
                        "--set" => Reading::Typed,
                        "--set-string" => Reading::Text,
                        "--set-file" => Reading::File(&mut content),
                        _ => Reading::Literal,
                    };
                    set(values, text, reading)
                };
                let name = format!("{flag} {text}");
                let failed = |error: helm::set::SetError| ValuesError::Flag {
                    flag: name.clone(),
                    message: error.to_string(),
                };
                reading(overrides).map_err(failed)?;
                let mut alone = Table::new();
                let mut lines = Lines::new();
                // By itself the text may not fit (`a[0]` of a list that is elsewhere); then its origin is not known.
                if reading(&mut alone).is_ok() {
                    paths(&Value::Object(alone), &mut String::new(), &mut lines);
                }
                origins.add(name, "", lines);
            }
        }
        Ok(())
    }
}

/// All paths of a tree, without lines.
fn paths(value: &Value, path: &mut String, lines: &mut Lines) {
    let parent = path.len();
    match value {
        Value::Object(table) => {
            for (key, value) in table {
                if parent > 0 {
                    path.push('.');
                }
                path.push_str(key);
                lines.insert(path.clone(), 0);
                paths(value, path, lines);
                path.truncate(parent);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate().filter(|(_, value)| !value.is_null()) {
                *path = format!("{path}[{index}]");
                lines.insert(path.clone(), 0);
                paths(value, path, lines);
                path.truncate(parent);
            }
        }
        _ => {}
    }
}

/// `path` as seen from inside of `prefix`.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(path);
    }
    path.strip_prefix(prefix)?.strip_prefix('.')
}
