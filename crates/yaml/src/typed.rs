//! Turns JSON into the caller's type, with errors for users: the path of the value, and no names of Rust types.
//!
//! Null counts as absent, as when Go reads a struct.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer as _, Unexpected, Visitor,
};
use serde_json::{Map, Value};

use crate::{
    parser::kind,
    suggest::{UNKNOWN, unknown_key},
};

/// An unexpected value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeError {
    /// Such as `metrics[0].pods`; empty for the value itself.
    pub path: String,
    /// What was expected.
    pub message: String,
    /// The actual value.
    pub got: Option<String>,
}

impl TypeError {
    fn new(message: String, got: Option<String>) -> Self {
        Self { path: String::new(), message, got }
    }

    /// The message and the actual value.
    pub fn words(&self) -> String {
        match &self.got {
            // The value of an unknown key does not matter.
            Some(got) if !self.message.starts_with(UNKNOWN) => format!("{}, got {got}", self.message),
            _ => self.message.clone(),
        }
    }

    /// The same error with the path seen from the surrounding mapping.
    fn inside(mut self, key: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{separator}{}", self.path);
        self
    }

    fn at(self, index: usize) -> Self {
        self.inside(&format!("[{index}]"))
    }
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.words())
    }
}

impl std::error::Error for TypeError {}

impl de::Error for TypeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), None)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_value(found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = expectation(&expected.to_string());
        let quote =
            if wanted == "text" && !matches!(found, Unexpected::Unit | Unexpected::Map | Unexpected::Seq) {
                " in quotes"
            } else {
                ""
            };
        Self::new(format!("expected {wanted}{quote}"), Some(shown(found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(
            format!("expected {}", expectation(&expected.to_string())),
            Some(format!("{length} values")),
        )
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(one_of(expected), Some(format!("{variant:?}")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        // The visitor's caller knows the value and adds it.
        Self::new(unknown_key(field, expected), None)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key {field} is missing"), None)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("the key {field} is given twice"), None)
    }
}

fn one_of(names: &[&str]) -> String {
    format!("expected one of {}", names.join(", "))
}

/// serde's names for what it expects, in plain words.
fn expectation(expected: &str) -> String {
    let whole = |min: i128, max: i128| format!("a whole number from {min} to {max}");
    match expected {
        "i8" => whole(i8::MIN.into(), i8::MAX.into()),
        "i16" => whole(i16::MIN.into(), i16::MAX.into()),
        "i32" => whole(i32::MIN.into(), i32::MAX.into()),
        "u8" => whole(0, u8::MAX.into()),
        "u16" => whole(0, u16::MAX.into()),
        "u32" => whole(0, u32::MAX.into()),
        "i64" | "isize" | "i128" => "a whole number".to_owned(),
        "u64" | "usize" | "u128" => "a whole number from 0 on".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a string" | "string" | "str" | "a borrowed string" | "a character" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a map" => "a mapping of keys to values".to_owned(),
        _ if expected.starts_with("struct ") => "a mapping of keys to values".to_owned(),
        _ if expected.starts_with("tuple ") || expected.starts_with("a tuple") => "a list".to_owned(),
        _ if expected.starts_with("enum ") => "one of its names".to_owned(),
        _ if expected.starts_with("unit") => "null".to_owned(),
        own => own.to_owned(),
    }
}

fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(truth) => truth.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => number.to_string(),
        Unexpected::Str(text) => short(&format!("{text:?}")),
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// A value for a message, cut to a reasonable length.
fn short(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads a value as the caller's type.
pub fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, TypeError> {
    T::deserialize(Deserializer { value, top: false })
}

/// As [`typed`], for a whole document: top-level keys that begin with `x-` are ignored.
pub(crate) fn of_document<T: DeserializeOwned>(value: &Value) -> Result<T, TypeError> {
    T::deserialize(Deserializer { value, top: true })
}

#[derive(Clone, Copy)]
struct Deserializer<'de> {
    value: &'de Value,
    top: bool,
}

impl<'de> Deserializer<'de> {
    fn inner(value: &'de Value) -> Self {
        Self { value, top: false }
    }

    fn mapping<V: Visitor<'de>>(
        self,
        map: &'de Map<String, Value>,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        visitor.visit_map(Mapping { entries: map.iter(), fields, top: self.top, current: None })
    }
}

static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

impl<'de> de::Deserializer<'de> for Deserializer<'de> {
    type Error = TypeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Number(number) => {
                if let Some(number) = number.as_u64() {
                    visitor.visit_u64(number)
                } else if let Some(number) = number.as_i64() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(list) => visitor.visit_seq(List { values: list.iter(), index: 0 }),
            Value::Object(map) => self.mapping(map, None, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match self.value {
            Value::Object(map) => self.mapping(map, Some(fields), visitor),
            // An empty file, or an entry of a list without content: every key is absent.
            Value::Null => self.mapping(&EMPTY, Some(fields), visitor),
            // serde also reads a struct from a list of its values; nobody writes files like that.
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypeError> {
        match self.value {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            other => Err(TypeError::new(one_of(names), Some(kind(other)))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypeError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct List<'de> {
    values: std::slice::Iter<'de, Value>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for List<'de> {
    type Error = TypeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, TypeError> {
        let Some(value) = self.values.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Deserializer::inner(value)).map(Some).map_err(|error| error.at(index))
    }
}

struct Mapping<'de> {
    entries: serde_json::map::Iter<'de>,
    /// The keys of a struct; `None`: any key may be there.
    fields: Option<&'static [&'static str]>,
    top: bool,
    current: Option<(&'de String, &'de Value)>,
}

impl<'de> de::MapAccess<'de> for Mapping<'de> {
    type Error = TypeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TypeError> {
        for (key, value) in self.entries.by_ref() {
            if let Some(fields) = self.fields {
                let known = fields.contains(&key.as_str());
                if (known && value.is_null()) || (!known && self.top && key.starts_with("x-")) {
                    continue;
                }
            }
            self.current = Some((key, value));
            let name: de::value::StrDeserializer<'_, TypeError> = key.as_str().into_deserializer();
            return seed.deserialize(name).map(Some).map_err(|error| {
                let got = error.got.clone().or_else(|| Some(short(&kind(value))));
                TypeError { got, ..error }.inside(key)
            });
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, TypeError> {
        let Some((key, value)) = self.current.take() else {
            return Err(de::Error::custom("a key without a value"));
        };
        seed.deserialize(Deserializer::inner(value)).map_err(|error| error.inside(key))
    }
}
