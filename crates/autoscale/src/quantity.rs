//! Kubernetes quantities: `5k`, `0.5`, `300Mi`, `1e3`.
//!
//! A quantity is a decimal number with a sign and a suffix. The autoscaler reads it in two ways only: as a whole
//! number of milli-units ([`Quantity::milli`]) and, where it is a tolerance, as a double ([`Quantity::as_f64`]).
//! Both are what the controller sees *after* the API server stored the object, which rewrites the text in a
//! canonical form first; the double depends on that form (`0.7` is stored as `700m` and read as 700 × 0.001).
//!
//! Limits: a value must fit 64-bit milli-units (about ±9.2 × 10^15 units), otherwise it is refused. Upstream accepts
//! it, and its `MilliValue` overflows without an error. Below a nano-unit, values are rounded away from zero, as
//! upstream does.
//!
//! Source: `k8s.io/apimachinery` v0.34, `pkg/api/resource`: `ParseQuantity`, `CanonicalizeBytes`, `MilliValue`,
//! `AsApproximateFloat64`.

mod number;
mod text;

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use number::Number;
pub use text::ParseQuantityError;

/// A parsed quantity, in the form in which the API server stores it.
///
/// Equality compares the value in milli-units, not the spelling: `1000m` equals `1`.
#[derive(Debug, Clone)]
pub struct Quantity {
    milli: i64,
    approximate: f64,
    canonical: String,
}

impl Quantity {
    /// A quantity of that many thousandths, written with decimal suffixes.
    pub fn from_milli(milli: i64) -> Self {
        let number = Number::from_milli(milli);
        Self { milli, approximate: number.approximate(), canonical: number.canonical() }
    }

    /// The value in thousandths of a unit; a smaller remainder is rounded away from zero.
    pub fn milli(&self) -> i64 {
        self.milli
    }

    /// The value as a double, by upstream's order of operations (`AsApproximateFloat64`).
    pub fn as_f64(&self) -> f64 {
        self.approximate
    }

    /// Whether it is stored with a binary suffix: `300Mi`.
    pub(crate) fn is_binary(&self) -> bool {
        self.canonical.ends_with('i')
    }

    /// The sign: -1, 0 or 1.
    pub fn signum(&self) -> i64 {
        // Rounding goes away from zero, so the sign survives it.
        self.milli.signum()
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    /// Reads a quantity. White space is not allowed here; manifests may have it around the text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let written = Number::parse(text)?;
        // First of all: a value that fits is safe to rewrite.
        written.milli().ok_or(ParseQuantityError::OutOfRange)?;
        let (stored, canonical) = if written.kept {
            (written, text.to_owned())
        } else {
            let canonical = written.canonical();
            (Number::parse(&canonical)?, canonical)
        };
        let milli = stored.milli().ok_or(ParseQuantityError::OutOfRange)?;
        Ok(Self { milli, approximate: stored.approximate(), canonical })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.canonical)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.milli == other.milli
    }
}

impl Eq for Quantity {}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.canonical)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QuantityVisitor)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)";
        let suffix = "(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?";
        json_schema!({"type": ["string", "number"], "pattern": format!(r"^\s*{number}{suffix}\s*$")})
    }
}

/// Accepts what the API server's JSON decoder accepts: a text, with white space around it, or a bare number.
struct QuantityVisitor;

impl de::Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as 5k, 0.5 or 300Mi")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.trim().parse().map_err(|error| E::custom(format_args!("`{text}` is not a quantity: {error}")))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests;
