//! The positions of a document's values: a tree parallel to the tree of values.
//!
//! A map from paths to positions would be simpler, but with nested long keys its size is quadratic in the file's.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Position;

/// Positions of a value and of all values inside it. Values from an alias or a merge have no position of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Marks {
    /// The position of the key, if the value has one.
    pub(crate) at: Option<Position>,
    pub(crate) inside: Inside,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Inside {
    #[default]
    Nothing,
    /// Missing: an entry of a list before the one that was set.
    Gap,
    List(Vec<Marks>),
    Mapping(MarksByKey),
}

pub(crate) type MarksByKey = BTreeMap<Box<str>, Marks>;

impl Marks {
    /// Marks of a value that comes from no file: its paths are known, but no positions. A null in a list is no value.
    pub fn of(value: &Value) -> Self {
        let inside = match value {
            Value::Array(list) => Inside::List(
                list.iter()
                    .map(|item| match item {
                        Value::Null => Self { at: None, inside: Inside::Gap },
                        item => Self::of(item),
                    })
                    .collect(),
            ),
            Value::Object(table) => Inside::Mapping(
                table.iter().map(|(key, value)| (key.as_str().into(), Self::of(value))).collect(),
            ),
            _ => Inside::Nothing,
        };
        Self { at: None, inside }
    }

    /// The marks of exactly the value at `path`, such as `spec.metrics[0].type`.
    pub fn get(&self, path: &str) -> Option<&Self> {
        let mut found = None;
        self.walk(path, &mut |marks, rest| {
            if rest.is_empty() && !matches!(marks.inside, Inside::Gap) {
                found = Some(marks);
            }
        });
        found
    }

    /// The position of the value at `path`, or else of the innermost value around it that has one.
    pub fn nearest(&self, path: &str) -> Option<Position> {
        let mut nearest: Option<(usize, Position)> = None;
        self.walk(path, &mut |marks, rest| {
            if let Some(at) = marks.at
                && nearest.is_none_or(|(length, _)| rest.len() < length)
            {
                nearest = Some((rest.len(), at));
            }
        });
        nearest.map(|(_, at)| at)
    }

    pub fn is_list(&self) -> bool {
        matches!(self.inside, Inside::List(_))
    }

    pub fn position(&self) -> Option<Position> {
        self.at
    }

    /// Calls `visit` with every value on the way and the rest of the path. A key may itself contain dots and brackets,
    /// so there can be several ways.
    fn walk<'a>(&'a self, path: &str, visit: &mut dyn FnMut(&'a Self, &str)) {
        visit(self, path);
        match &self.inside {
            Inside::Nothing | Inside::Gap => {}
            Inside::List(list) => {
                let inner = path.strip_prefix('[').and_then(|path| path.split_once(']'));
                if let Some((index, rest)) = inner
                    && let Some(marks) = index.parse().ok().and_then(|index: usize| list.get(index))
                {
                    marks.walk(rest, visit);
                }
            }
            Inside::Mapping(mapping) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                let ends = path.match_indices(['.', '[']).map(|(end, _)| end).chain([path.len()]);
                for end in ends {
                    if let Some(marks) = mapping.get(&path[..end]) {
                        marks.walk(&path[end..], visit);
                    }
                }
            }
        }
    }
}
