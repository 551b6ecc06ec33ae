//! What a value may be: how it is read, what is said if it is something else, and what Helm is told about it.

use std::{ops::RangeInclusive, time::Duration};

use autoscale::quantity::Quantity;
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::duration;

/// One kind of value.
pub(super) struct Rule<T> {
    /// What should be there, such as `a port from 1 to 65535`.
    pub(super) expected: String,
    /// The same as a JSON schema of draft 7. It always has a `type`, and refuses null.
    pub(super) schema: Value,
    pub(super) read: Read<T>,
}

type Read<T> = Box<dyn Fn(&Value) -> Option<T>>;

/// Most replicas of a service; a service's loopback network has 254 addresses.
pub(super) const REPLICAS_MAX: u32 = 250;
/// A number and a suffix that Kubernetes knows, nothing below zero.
const QUANTITY: &str =
    r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?$";
/// Units from hours to milliseconds, each at most once and in this order; none alone more than 30 days or finer than a
/// millisecond.
const DURATION: &str = concat!(
    r"^(0|((720|7[01][0-9]|[0-6]?[0-9]{1,2})(\.[0-9]{1,3})?h)?([0-9]{1,4}(\.[0-9]{1,3})?m)?",
    r"([0-9]{1,6}(\.[0-9]{1,3})?s)?([0-9]{1,9}ms)?)$",
);

impl<T: 'static> Rule<T> {
    pub(super) fn new(
        expected: impl Into<String>,
        schema: Value,
        read: impl Fn(&Value) -> Option<T> + 'static,
    ) -> Self {
        Self { expected: expected.into(), schema, read: Box::new(read) }
    }

    /// The schema, with what is expected in words.
    pub(super) fn described(&self) -> Value {
        let mut schema = self.schema.clone();
        schema["description"] = self.expected.as_str().into();
        schema
    }

    /// The same values, read as something else.
    pub(super) fn map<U: 'static>(self, change: impl Fn(T) -> U + 'static) -> Rule<U> {
        let Self { expected, schema, read } = self;
        Rule { expected, schema, read: Box::new(move |value| read(value).map(&change)) }
    }
}

pub(super) fn truth() -> Rule<bool> {
    Rule::new("true or false", json!({"type": "boolean"}), Value::as_bool)
}

pub(super) fn text() -> Rule<String> {
    Rule::new("text", json!({"type": "string"}), |value| value.as_str().map(str::to_owned))
}

/// Text of a certain shape. `pattern` is read alike by Go and by us: no look-around, no classes of Unicode.
pub(super) fn matching(expected: &str, pattern: &str) -> Rule<String> {
    let shape = Regex::new(pattern).expect("a pattern of ours is tested");
    Rule::new(expected, json!({"type": "string", "pattern": pattern}), move |value| {
        value.as_str().filter(|text| shape.is_match(text)).map(str::to_owned)
    })
}

/// An integer; YAML's `60.0` is one too, as it is to Helm, whose numbers are all floating.
pub(super) fn integer(range: RangeInclusive<u32>) -> Rule<u32> {
    let (least, most) = (*range.start(), *range.end());
    Rule::new(
        format!("an integer from {least} to {most}"),
        json!({"type": "integer", "minimum": least, "maximum": most}),
        move |value| {
            let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
            (f64::from(least)..=f64::from(most)).contains(&number).then_some(number as u32)
        },
    )
}

pub(super) fn port() -> Rule<u16> {
    let rule = integer(1..=u32::from(u16::MAX)).map(|port| port as u16);
    Rule { expected: "a port from 1 to 65535".to_owned(), ..rule }
}

/// One of several words.
pub(super) fn choice<T: Copy + 'static>(all: &[T], word: impl Fn(T) -> &'static str) -> Rule<T> {
    let all: Vec<(&str, T)> = all.iter().map(|one| (word(*one), *one)).collect();
    let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
    Rule::new(
        format!("one of {}", words.join(", ")),
        json!({"type": "string", "enum": words}),
        move |value| all.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, one)| *one),
    )
}

/// At least a millisecond.
pub(super) fn duration() -> Rule<Duration> {
    let Rule { mut schema, read, .. } = duration_or_zero("");
    schema["allOf"] = json!([{"pattern": "[1-9]"}]);
    Rule::new("a duration above zero, such as 7s or 1m30s", schema, move |value| {
        read(value).filter(|duration| !duration.is_zero())
    })
}

pub(super) fn duration_or_zero(expected: &str) -> Rule<Duration> {
    let Rule { mut schema, read, .. } = matching("", DURATION);
    schema["minLength"] = 1.into();
    Rule::new(expected, schema, move |value| duration::parse(&read(value)?).ok())
}

pub(super) fn quantity() -> Rule<Quantity> {
    let shape = matching("", QUANTITY);
    let schema = json!({"type": ["string", "number"], "pattern": QUANTITY, "minimum": 0});
    Rule::new("a quantity of zero or more, such as 500m or 128Mi", schema, move |value| {
        let is_text = value.is_string();
        if is_text && (shape.read)(value).is_none() {
            return None;
        }
        serde_json::from_value::<Quantity>(value.clone()).ok().filter(|quantity| quantity.milli() >= 0)
    })
}

/// Where HTTP requests go.
pub(super) fn path() -> Rule<String> {
    matching("a path that begins with /", "^/")
}

/// What is not empty.
pub(super) fn name(expected: &str) -> Rule<String> {
    matching(expected, "^.")
}
