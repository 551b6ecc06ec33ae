//! The content of a message: bytes, written as text with escapes.

use std::{fmt, fmt::Write as _, str::FromStr};

/// Bytes to send. Written as text in which `\n`, `\r`, `\t`, `\0`, `\xNN` and `\\` have their usual meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Vec<u8>);

/// Why a text is not a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(r"`{0}` is not an escape; there are \n, \r, \t, \0, \xNN and \\ (a backslash itself)")]
pub struct PayloadError(String);

impl Payload {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl FromStr for Payload {
    type Err = PayloadError;

    fn from_str(text: &str) -> Result<Self, PayloadError> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('\\') {
            bytes.extend_from_slice(before.as_bytes());
            let wrong = || PayloadError(format!("\\{}", behind.chars().take(3).collect::<String>()));
            let mut characters = behind.chars();
            let byte = match characters.next().ok_or_else(wrong)? {
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                '0' => 0,
                '\\' => b'\\',
                'x' => {
                    let digits =
                        behind.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                    characters.by_ref().nth(1);
                    digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or_else(wrong)?
                }
                _ => return Err(wrong()),
            };
            bytes.push(byte);
            rest = characters.as_str();
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(Self(bytes))
    }
}

/// With the same escapes.
impl fmt::Display for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&escape(&self.0))
    }
}

impl Payload {
    /// In a line: a long one is cut, with its size instead of the rest.
    pub fn shown(&self) -> String {
        const WHOLE: usize = 64;
        const BEGINNING: usize = 40;
        match self.0.len() {
            0..=WHOLE => self.to_string(),
            bytes => {
                let beginning = &self.0[..BEGINNING];
                // A character that the cut would split is left out.
                let cut = std::str::from_utf8(beginning).map_or_else(
                    |error| if error.error_len().is_none() { error.valid_up_to() } else { BEGINNING },
                    str::len,
                );
                format!("{}… ({bytes} bytes)", escape(&beginning[..cut]))
            }
        }
    }
}

/// Bytes as text that can be shown and read back: everything except printable text is escaped.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\0' => text.push_str("\\0"),
                '\\' => text.push_str("\\\\"),
                character if character.is_control() => {
                    let mut utf8 = [0; 4];
                    hexadecimal(&mut text, character.encode_utf8(&mut utf8).as_bytes());
                }
                character => text.push(character),
            }
        }
        hexadecimal(&mut text, chunk.invalid());
    }
    text
}

fn hexadecimal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_payload_is_shown_by_its_beginning_and_its_size() {
        let whole = "a".repeat(64);
        assert_eq!(whole.parse::<Payload>().unwrap().shown(), whole);
        assert_eq!(Payload(vec![b'a'; 60_000]).shown(), format!("{}… (60000 bytes)", "a".repeat(40)));
        let split = format!("{}é", "a".repeat(39)).repeat(9);
        assert_eq!(Payload(split.into()).shown(), format!("{}… (369 bytes)", "a".repeat(39)));
        let binary = Payload(vec![0xff; 100]).shown();
        assert_eq!(binary, format!(r"{}… (100 bytes)", r"\xff".repeat(40)));
    }

    #[test]
    fn escapes_stand_for_their_bytes() {
        for (text, bytes) in [
            (r"msg:12345\n", &b"msg:12345\n"[..]),
            (r"\r\0\t\\", b"\r\0\t\\"),
            (r"\x00\xff\x41b", b"\x00\xffAb"),
            ("plain é", "plain é".as_bytes()),
            ("", b""),
        ] {
            assert_eq!(text.parse::<Payload>().unwrap().bytes(), bytes, "{text}");
        }
        for text in [r"\", r"\q", r"a\x4", r"\xzz", r"\xé", r"\u{1}"] {
            let error = text.parse::<Payload>().expect_err(text).to_string();
            assert!(error.contains("is not an escape") && error.contains('`'), "{error}");
        }
    }

    #[test]
    fn terminal_control_bytes_are_escaped() {
        assert_eq!(escape(b"\x1b]0;title\x07\n\xff"), r"\x1b]0;title\x07\n\xff");
        assert_eq!(escape("\u{9b}31m".as_bytes()), r"\xc2\x9b31m");
    }

    proptest! {
        #[test]
        fn shown_payloads_parse_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let payload = Payload::from(bytes);
            prop_assert_eq!(payload.to_string().parse::<Payload>().unwrap(), payload);
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Payload>();
        }
    }
}
