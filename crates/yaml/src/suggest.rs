//! The key that the user probably meant.

use std::collections::BTreeSet;

/// The known name closest to `name`, if any is close enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.7;
    /// Beyond this nothing is a misspelling; it bounds the work.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&lower, &known.to_lowercase());
    known
        .into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// The message about a key that is not in `known`.
pub fn unknown_key(key: &str, known: &[&str]) -> String {
    nearest(key, known.iter().copied()).map_or_else(
        || {
            // Sorted, each once.
            let known = known.iter().copied().collect::<BTreeSet<_>>();
            format!("unknown key; known here: {}", Vec::from_iter(known).join(", "))
        },
        |near| format!("unknown key; did you mean {near}?"),
    )
}
