//! Redis' patterns for keys: `*`, `?`, `[abc]`, `[^a-z]`, and `\` as an escape.

/// Whether the whole key matches. Takes at most the product of both lengths.
pub(super) fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    // Where to resume if the part after the last `*` does not match: its position, and the next key byte that the `*`
    // absorbs.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, pos));
            continue;
        }
        let step = key.get(pos).and_then(|byte| one(&pattern[at..], *byte));
        if let Some(length) = step {
            (at, pos) = (at + length, pos + 1);
        } else if at == pattern.len() && pos == key.len() {
            return true;
        } else if let Some((after_star, from)) = retry.filter(|(_, from)| *from < key.len()) {
            retry = Some((after_star, from + 1));
            (at, pos) = (after_star, from + 1);
        } else {
            return false;
        }
    }
}

/// The length of the pattern's first element, if it takes `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let (negated, set) = match rest {
                [b'^', set @ ..] => (true, set),
                set => (false, set),
            };
            let (found, length) = in_set(set, byte);
            (found != negated).then_some(1 + usize::from(negated) + length)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether a set contains the byte, and the set's length including its `]`. An unterminated one extends to the
/// pattern's end.
fn in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let (mut at, mut found) = (0, false);
    loop {
        match &set[at..] {
            [] => return (found, at),
            [b']', ..] => return (found, at + 1),
            [b'\\', escaped, ..] => (found, at) = (found || *escaped == byte, at + 2),
            [from, b'-', to, ..] if *to != b']' => {
                let range = (*from).min(*to)..=(*from).max(*to);
                (found, at) = (found || range.contains(&byte), at + 3);
            }
            [literal, ..] => (found, at) = (found || *literal == byte, at + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_as_redis_documents_them() {
        for (pattern, key, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("WsSession#*", "WsSession#1", true),
            ("WsSession#*", "SseSession#1", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyyd", false),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("[ab", "b", true),
            ("a*", "b", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), key.as_bytes()), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn patterns_with_many_stars_are_matched_quickly() {
        assert!(!matches(&b"*a".repeat(2000), &b"a".repeat(1999)));
    }

    proptest! {
        #[test]
        fn a_key_matches_itself_escaped_and_with_any_part_starred(key in "[ -~]{0,20}", at in 0usize..20) {
            let escaped: String = key.chars().flat_map(|char| ['\\', char]).collect();
            prop_assert!(matches(escaped.as_bytes(), key.as_bytes()));
            let at = at.min(key.len()) * 2;
            let starred = format!("{}*", &escaped[..at]);
            prop_assert!(matches(starred.as_bytes(), key.as_bytes()));
            let longer = format!("{escaped}?");
            prop_assert!(!matches(longer.as_bytes(), key.as_bytes()));
        }
    }
}
