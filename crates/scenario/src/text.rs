//! Values that are written as text in files and on the wire, in the grammar of the command line.

/// Implements `Serialize` and `Deserialize` by `Display` and `FromStr`.
macro_rules! written_as_text {
    ($($name:ty),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

written_as_text!(
    crate::Every,
    crate::Expect,
    crate::Expectation,
    crate::Payload,
    crate::Rate,
    crate::action::Happening,
    crate::fit::Requirement
);
