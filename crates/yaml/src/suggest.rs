//! The key that the user probably meant.

use std::collections::BTreeSet;

/// The known name closest to `name`, if any is close enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Two swapped letters out of three are close enough: `tpc` is `tcp`.
    const ALIKE: f64 = 0.66;
    /// A longer name is not compared, which bounds the work.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    let likeness = |known: &str| {
        let known = known.to_lowercase();
        let likeness = strsim::normalized_damerau_levenshtein(&lower, &known);
        // Misspellings come before abbreviations.
        if likeness < ALIKE && is_shortened(&lower, &known) { ALIKE } else { likeness }
    };
    known
        .into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// `usr` abbreviates `users`: letters are left out, but not the first one and at most half of them.
fn is_shortened(name: &str, known: &str) -> bool {
    let mut letters = known.chars();
    let in_order = name.chars().all(|letter| letters.any(|known| known == letter));
    let count = name.chars().count();
    in_order
        && count >= 3
        && count * 2 >= known.chars().count()
        && name.chars().next() == known.chars().next()
}

/// How the message about an unknown key begins.
pub const UNKNOWN: &str = "unknown key";

/// The message about a key that is not in `known`.
pub fn unknown_key(key: &str, known: &[&str]) -> String {
    nearest(key, known.iter().copied()).map_or_else(
        || {
            // Sorted, each once.
            let known = known.iter().copied().collect::<BTreeSet<_>>();
            format!("{UNKNOWN}; known here: {}", Vec::from_iter(known).join(", "))
        },
        |near| format!("{UNKNOWN}; did you mean {near}?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_and_shortened_names_are_found_and_others_are_not() {
        let known = ["users", "rate", "of", "answer", "connections"];
        for (name, expected) in [
            ("usres", Some("users")),
            ("USERS", Some("users")),
            ("usr", Some("users")),
            ("rte", Some("rate")),
            ("cnnctns", Some("connections")),
            ("us", None),
            ("ser", None),
            ("cns", None),
            ("else", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest(&"users".repeat(20), known), None);
    }
}
