//! Numbers as people type them: `10000`, `10k`, `1_000`, `2.5M`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Reads a number with underscores between its digits and `k` or `M` behind it.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    let well_formed = digits.starts_with(|first: char| first.is_ascii_digit())
        && !digits.ends_with('_')
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '_');
    let number: f64 = digits.replace('_', "").parse().ok().filter(|_| well_formed)?;
    Some(number * factor)
}

/// Reads a whole number, such as `10000`, `10k` or `1_000`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    parse(text)
        .filter(|number| number.fract() == 0.0 && *number <= 1e15)
        .map(|number| number as u64)
        .ok_or_else(|| format!("`{text}` is not a whole number; expected one such as 10000, 10k or 1_000"))
}

/// For serde: a number, or a text in this grammar.
pub(crate) mod count {
    use super::{Deserialize, Deserializer, Error, Serializer, parse_count};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(count: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*count)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => parse_count(&text).map_err(D::Error::custom),
            value => {
                value.as_u64().ok_or_else(|| D::Error::custom(format!("`{value}` is not a whole number")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, count) in
            [("10000", 10_000), ("10k", 10_000), ("1_000", 1_000), ("2.5M", 2_500_000), ("0", 0)]
        {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "k", "_1", "1_", "-1", "1.5", "1e3", "ten", "1 000", "99999999999999999999"] {
            let error = parse_count(text).expect_err(text);
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
