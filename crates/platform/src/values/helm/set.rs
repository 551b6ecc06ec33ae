//! `--set` and its relatives: `name=value` pairs that write into a tree of values.
//!
//! The grammar follows `pkg/strvals` of Helm 3.22: `a.b=1,c[0]=x,d={1,2}`. A backslash takes the next
//! character as it is, so `\,` `\.` `\=` `\[` are ordinary. Odd input (a value missing at
//! the end, an index out of order) is treated as Helm treats it, because a chart must see the same values here as in a
//! cluster.

mod parser;

use serde_json::Value;

use super::Table;

/// Highest index of a list; as in Helm.
const INDEX_MAX: usize = 65_536;
/// Deepest nesting of names; as in Helm.
const DEPTH_MAX: usize = 30;

/// What a pair's value is.
pub enum Reading<'a> {
    /// `--set`: true, false, null and integers are recognised, the rest is text.
    Typed,
    /// `--set-string`: always text.
    Text,
    /// `--set-json`: a JSON value.
    Json,
    /// `--set-file`: the value names a file, whose content this gives.
    File(&'a mut dyn FnMut(&str) -> Result<String, String>),
    /// `--set-literal`: one pair; the value is everything after the `=`, without escapes.
    Literal,
}

/// Why the text of a flag could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SetError(String);

/// Writes the pairs of `text` into `values`.
///
/// After an error `values` contains everything before it.
pub fn set(values: &mut Table, text: &str, reading: Reading<'_>) -> Result<(), SetError> {
    parser::Parser::new(text, reading).run(values)
}

/// How `--set` reads a value: Helm recognises integers but not fractions, and treats `007` as text.
fn typed(text: String) -> Value {
    if text.eq_ignore_ascii_case("true") {
        return Value::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Value::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    if text == "0" {
        return Value::from(0);
    }
    if !text.starts_with('0')
        && let Ok(number) = text.parse::<i64>()
    {
        return Value::from(number);
    }
    Value::String(text)
}

#[cfg(test)]
mod tests;
