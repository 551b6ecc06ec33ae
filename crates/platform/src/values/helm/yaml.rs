//! YAML as Helm reads it: into JSON, by the rules of YAML 1.1 for plain scalars.
//!
//! Helm goes through `sigs.k8s.io/yaml` and go-yaml 2, where `yes`, `on` and `y` are true, `0755` is octal, `1_000`
//! is a thousand and `<<` merges mappings. A reader of YAML 1.2 would see texts there, and the platform on this
//! machine would differ from the one in the cluster. So only the syntax comes from a parser; what a scalar means is
//! decided in `scalar`.
//!
//! Bounded: nesting, and the number of values that aliases may expand to.

mod scalar;

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::{Map, Value};

/// Deepest nesting of mappings and sequences.
const DEPTH_MAX: usize = 100;
/// Most values of a document, with those that aliases repeat.
const VALUES_MAX: usize = 200_000;

/// Line of each key, by its dotted path; lines count from 1.
pub type Lines = BTreeMap<String, usize>;

/// The content of a values file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    pub values: Map<String, Value>,
    pub lines: Lines,
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct YamlError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    pub message: String,
}

/// Reads a document whose top is a mapping; an empty one is an empty mapping.
pub fn parse(text: &str) -> Result<Document, YamlError> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        lines: Lines::new(),
        path: String::new(),
        values: 0,
    };
    let value = builder.document()?;
    match value {
        Value::Null => Ok(Document::default()),
        Value::Object(values) => Ok(Document { values, lines: builder.lines }),
        other => Err(YamlError {
            line: 1,
            column: 1,
            message: format!("expected a mapping of keys to values at the top, got {}", kind(&other)),
        }),
    }
}

struct Builder<'input> {
    parser: Parser<'input, StrInput<'input>>,
    anchors: BTreeMap<usize, Value>,
    lines: Lines,
    /// Of the value being read.
    path: String,
    values: usize,
}

/// A key of a mapping.
enum Key {
    Name(String),
    /// `<<`
    Merge,
}

impl<'input> Builder<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Value, YamlError> {
        let mut value = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(value.unwrap_or(Value::Null)),
                Event::DocumentStart(_) if value.is_some() => {
                    return Err(error(&span, "a second document: Helm reads the first one only".to_owned()));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => value = Some(self.value(event, &span, 0)?),
            }
        }
    }

    /// The value that begins with `event`.
    fn value(&mut self, event: Event<'input>, span: &Span, depth: usize) -> Result<Value, YamlError> {
        if depth > DEPTH_MAX {
            return Err(error(span, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.count(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::resolve(&text, style == ScalarStyle::Plain, tag.as_deref())
                    .map_err(|message| error(span, message))?;
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor).cloned() else {
                    return Err(error(span, "an alias inside of what it stands for".to_owned()));
                };
                self.count(size(&value), span)?;
                (value, 0)
            }
            _ => return Err(error(span, "expected a value".to_owned())),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut list = Vec::new();
        let parent = self.path.len();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(list));
            }
            self.path = format!("{}[{}]", self.path, list.len());
            self.lines.insert(self.path.clone(), span.start.line());
            list.push(self.value(event, &span, depth + 1)?);
            self.path.truncate(parent);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut map = Map::new();
        let mut given = std::collections::BTreeSet::new();
        let parent = self.path.len();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Object(map));
            }
            let key = self.key(event, &span, depth)?;
            let (event, value_span) = self.next()?;
            match key {
                Key::Name(name) => {
                    if !given.insert(name.clone()) {
                        return Err(error(&span, format!("the key {name} is given twice")));
                    }
                    if parent > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(&name);
                    self.lines.insert(self.path.clone(), span.start.line());
                    let value = self.value(event, &value_span, depth + 1)?;
                    self.path.truncate(parent);
                    map.insert(name, value);
                }
                Key::Merge => {
                    let value = self.value(event, &value_span, depth + 1)?;
                    self.path.truncate(parent);
                    merge(&mut map, value).map_err(|message| error(&value_span, message))?;
                }
            }
        }
    }

    fn key(&mut self, event: Event<'input>, span: &Span, depth: usize) -> Result<Key, YamlError> {
        if let Event::Scalar(text, ScalarStyle::Plain, _, None) = &event
            && text == "<<"
        {
            return Ok(Key::Merge);
        }
        match self.value(event, span, depth + 1)? {
            Value::String(name) => Ok(Key::Name(name)),
            Value::Bool(name) => Ok(Key::Name(name.to_string())),
            Value::Number(name) if name.is_i64() => Ok(Key::Name(name.to_string())),
            other => Err(error(span, format!("expected a name as key, got {}; quote it", kind(&other)))),
        }
    }

    fn count(&mut self, values: usize, span: &Span) -> Result<(), YamlError> {
        self.values = self.values.saturating_add(values);
        if self.values > VALUES_MAX {
            return Err(error(
                span,
                format!("more than {VALUES_MAX} values, with those that aliases repeat"),
            ));
        }
        Ok(())
    }
}

/// `<<: *base` writes over what the mapping said before it, as in go-yaml 2; of a list the first mapping wins.
fn merge(map: &mut Map<String, Value>, value: Value) -> Result<(), String> {
    match value {
        Value::Object(from) => map.extend(from),
        Value::Array(list) => {
            for value in list.into_iter().rev() {
                let Value::Object(from) = value else {
                    return Err(format!("<< merges mappings, got {}", kind(&value)));
                };
                map.extend(from);
            }
        }
        other => return Err(format!("<< merges mappings, got {}", kind(&other))),
    }
    Ok(())
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        scalar => scalar.to_string(),
    }
}

fn error(span: &Span, message: String) -> YamlError {
    YamlError { line: span.start.line(), column: span.start.col() + 1, message }
}

fn scan_error(error: &ScanError) -> YamlError {
    let at = error.marker();
    YamlError { line: at.line(), column: at.col() + 1, message: error.info().to_owned() }
}

#[cfg(test)]
mod tests;
