//! Where values come from, and which source set what.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;
use yaml::Marks;

use crate::services::ServiceKind;

use super::{
    ValuesError,
    helm::{
        self, Chart, Table,
        chart::{parse, read},
        set::{Reading, set},
    },
    presets,
};

/// The chart's own values, as part of the program.
const BUILTIN: &str = include_str!("../../../../helm-chart/values.yaml");

/// The top-level keys that do not belong to a service.
const PARTS: [&str; 11] = [
    "gateway",
    "kafka",
    "memcached",
    "elasticsearch",
    "prometheus",
    "redis",
    "etcd",
    "cassandra",
    "metrics",
    "cadvisor",
    "envoy",
];

/// The user's values, with Helm's meaning. Whatever their order on the command line, files apply first, then
/// `set_json`, `set`, `set_string`, `set_file`, `set_literal`, each in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValuesSource {
    /// A chart's directory instead of the built-in one.
    pub chart_dir: Option<PathBuf>,
    /// `-f FILE`, or the name of a preset such as `minikube`.
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
    kind: LayerKind,
    /// Where in the tree its content lies: empty, or a subchart's key.
    prefix: String,
    /// What it sets, and where in a file.
    marks: Marks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LayerKind {
    Chart,
    /// `-f`: replaces the lists of all weaker layers.
    File,
    /// `--set` and its relatives: write into lists of files, but replace lists of charts.
    Flag,
}

impl Layer {
    fn get(&self, path: &str) -> Option<&Marks> {
        self.marks.get(below(path, &self.prefix)?)
    }

    /// The outermost list around `path` that this layer sets.
    fn list_around<'a>(&self, path: &'a str) -> Option<&'a str> {
        let lists = path.match_indices('[').map(|(at, _)| &path[..at]);
        lists.into_iter().find(|list| self.get(list).is_some_and(Marks::is_list))
    }

    /// The flag's text, or the file and the line of `path`.
    fn described(&self, path: &str) -> String {
        let position = below(path, &self.prefix).and_then(|path| self.marks.nearest(path));
        position.map_or_else(|| self.name.clone(), |at| format!("{}:{}", self.name, at.line))
    }
}

impl Origins {
    /// Who set `path`: the strongest source that has it, or has something that contains it.
    pub(super) fn of(&self, path: &str) -> Option<String> {
        let mut outer = path;
        loop {
            if let Some(layer) = self.owner(outer) {
                let described = layer.described(path);
                let list = layer.list_around(path).filter(|list| self.is_replaced(list, layer));
                return Some(match list {
                    Some(list) => format!("{described}, which replaces the list {list} as a whole"),
                    None => described,
                });
            }
            outer = &outer[..outer.rfind(['.', '['])?];
        }
    }

    /// The layer that has exactly `path`, or whose list took its place.
    fn owner(&self, path: &str) -> Option<&Layer> {
        let mut replaced_by = None;
        for layer in self.layers.iter().rev() {
            if layer.kind == LayerKind::Chart && replaced_by.is_some() {
                break;
            }
            if layer.get(path).is_some() {
                return Some(layer);
            }
            if layer.list_around(path).is_some() {
                replaced_by = replaced_by.or(Some(layer));
                if layer.kind == LayerKind::File {
                    break;
                }
            }
        }
        replaced_by
    }

    /// Whether a flag writes into a list that only charts have, which drops the rest of that list.
    fn is_replaced(&self, list: &str, by: &Layer) -> bool {
        let has = |kind: LayerKind| {
            let mut layers = self.layers.iter().filter(|layer| layer.kind == kind);
            layers.any(|layer| layer.get(list).is_some_and(Marks::is_list))
        };
        by.kind == LayerKind::Flag && !has(LayerKind::File) && has(LayerKind::Chart)
    }

    /// Whatever the user set inside `path`, at most three.
    pub(super) fn of_user_inside(&self, path: &str) -> Vec<String> {
        const MOST: usize = 3;
        let users = self.layers.iter().rev().filter(|layer| layer.kind != LayerKind::Chart);
        users
            .filter(|layer| layer.get(path).is_some())
            .map(|layer| layer.described(path))
            .take(MOST)
            .collect()
    }

    fn add(&mut self, kind: LayerKind, name: impl Into<String>, prefix: &str, marks: Marks) {
        self.layers.push(Layer { name: name.into(), kind, prefix: prefix.to_owned(), marks });
    }

    /// A subchart's own values are weaker than its parent's.
    fn add_chart(&mut self, chart: &Chart, prefix: &str) {
        for subchart in &chart.charts {
            let prefix =
                if prefix.is_empty() { subchart.name.clone() } else { format!("{prefix}.{}", subchart.name) };
            self.add_chart(subchart, &prefix);
        }
        if let Some(source) = &chart.source {
            self.add(LayerKind::Chart, source.name.clone(), prefix, source.marks.clone());
        }
    }
}

impl ValuesSource {
    /// The merged tree alone, unchecked: what a chart's templates would see.
    pub fn merged(&self) -> Result<Table, ValuesError> {
        self.merge().map(|(merged, _)| merged)
    }

    /// The merged tree, and which source set what.
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

        let overrides = self.lay_over(&mut origins)?;
        Ok((helm::merged(&chart, &overrides)?, origins))
    }

    /// What the user's files and flags set, without the chart.
    pub fn overrides(&self) -> Result<Table, ValuesError> {
        self.lay_over(&mut Origins::default())
    }

    fn lay_over(&self, origins: &mut Origins) -> Result<Table, ValuesError> {
        let mut overrides = Table::new();
        for file in &self.files {
            let (name, text) = presets::text(file, self.chart_dir.as_deref())?;
            let document = parse(&name, &text)?;
            let text_of = |key: &str| document.values.get(key)?.as_str();
            if let (Some(_), Some(kind)) = (text_of("apiVersion"), text_of("kind")) {
                return Err(ValuesError::Object { file: name, kind: kind.chars().take(64).collect() });
            }
            origins.add(LayerKind::File, name, "", document.marks);
            helm::overlay(&mut overrides, document.values);
        }
        self.flags(&mut overrides, origins)?;
        Ok(overrides)
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
                // On its own the text may not apply (`a[0]` of a list set elsewhere); then its origin is unknown.
                let alone_is_whole = reading(&mut alone).is_ok();
                let marks = if alone_is_whole { Marks::of(&Value::Object(alone)) } else { Marks::default() };
                origins.add(LayerKind::Flag, name, "", marks);
            }
        }
        Ok(())
    }
}

/// `path` relative to `prefix`.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(path);
    }
    path.strip_prefix(prefix)?.strip_prefix('.')
}
