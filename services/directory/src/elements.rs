//! The elements of a JSON array that arrives in pieces.

use serde::de::DeserializeOwned;

/// Maximum length of an element: a profile with the maximum number of users.
const ELEMENT_BYTES_MAX: usize = 1024 * 1024;

/// The part of an array that has arrived but not been taken.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    bytes: Vec<u8>,
    /// How many of these bytes were parsed.
    seen: usize,
    place: Place,
    /// Nesting depth, not counting the outer array.
    depth: usize,
    in_text: bool,
    escaped: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Before,
    /// At the start of an element, or at the end of the array.
    Begin,
    Within,
    After,
}

/// The input is not an array of such elements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("expected a JSON array, got {0:?}")]
    Unexpected(char),
    #[error("an element is longer than {ELEMENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("an element cannot be read: {0}")]
    Element(String),
    #[error("the array is incomplete")]
    CutOff,
}

impl Elements {
    /// Adds a piece, and passes each complete element to `take`.
    ///
    /// # Errors
    /// The input is not an array of these, or an element is too long.
    pub(crate) fn add<T: DeserializeOwned>(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(T),
    ) -> Result<(), Broken> {
        self.bytes.extend_from_slice(piece);
        let mut begin = 0;
        while let Some(&byte) = self.bytes.get(self.seen) {
            self.seen += 1;
            match self.place {
                Place::Before => match byte {
                    b'[' => (self.place, begin) = (Place::Begin, self.seen),
                    b' ' | b'\t' | b'\r' | b'\n' => {}
                    other => return Err(Broken::Unexpected(other.into())),
                },
                Place::Begin | Place::After if byte.is_ascii_whitespace() => begin = self.seen,
                Place::Begin if byte == b']' => (self.place, begin) = (Place::After, self.seen),
                Place::Begin | Place::Within => {
                    self.place = Place::Within;
                    if let Some(end) = self.ends_at(byte) {
                        let element = serde_json::from_slice(&self.bytes[begin..end]);
                        take(element.map_err(|error| Broken::Element(error.to_string()))?);
                        begin = self.seen;
                        self.place = if byte == b']' { Place::After } else { Place::Begin };
                    }
                }
                Place::After => return Err(Broken::Unexpected(byte.into())),
            }
        }
        self.bytes.drain(..begin);
        self.seen -= begin;
        if self.bytes.len() > ELEMENT_BYTES_MAX { Err(Broken::TooLong) } else { Ok(()) }
    }

    /// The end of the current element, if this byte, the last one seen, comes after it.
    fn ends_at(&mut self, byte: u8) -> Option<usize> {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return None;
        }
        match byte {
            b'"' => self.in_text = true,
            b'[' | b'{' => self.depth += 1,
            b',' | b']' if self.depth == 0 => return Some(self.seen - 1),
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        None
    }

    /// # Errors
    /// The end of the array is missing.
    pub(crate) fn finish(&self) -> Result<(), Broken> {
        if self.place == Place::After { Ok(()) } else { Err(Broken::CutOff) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// All elements, if the text arrives in pieces of this length.
    fn elements(text: &str, piece: usize) -> Result<Vec<Value>, Broken> {
        let (mut elements, mut all) = (Elements::default(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            elements.add(piece, |element| all.push(element))?;
        }
        elements.finish()?;
        Ok(all)
    }

    #[test]
    fn elements_are_found_however_the_text_is_cut() {
        let all = [
            json!({"a": [1, {"b": "],}{[\"\\"}]}),
            json!("x,]"),
            json!([]),
            json!(1),
            json!(null),
            json!("ü"),
        ];
        let text = serde_json::to_string(&all).unwrap();
        let spaced = serde_json::to_string_pretty(&all).unwrap() + "\n";
        for text in [text, spaced] {
            for piece in 1..=text.len() {
                assert_eq!(elements(&text, piece).unwrap(), all, "{piece}: {text}");
            }
        }
        for empty in ["[]", " [ ] \n"] {
            assert!(elements(empty, 1).unwrap().is_empty());
        }
    }

    #[test]
    fn anything_but_an_array_is_refused() {
        for (text, broken) in [
            ("{}", Broken::Unexpected('{')),
            ("[]]", Broken::Unexpected(']')),
            ("[1] x", Broken::Unexpected('x')),
            ("", Broken::CutOff),
            ("[1,2", Broken::CutOff),
            ("[\"]", Broken::CutOff),
        ] {
            for piece in [1, 100] {
                assert_eq!(elements(text, piece), Err(broken.clone()), "{text}");
            }
        }
        for text in ["[,]", "[1,,2]", "[{]", "[x]", "[1 2]"] {
            let told = elements(text, 1).unwrap_err();
            assert!(matches!(told, Broken::Element(_) | Broken::CutOff), "{text}: {told}");
        }
        let endless = format!("[\"{}", "x".repeat(ELEMENT_BYTES_MAX));
        assert_eq!(elements(&endless, 4096), Err(Broken::TooLong));
    }

    #[test]
    fn taken_elements_need_no_memory() {
        let mut elements = Elements::default();
        elements.add(b"[", |_: Value| {}).unwrap();
        for _ in 0..10_000 {
            elements.add(b"{\"id\": 1234567890},", |_: Value| {}).unwrap();
            assert!(elements.bytes.is_empty());
        }
    }
}
