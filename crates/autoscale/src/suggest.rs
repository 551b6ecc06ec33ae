//! A guess at what was meant where a key is misspelt.

/// Below this similarity (Jaro-Winkler) a guess would only confuse.
const SIMILAR: f64 = 0.8;

/// From serde's message ("unknown field `a`, expected one of `b`, `c`") the known key nearest to the unknown one.
pub(crate) fn nearest_key(message: &str) -> Option<&str> {
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    // Every second piece stands between backticks.
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted
        .map(|known| (strsim::jaro_winkler(&unknown.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_key_that_was_meant() {
        let message = "unknown field `minReplica`, expected one of `minReplicas`, `maxReplicas`, `metrics`";
        assert_eq!(nearest_key(message), Some("minReplicas"));
    }

    #[test]
    fn does_not_guess_wildly() {
        assert_eq!(nearest_key("unknown field `zzz`, expected one of `minReplicas`, `metrics`"), None);
        assert_eq!(nearest_key("missing field `maxReplicas`"), None);
        assert_eq!(nearest_key("unknown field `"), None);
    }
}
