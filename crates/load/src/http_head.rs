//! The head of an HTTP answer.

use std::time::Duration;

use scenario::escape;

use crate::{recognise, websocket::close::HINT_MAX};

/// A longer head is rejected.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Maximum length of a line in a message.
pub(crate) const SHOWN: usize = 120;
const HTTP: &[u8] = b"HTTP/1.";

/// A head, as far as it has arrived.
pub(crate) enum Parsed<'a> {
    /// Incomplete so far.
    Partial,
    Whole(Head<'a>),
    /// Not a head of HTTP; says why.
    Wrong(String),
}

pub(crate) struct Head<'a> {
    pub(crate) status: u16,
    /// The body follows after this many bytes.
    pub(crate) length: usize,
    /// With the beginning of the body, if that has arrived.
    bytes: &'a [u8],
    headers: Vec<httparse::Header<'a>>,
}

/// An answer with a status that means no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The first line and when to come back, escaped.
    pub(crate) line: String,
    /// The beginning of the body, escaped, if it says something.
    pub(crate) body: Option<String>,
    pub(crate) retry: Option<Duration>,
}

/// Parses an answer. `what`: its name in an error.
pub(crate) fn parse<'a>(bytes: &'a [u8], what: &str) -> Parsed<'a> {
    let begun = bytes.len().min(HTTP.len());
    if bytes[..begun] != HTTP[..begun] {
        return Parsed::Wrong(format!("{what} is not HTTP: {}", recognise::shown(first_line(bytes))));
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => {
            let (status, headers) = (response.code.unwrap_or_default(), response.headers.to_vec());
            Parsed::Whole(Head { status, length, bytes, headers })
        }
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => Parsed::Partial,
        Ok(httparse::Status::Partial) => {
            Parsed::Wrong(format!("{what} has more than {HEAD_MAX} bytes of headers"))
        }
        Err(error) => Parsed::Wrong(format!("{what} cannot be read: {error}: {}", shown_line(bytes))),
    }
}

impl<'a> Head<'a> {
    /// The values of the headers of this name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii())
    }

    /// The first of them.
    pub(crate) fn one(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    pub(crate) fn refusal(&self) -> Refusal {
        let after = self.one("Retry-After");
        let retry = after.and_then(|value| {
            let seconds = std::str::from_utf8(value).ok()?.parse().ok()?;
            Some(Duration::from_secs(seconds)).filter(|after| *after <= HINT_MAX)
        });
        let after = after.map(|value| format!(", Retry-After: {}", escape(value))).unwrap_or_default();
        let is_chunked = self.one("Transfer-Encoding").is_some();
        let body = recognise::reason(&self.bytes[self.length..]).filter(|_| !is_chunked);
        Refusal { status: self.status, line: shown_line(self.bytes) + &after, body, retry }
    }
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    &line[..line.len().min(SHOWN)]
}

/// The first line, escaped.
fn shown_line(bytes: &[u8]) -> String {
    escape(first_line(bytes).trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(bytes: &[u8]) -> String {
        match parse(bytes, "the answer") {
            Parsed::Wrong(why) => why,
            Parsed::Partial => panic!("partial"),
            Parsed::Whole(head) => panic!("a head of {} bytes", head.length),
        }
    }

    #[test]
    fn what_is_no_head_of_http_is_named() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(HEAD_MAX));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
        for (bytes, words) in [
            ("SSH-2.0-x\r\n", "the answer is not HTTP: `SSH-2.0-x\\r`: this port speaks SSH"),
            ("GET / HTTP/1.1\r\n", "the answer is not HTTP: `GET / HTTP/1.1"),
            ("HTTP/1.1 abc\r\n\r\n", "the answer cannot be read: "),
            (&endless, "the answer has more than 16384 bytes of headers"),
            (&many, "too many headers"),
        ] {
            assert!(wrong(bytes.as_bytes()).contains(words), "{}", wrong(bytes.as_bytes()));
        }
        for partial in ["", "HT", "HTTP/1.1 200 OK\r\nX: y\r\n"] {
            assert!(matches!(parse(partial.as_bytes(), "the answer"), Parsed::Partial), "{partial}");
        }
    }

    fn refusal(text: &str) -> Refusal {
        match parse(text.as_bytes(), "the answer") {
            Parsed::Whole(head) => head.refusal(),
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn a_refusal_has_its_hint_and_the_beginning_of_its_text() {
        let expected = Refusal {
            status: 503,
            line: "HTTP/1.1 503 Service Unavailable, Retry-After: 3".to_owned(),
            body: Some("too many".to_owned()),
            retry: Some(Duration::from_secs(3)),
        };
        assert_eq!(refusal("HTTP/1.1 503 Service Unavailable\r\nretry-after: 3 \r\n\r\ntoo many"), expected);
        let chunked = refusal("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ntoo many");
        assert_eq!((chunked.body, chunked.retry), (None, None));
        for (hint, shown) in [("Fri, 31 Dec 1999 23:59:59 GMT", "GMT"), ("3601", "3601"), ("x\u{9b}", "x\\")]
        {
            let refused = refusal(&format!("HTTP/1.1 503 No\r\nRetry-After: {hint}\r\n\r\n"));
            assert!(refused.retry.is_none() && refused.line.contains(shown), "{refused:?}");
            assert!(!refused.line.chars().any(char::is_control), "{refused:?}");
        }
    }
}
