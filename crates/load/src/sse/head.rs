//! The request for a stream, and the head of its answer.

use scenario::escape;

use super::body::Body;
use super::events::HOST_MAX;
use crate::http_head::{self, Parsed, Refusal, SHOWN};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Incomplete so far.
    Partial,
    /// The stream follows after `length` bytes. `host`: who answers, escaped, if named.
    Stream { length: usize, body: Body, host: Option<String> },
    /// With a status other than 200.
    Refused(Refusal),
    /// Not a stream of events; says why.
    Wrong(String),
}

/// `headers`: more of them, each with its line end. `last`: the ID of the last event, if there was one.
pub(crate) fn request(host: &str, path: &str, headers: &str, last: Option<&[u8]>) -> Vec<u8> {
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n\
         {headers}"
    )
    .into_bytes();
    if let Some(last) = last {
        request.extend_from_slice(b"Last-Event-ID: ");
        request.extend_from_slice(last);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// Parses an answer, as far as it has arrived.
pub(crate) fn read(head: &[u8]) -> Answer {
    let head = match http_head::parse(head, "the answer") {
        Parsed::Partial => return Answer::Partial,
        Parsed::Wrong(why) => return Answer::Wrong(why),
        Parsed::Whole(head) => head,
    };
    let (length, one) = (head.length, |name| head.one(name));
    if head.status != 200 {
        return Answer::Refused(head.refusal());
    }
    let kind = one("Content-Type").unwrap_or_default();
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !essence.eq_ignore_ascii_case(b"text/event-stream") {
        let kind = escape(&kind[..kind.len().min(SHOWN)]);
        return Answer::Wrong(format!("the answer is `{kind}` and not text/event-stream"));
    }
    let body = match (one("Transfer-Encoding"), one("Content-Length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case(b"chunked") => Body::chunked(),
        (Some(coding), _) => {
            let coding = escape(&coding[..coding.len().min(SHOWN)]);
            return Answer::Wrong(format!("the answer is encoded as `{coding}`, which was not requested"));
        }
        (None, Some(length)) => {
            match std::str::from_utf8(length).ok().and_then(|length| length.parse().ok()) {
                Some(length) => Body::of_length(length),
                None => {
                    return Answer::Wrong("the answer has a Content-Length that is not a number".to_owned());
                }
            }
        }
        (None, None) => Body::until_the_end(),
    };
    let host = one("Host-Name").filter(|host| (1..=HOST_MAX).contains(&host.len())).map(escape);
    Answer::Stream { length, body, host }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream;charset=UTF-8\r\ntransfer-encoding: chunked\r\n\r\n";

    #[test]
    fn a_stream_is_recognised_however_it_is_framed() {
        for end in 0..STREAM.len() {
            assert_eq!(read(&STREAM.as_bytes()[..end]), Answer::Partial, "{end}");
        }
        let chunked = Answer::Stream { length: STREAM.len(), body: Body::chunked(), host: None };
        assert_eq!(read(format!("{STREAM}5\r\n").as_bytes()), chunked);
        let other = "HTTP/1.0 200 Fine\r\nContent-Type: text/event-stream\r\n";
        for (more, body) in [("", Body::until_the_end()), ("Content-Length: 7\r\n", Body::of_length(7))] {
            let head = format!("{other}{more}\r\n");
            assert_eq!(read(head.as_bytes()), Answer::Stream { length: head.len(), body, host: None });
        }
    }

    #[test]
    fn the_host_is_known_before_the_first_event() {
        for (name, host) in [("stream-0", Some("stream-0")), ("", None), (&*"x".repeat(HOST_MAX + 1), None)] {
            let head = STREAM.replacen("\r\n", &format!("\r\nHost-Name: {name}\r\n"), 1);
            match read(head.as_bytes()) {
                Answer::Stream { host: said, .. } => assert_eq!(said.as_deref(), host),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn refusals_and_wrong_answers_are_told_apart() {
        let refused = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n";
        let expected = Refusal {
            status: 503,
            line: "HTTP/1.1 503 Service Unavailable, Retry-After: 3".to_owned(),
            body: None,
            retry: Some(Duration::from_secs(3)),
        };
        assert_eq!(read(refused.as_bytes()), Answer::Refused(expected));
        for (head, words) in [
            ("SSH-2.0-x\r\n", "is not HTTP: `SSH-2.0-x\\r`: this port speaks SSH"),
            (&STREAM.replace("event-stream", "html"), "`text/html;charset=UTF-8` and not text/event-stream"),
            (&STREAM.replace("chunked", "gzip"), "coded as `gzip`"),
            (&STREAM.replace("transfer-encoding: chunked", "content-length: many"), "not a number"),
        ] {
            match read(head.as_bytes()) {
                Answer::Wrong(why) => assert!(why.contains(words), "{why}"),
                other => panic!("{head}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_returning_client_sends_its_last_event_id() {
        let text = String::from_utf8(request("h:1", "/a", "X: y\r\n", Some(b"17"))).unwrap();
        assert!(text.starts_with("GET /a HTTP/1.1\r\nHost: h:1\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        assert!(text.contains("\r\nX: y\r\nLast-Event-ID: 17\r\n"), "{text}");
        assert!(!String::from_utf8(request("h:1", "/a", "", None)).unwrap().contains("Last-Event-ID"));
    }

    proptest! {
        #[test]
        fn any_answer_is_judged_and_escaped(
            bytes in prop_oneof!["HTTP/1\\.1 [0-9]{3} .{0,20}\r\n(.{0,10}: .{0,10}\r\n){0,3}\r\n", ".{0,60}"],
        ) {
            match read(bytes.as_bytes()) {
                Answer::Wrong(text) | Answer::Refused(Refusal { line: text, .. }) => {
                    prop_assert!(!text.chars().any(char::is_control), "{}", text);
                }
                Answer::Stream { .. } | Answer::Partial => {}
            }
        }
    }
}
