//! Text from outside (log records, errors, names) made safe to show: it cannot steer a terminal or forge a line.

use std::{borrow::Cow, fmt::Write as _};

/// `text` as one line, with terminal control characters escaped: `
/// `, `\x1b`, `\u{202e}`. Tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if !steers(character) {
            shown.push(character);
        } else if character.is_ascii_control() && !matches!(character, '\n' | '\r') {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{:02x}", u32::from(character));
        } else {
            shown.extend(character.escape_default());
        }
    }
    Cow::Owned(shown)
}

/// Control characters, line separators, and marks that change the direction of the text after them.
fn steers(character: char) -> bool {
    match character {
        '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("plain, with a tab\tand ünïcödé 1 → 2", "plain, with a tab\tand ünïcödé 1 → 2"),
            ("\u{1b}]0;title\u{7}", "\\x1b]0;title\\x07"),
            ("done\nplayctl: forged\r", "done\\nplayctl: forged\\r"),
            ("a\u{202e}b\u{2069}c\u{2028}d", "a\\u{202e}b\\u{2069}c\\u{2028}d"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("\0\u{7f}", "\\x00\\x7f"),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
        }
    }
}
