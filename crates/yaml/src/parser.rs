//! Turns a YAML parser's events into JSON and positions.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_json::{Map, Value};

use crate::{
    Document, Error, Marks, Position,
    marks::{Inside, MarksByKey},
    scalar,
    text::{TAB_INDENTS, checked, tab_indented, with_spaces_after_colon, with_spaces_for_tabs},
};

/// The maximum nesting of mappings and lists.
const DEPTH_MAX: usize = 100;
/// The maximum number of values in a file.
const VALUES_MAX: usize = 2_000_000;
/// The maximum number of values that aliases and merges may repeat; every 64 bytes of text count as one more.
const REPEATED_MAX: usize = 200_000;

/// The maximum number of colons followed by tabs in a file; each costs another pass.
const TABBED_MAX: usize = 64;

/// All documents of a text.
pub(crate) fn documents(origin: &str, text: &str) -> Result<Vec<Document>, Error> {
    let mut text = with_spaces_for_tabs(checked(origin, text)?);
    let mut failed = None;
    for _ in 0..TABBED_MAX {
        let mut builder =
            Builder { parser: Parser::new_from_str(&text), anchors: BTreeMap::new(), values: 0, repeated: 0 };
        let (position, fault) = match builder.stream(origin) {
            Ok(documents) => return Ok(documents),
            Err(failed) => failed,
        };
        let spaced = match &fault {
            Fault::Syntax(_) => with_spaces_after_colon(&text, position),
            Fault::Content(_) => None,
        };
        failed = Some((position, fault));
        match spaced {
            Some(spaced) => text = Cow::Owned(spaced),
            None => break,
        }
    }
    let (position, fault) = failed.unwrap_or((Position { line: 1, column: 1 }, Fault::Syntax(String::new())));
    let (position, message) = match (fault, tab_indented(&text, position.line)) {
        (Fault::Syntax(_), Some(tab)) => (tab, TAB_INDENTS.to_owned()),
        (Fault::Syntax(message), None) => (position, format!("not YAML: {message}")),
        (Fault::Content(message), _) => (position, message),
    };
    Err(Error { origin: origin.to_owned(), position: Some(position), path: String::new(), message })
}

/// An error at a position.
#[derive(Debug)]
enum Fault {
    Syntax(String),
    Content(String),
}

type Failed = (Position, Fault);

struct Builder<'input> {
    parser: Parser<'input, StrInput<'input>>,
    anchors: BTreeMap<usize, Value>,
    values: usize,
    repeated: usize,
}

/// A key of a mapping.
enum Key {
    Name(String),
    /// `<<`
    Merge,
}

impl<'input> Builder<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), Failed> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn stream(&mut self, origin: &str) -> Result<Vec<Document>, Failed> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(_) => self.anchors.clear(),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                event => {
                    let (value, marks) = self.value(event, &span, 0)?;
                    documents.push(Document { value, marks, origin: origin.to_owned() });
                }
            }
        }
    }

    /// The value that begins with `event`.
    fn value(&mut self, event: Event<'input>, span: &Span, depth: usize) -> Result<(Value, Marks), Failed> {
        if depth > DEPTH_MAX {
            return Err(content(span, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(content(span, format!("more than {VALUES_MAX} values")));
        }
        let (value, inside, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::resolve(&text, style == ScalarStyle::Plain, tag.as_deref())
                    .map_err(|message| content(span, message))?;
                (value, Inside::Nothing, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let (list, marks) = self.sequence(depth)?;
                (Value::Array(list), Inside::List(marks), anchor)
            }
            Event::MappingStart(anchor, _) => {
                let (map, marks) = self.mapping(depth)?;
                (Value::Object(map), Inside::Mapping(marks), anchor)
            }
            Event::Alias(anchor) => {
                let Some(value) = self.anchors.get(&anchor) else {
                    return Err(content(span, "an alias inside of what it stands for".to_owned()));
                };
                let weight = weight(value);
                let value = value.clone();
                self.repeat(weight, span)?;
                (value, Inside::Nothing, 0)
            }
            _ => return Err(content(span, "expected a value".to_owned())),
        };
        if anchor != 0 {
            self.repeat(weight(&value), span)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok((value, Marks { at: Some(start(span)), inside }))
    }

    fn sequence(&mut self, depth: usize) -> Result<(Vec<Value>, Vec<Marks>), Failed> {
        let (mut list, mut marks) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((list, marks));
            }
            let (value, mark) = self.value(event, &span, depth + 1)?;
            list.push(value);
            marks.push(mark);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<(Map<String, Value>, MarksByKey), Failed> {
        let (mut map, mut marks) = (Map::new(), BTreeMap::new());
        let mut given = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((map, marks));
            }
            let key = self.key(event, &span, depth)?;
            let (event, value_span) = self.next()?;
            let (value, mut mark) = self.value(event, &value_span, depth + 1)?;
            match key {
                Key::Name(name) => {
                    if !given.insert(name.clone()) {
                        return Err(content(&span, format!("the key {name} is given twice")));
                    }
                    // A key and its value may be on different lines; users look for the key.
                    mark.at = Some(start(&span));
                    marks.insert(name.as_str().into(), mark);
                    map.insert(name, value);
                }
                Key::Merge => {
                    let merged = merge(&mut map, value).map_err(|message| content(&value_span, message))?;
                    for name in merged {
                        marks.remove(name.as_str());
                    }
                }
            }
        }
    }

    fn key(&mut self, event: Event<'input>, span: &Span, depth: usize) -> Result<Key, Failed> {
        if let Event::Scalar(text, ScalarStyle::Plain, _, None) = &event
            && text == "<<"
        {
            return Ok(Key::Merge);
        }
        match self.value(event, span, depth + 1)?.0 {
            Value::String(name) => Ok(Key::Name(name)),
            Value::Bool(name) => Ok(Key::Name(name.to_string())),
            Value::Number(name) if !name.is_f64() => Ok(Key::Name(name.to_string())),
            // `{{ .Values.x }}`, which other programs fill in first.
            Value::Object(_) => Err(content(
                span,
                "expected a name as key, got a mapping; quote it, or render the file first if this is a template \
                 (helm template)"
                    .to_owned(),
            )),
            other => Err(content(span, format!("expected a name as key, got {}; quote it", kind(&other)))),
        }
    }

    fn repeat(&mut self, weight: usize, span: &Span) -> Result<(), Failed> {
        self.repeated = self.repeated.saturating_add(weight);
        if self.repeated > REPEATED_MAX {
            return Err(content(span, format!("aliases repeat more than {REPEATED_MAX} values")));
        }
        Ok(())
    }
}

/// `<<: *base` overwrites earlier keys of the mapping, as in go-yaml 2; in a list the first mapping wins. Returns the
/// names that it wrote.
fn merge(map: &mut Map<String, Value>, value: Value) -> Result<Vec<String>, String> {
    let mut merged = Vec::new();
    let mut write = |value: Value| match value {
        Value::Object(from) => {
            merged.extend(from.keys().cloned());
            map.extend(from);
            Ok(())
        }
        other => Err(format!("<< merges mappings, got {}", kind(&other))),
    };
    match value {
        Value::Array(list) => list.into_iter().rev().try_for_each(write)?,
        value => write(value)?,
    }
    Ok(merged)
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(weight).sum::<usize>(),
        Value::Object(map) => {
            1 + map.iter().map(|(key, value)| key.len() / 64 + weight(value)).sum::<usize>()
        }
        Value::String(text) => 1 + text.len() / 64,
        _ => 1,
    }
}

pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        scalar => scalar.to_string(),
    }
}

fn start(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn content(span: &Span, message: String) -> Failed {
    (start(span), Fault::Content(message))
}

fn scan_error(error: &ScanError) -> Failed {
    let at = error.marker();
    (Position { line: at.line(), column: at.col() + 1 }, Fault::Syntax(error.info().to_owned()))
}
