//! Redis' wire format: requests are arrays of strings, or one line of words. Answers are in version 2, or in version 3 for
//! a client that asked for it (`HELLO 3`), which writes three things differently: nothing, messages and dictionaries.

/// The version in which a client reads answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Version {
    #[default]
    Two,
    Three,
}

/// Maximum number of words in a request.
pub(super) const WORDS_MAX: usize = 64 * 1024;
/// Maximum length of a word, and of a typed request line.
pub(super) const WORD_BYTES_MAX: usize = 8 * 1024 * 1024;
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Nothing, in version 3.
const NULL: &[u8] = b"_\r\n";

/// The start of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Incomplete,
    /// The words, and the number of bytes they took. No words: an empty line.
    Complete(Vec<&'a [u8]>, usize),
    /// The start of the next request is unknown.
    Broken(&'static str),
}

/// Reads one request.
pub(super) fn request(input: &[u8]) -> Request<'_> {
    match input.first() {
        None => Request::Incomplete,
        Some(b'*') => array(input),
        Some(_) => match line(input) {
            Line::Incomplete => Request::Incomplete,
            Line::TooLong => Request::Broken("too big inline request"),
            Line::Complete(text, used) => {
                let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                Request::Complete(words.collect(), used)
            }
        },
    }
}

fn array(input: &[u8]) -> Request<'_> {
    let (count, mut used) = match number(input) {
        Number::Is(count, used) => (count, used),
        Number::Incomplete => return Request::Incomplete,
        Number::Broken => return Request::Broken("invalid multibulk length"),
    };
    let Ok(count) = usize::try_from(count.max(0)) else {
        return Request::Broken("invalid multibulk length");
    };
    if count > WORDS_MAX {
        return Request::Broken("invalid multibulk length");
    }
    let mut words = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let rest = &input[used..];
        match rest.first() {
            None => return Request::Incomplete,
            Some(b'$') => {}
            Some(_) => return Request::Broken("expected '$'"),
        }
        let (length, head) = match number(rest) {
            Number::Is(length, head) => (length, head),
            Number::Incomplete => return Request::Incomplete,
            Number::Broken => return Request::Broken("invalid bulk length"),
        };
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= WORD_BYTES_MAX) else {
            return Request::Broken("invalid bulk length");
        };
        let Some(word) = rest.get(head..head + length + 2) else {
            return Request::Incomplete;
        };
        let Some(word) = word.strip_suffix(b"\r\n") else {
            return Request::Broken("a string does not end where it should");
        };
        words.push(word);
        used += head + length + 2;
    }
    Request::Complete(words, used)
}

enum Number {
    Incomplete,
    /// The value, and the number of bytes it took with its type and line end.
    Is(i64, usize),
    Broken,
}

/// The number after the type's byte.
fn number(input: &[u8]) -> Number {
    match line(input) {
        Line::Incomplete if input.len() > 32 => Number::Broken,
        Line::Incomplete => Number::Incomplete,
        Line::TooLong => Number::Broken,
        Line::Complete(text, used) => {
            let value = std::str::from_utf8(&text[1..]).ok().and_then(|digits| digits.parse().ok());
            value.map_or(Number::Broken, |value| Number::Is(value, used))
        }
    }
}

enum Line<'a> {
    Incomplete,
    /// The line without its end, and the number of bytes with it.
    Complete(&'a [u8], usize),
    TooLong,
}

fn line(input: &[u8]) -> Line<'_> {
    match input.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') {
        Some(end) => Line::Complete(input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]), end + 1),
        None if input.len() >= LINE_BYTES_MAX => Line::TooLong,
        None => Line::Incomplete,
    }
}

pub(super) fn simple(output: &mut Vec<u8>, text: &str) {
    output.extend_from_slice(format!("+{text}\r\n").as_bytes());
}

/// `text` begins with a word in capitals, such as `ERR`. Line ends in it would end the answer.
pub(super) fn error(output: &mut Vec<u8>, text: &str) {
    let text = text.replace(['\r', '\n'], " ");
    output.extend_from_slice(format!("-{text}\r\n").as_bytes());
}

pub(super) fn integer(output: &mut Vec<u8>, value: i64) {
    output.extend_from_slice(format!(":{value}\r\n").as_bytes());
}

pub(super) fn array_of(output: &mut Vec<u8>, count: usize) {
    output.extend_from_slice(format!("*{count}\r\n").as_bytes());
}

pub(super) fn bulk(output: &mut Vec<u8>, bytes: &[u8]) {
    output.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    output.extend_from_slice(bytes);
    output.extend_from_slice(b"\r\n");
}

/// A null array, `EXEC`'s answer when a watched key has changed.
pub(super) fn no_array(output: &mut Vec<u8>, version: Version) {
    output.extend_from_slice(match version {
        Version::Two => b"*-1\r\n",
        Version::Three => NULL,
    });
}

pub(super) fn nil(output: &mut Vec<u8>, version: Version) {
    output.extend_from_slice(match version {
        Version::Two => b"$-1\r\n",
        Version::Three => NULL,
    });
}

/// The beginning of a message, or of another answer that may come at any time.
pub(super) fn push_of(output: &mut Vec<u8>, count: usize, version: Version) {
    let kind = push(version) as char;
    output.extend_from_slice(format!("{kind}{count}\r\n").as_bytes());
}

/// How such an answer begins.
pub(super) fn push(version: Version) -> u8 {
    match version {
        Version::Two => b'*',
        Version::Three => b'>',
    }
}

/// The beginning of a dictionary: keys and values follow, in turn.
pub(super) fn map_of(output: &mut Vec<u8>, pairs: usize, version: Version) {
    match version {
        Version::Two => array_of(output, 2 * pairs),
        Version::Three => output.extend_from_slice(format!("%{pairs}\r\n").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complete<'a>(words: &[&'a str], used: usize) -> Request<'a> {
        Request::Complete(words.iter().map(|word| word.as_bytes()).collect(), used)
    }

    #[test]
    fn arrays_and_lines() {
        assert_eq!(request(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nrest"), complete(&["GET", "k"], 20));
        assert_eq!(request(b"get  k\r\nnext"), complete(&["get", "k"], 8));
        assert_eq!(request(b"ping\n"), complete(&["ping"], 5));
        assert_eq!(request(b"\r\n"), complete(&[], 2));
        assert_eq!(request(b"*0\r\n"), complete(&[], 4));
        assert_eq!(request(b"*-1\r\n"), complete(&[], 5));
    }

    #[test]
    fn unreadable_input_is_reported_early() {
        for bad in [
            &b"*x\r\n"[..],
            b"*99999999\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$99999999999\r\n",
            b"*1\r\n$1\r\nkk\r\n",
            b"*11111111111111111111111111111111111111",
        ] {
            assert!(matches!(request(bad), Request::Broken(_)), "{}", String::from_utf8_lossy(bad));
        }
        assert!(matches!(request(&vec![b'x'; LINE_BYTES_MAX]), Request::Broken(_)));
    }

    proptest! {
        #[test]
        fn written_frames_are_read_back_and_every_prefix_is_incomplete(
            words in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
        ) {
            let mut bytes = Vec::new();
            array_of(&mut bytes, words.len());
            for word in &words {
                bulk(&mut bytes, word);
            }
            for end in 0..bytes.len() {
                prop_assert_eq!(request(&bytes[..end]), Request::Incomplete);
            }
            let read = words.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(request(&bytes), Request::Complete(read, bytes.len()));
        }

        #[test]
        fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Request::Complete(_, used) = request(&bytes) {
                prop_assert!(used > 0 && used <= bytes.len());
            }
        }
    }
}
