//! Durations as Prometheus and Envoy write them: `7s`, `1m30s`, `500ms`.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Reads numbers with units, largest unit first; `None` for anything else, overflow included.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut millis = 0_u64;
    let mut below = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (name, unit) = UNITS.into_iter().find(|(name, _)| rest.starts_with(name))?;
        if unit >= below {
            return None;
        }
        below = unit;
        millis = millis.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[name.len()..];
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        for (text, millis) in
            [("7s", 7_000), ("1m", 60_000), ("1m30s", 90_000), ("500ms", 500), ("1h1ms", 3_600_001)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "7", "s", "1s1m", "1s1s", "-1s", "1.5s", "7 s", "1d", "99999999999999999999s"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
