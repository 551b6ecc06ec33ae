//! Turns bytes into text, and names the wrong encodings that editors leave behind.

use std::borrow::Cow;

use crate::{Error, Position};

/// The text of a file's bytes: UTF-8, with or without a byte order mark.
pub fn decode(origin: &str, bytes: Vec<u8>) -> Result<String, Error> {
    let error = |position: Option<Position>, message: &str| Error {
        origin: origin.to_owned(),
        position,
        path: String::new(),
        message: message.to_owned(),
    };
    let zeros =
        |skip: usize| bytes.len() >= 4 && bytes.iter().take(64).skip(skip).step_by(2).all(|byte| *byte == 0);
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || zeros(0) || zeros(1) {
        return Err(error(None, "the text is UTF-16; save it as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|wrong| {
        let valid = wrong.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&wrong.as_bytes()[..valid]);
        let message = format!(
            "the byte 0x{:02x} is not UTF-8 (the text may be Latin-1 or Windows-1252); save it as UTF-8",
            wrong.as_bytes()[valid]
        );
        error(Some(position_after(&before)), &message)
    })
}

/// The position right after a text.
fn position_after(text: &str) -> Position {
    let line = text.rsplit('\n').next().unwrap_or_default();
    Position { line: text.matches('\n').count() + 1, column: line.chars().count() + 1 }
}

/// The text without a byte order mark; an error at the first character that YAML does not allow.
pub(crate) fn checked<'a>(origin: &str, text: &'a str) -> Result<&'a str, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let error = |position: Position, message: String| {
        Err(Error { origin: origin.to_owned(), position: Some(position), path: String::new(), message })
    };
    if let Some((at, wrong)) = text.char_indices().find(|(_, character)| !is_allowed(*character)) {
        let message = format!("the character U+{:04X} is not allowed in YAML", u32::from(wrong));
        return error(position_after(&text[..at]), message);
    }
    let is_json = text.trim_start().starts_with(['{', '[']);
    let first =
        text.lines().enumerate().find(|(_, line)| !matches!(line.trim().chars().next(), None | Some('#')));
    let blank = |line: &str| line.len() - line.trim_start().len();
    if let Some((index, line)) = first
        && let Some(tab) = line[..blank(line)].find('\t').filter(|_| !is_json)
    {
        return error(Position { line: index + 1, column: tab + 1 }, TAB_INDENTS.to_owned());
    }
    Ok(text)
}

/// `c-printable` of YAML 1.1.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
}

/// JSON may be indented with tabs, which the parser accepts only in some places: they become spaces.
pub(crate) fn with_spaces_for_tabs(text: &str) -> Cow<'_, str> {
    if !text.contains('\t') || !text.trim_start().starts_with(['{', '[']) {
        return Cow::Borrowed(text);
    }
    let (mut quoted, mut escaped) = (false, false);
    let spaced = text.chars().map(|character| {
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        if character == '\t' && !quoted { ' ' } else { character }
    });
    Cow::Owned(spaced.collect())
}

/// Replaces tabs between a colon and the position where the parser stopped by spaces; `None`: there are no tabs.
pub(crate) fn with_spaces_after_colon(text: &str, stopped: Position) -> Option<String> {
    let line = text.split_inclusive('\n').nth(stopped.line - 1)?;
    let column = line.char_indices().nth(stopped.column - 1).map_or(line.len(), |(at, _)| at);
    let blanks = line[..column].trim_end_matches([' ', '\t']).len();
    if !line[..blanks].ends_with(':') || !line[blanks..column].contains('\t') {
        return None;
    }
    let begin = text.split_inclusive('\n').take(stopped.line - 1).map(str::len).sum::<usize>();
    let mut spaced = text.to_owned();
    spaced.replace_range(begin + blanks..begin + column, &" ".repeat(column - blanks));
    Some(spaced)
}

pub(crate) const TAB_INDENTS: &str = "a tab indents this line; YAML takes spaces only";

/// A tab that indents `line` (from 1) or a neighbouring line: the most likely cause of the syntax error.
pub(crate) fn tab_indented(text: &str, line: usize) -> Option<Position> {
    text.lines().enumerate().skip(line.saturating_sub(2)).take(3).find_map(|(index, line)| {
        let content = line.trim_start_matches([' ', '\t']);
        let tab = line[..line.len() - content.len()].find('\t')?;
        (!content.is_empty()).then_some(Position { line: index + 1, column: tab + 1 })
    })
}
