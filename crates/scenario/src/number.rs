//! Numbers as people type them: `10000`, `10k`, `1_000`, `2.5M`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Reads a number with optional underscores between digits and an optional suffix `k` or `M`.
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

/// A part of a whole, in hundredths of a per cent, as in `99.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    const WHOLE: u64 = 10_000;

    pub(crate) fn hundredths(self) -> u64 {
        self.0
    }

    /// Whether `number`, counted from 0, belongs to the share, whose members are spread evenly.
    pub fn has(self, number: u64) -> bool {
        // The remainder keeps the products small.
        let number = number % Self::WHOLE;
        (number + 1) * self.0 / Self::WHOLE > number * self.0 / Self::WHOLE
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let per_cent = text.trim().strip_suffix('%').and_then(parse).filter(|share| *share <= 100.0);
        let per_cent =
            per_cent.ok_or_else(|| format!("`{text}` is not a share; expected one such as 99.5%"))?;
        Ok(Self((per_cent * 100.0).round() as u64))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}%", self.0 as f64 / 100.0)
    }
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

    #[test]
    fn a_share_has_its_part_of_any_hundred_in_a_row() {
        for (text, of_hundred) in [("0%", 0), ("1%", 1), ("20%", 20), ("33%", 33), ("99%", 99), ("100%", 100)]
        {
            let share: Share = text.parse().unwrap();
            assert_eq!(share.to_string(), text);
            for first in [0_u64, 100, 9_900, 1_000_000] {
                let members = (first..first + 100).filter(|number| share.has(*number)).count();
                assert_eq!(members, of_hundred, "{text} of {first} and the next");
            }
        }
        assert_eq!("99.5%".parse::<Share>().unwrap().to_string(), "99.5%");
        for text in ["20", "101%", "-1%", "%", "many%", ""] {
            assert!(text.parse::<Share>().unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
    }
}
