//! Values that are written as text in files and on the wire, in the grammar of the command line.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::de::{Error, Visitor};

/// Reads a text by its `FromStr`. Contains the expected format, for errors about values of another type.
struct AsText<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for AsText<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Implements `Serialize` and `Deserialize` by `Display` and `FromStr`.
macro_rules! written_as_text {
    ($($name:ty: $expected:literal),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(AsText($expected, PhantomData))
            }
        }
    )+};
}

written_as_text!(
    crate::Every: "a duration such as 1s, or never",
    crate::Expect: "echo, any or none",
    crate::Expectation: "an expectation such as `lost = 0` or `tcp 1 → 2`",
    crate::Payload: "text in quotes",
    crate::Policy: "backoff, jitter or none",
    crate::Share: "a share such as 20%",
    crate::Rate: "an interval such as 5ms or a frequency such as 200/s",
    crate::action::Happening: "an event such as `ramp done` or `tcp 1 → 2`",
    crate::fit::Requirement: "a value such as tcp.replicas=3",
);
