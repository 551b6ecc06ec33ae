//! Words in braces, which stand for something else.

/// The words in braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |name: &&str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let braced = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    braced.map(|(name, _)| name).filter(is_word)
}

/// What is expected instead of a placeholder that is not one of these, if there is one.
pub(crate) fn unknown_placeholder(text: &str, known: &[&str]) -> Option<String> {
    let unknown = placeholders(text).find(|name| !known.contains(name))?;
    let all: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
    let nearest = yaml::nearest(unknown, known.iter().copied());
    let hint = nearest.map(|name| format!("; did you mean {{{name}}}?")).unwrap_or_default();
    Some(format!("{} instead of {{{unknown}}}{hint}", all.join(", ")))
}
