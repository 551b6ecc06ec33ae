//! The handshake: an HTTP request and its answer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;
use scenario::escape;

use crate::http_head::{self, Parsed, Refusal};

/// The subprotocol that asks the server to say in a close reason when to reconnect.
const RETRY_HINT: &str = "retry-hint";
/// The server proves with it that it understood the request, RFC 6455 section 1.3.
const SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A longer server name is ignored.
const HOST_ID_MAX: usize = 128;

/// The answer to an upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Incomplete so far.
    Partial,
    /// Frames follow after `length` bytes.
    Accepted { length: usize, host: Option<String> },
    /// With a status other than 101.
    Refused(Refusal),
    /// Not a WebSocket server, or not a correct one; says why.
    Wrong(String),
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// If empty, ours.
    pub(crate) subprotocols: &'a [String],
    /// More headers, each with its line end.
    pub(crate) headers: &'a str,
}

impl Request<'_> {
    /// The bytes, with a key of 16 random bytes.
    pub(crate) fn bytes(self, key: [u8; 16]) -> Vec<u8> {
        let Self { host, path, subprotocols, headers } = self;
        let offered = if subprotocols.is_empty() { RETRY_HINT.to_owned() } else { subprotocols.join(", ") };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: {offered}\r\n{headers}\r\n",
            STANDARD.encode(key)
        )
        .into_bytes()
    }
}

fn accept(key: [u8; 16]) -> String {
    let text = [STANDARD.encode(key).as_bytes(), SALT].concat();
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// Parses an answer, as far as it has arrived. `subprotocols`: as in the request.
pub(crate) fn read(head: &[u8], key: [u8; 16], subprotocols: &[String]) -> Answer {
    let head = match http_head::parse(head, "the answer to the upgrade") {
        Parsed::Partial => return Answer::Partial,
        Parsed::Wrong(why) => return Answer::Wrong(why),
        Parsed::Whole(head) => head,
    };
    let (length, one) = (head.length, |name| head.one(name));
    if head.status != 101 {
        return Answer::Refused(head.refusal());
    }
    let has_token = |name, token: &str| {
        let tokens = head.all(name).flat_map(|value| value.split(|byte| *byte == b','));
        tokens.into_iter().any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    let wrong = |what: String| Answer::Wrong(format!("the answer to the upgrade is 101 but {what}"));
    if !has_token("Upgrade", "websocket") || !has_token("Connection", "upgrade") {
        return wrong("does not upgrade to websocket".to_owned());
    }
    let expected = accept(key);
    match one("Sec-WebSocket-Accept") {
        Some(given) if given == expected.as_bytes() => {}
        Some(given) => {
            return wrong(format!("its Sec-WebSocket-Accept is `{}` instead of `{expected}`", escape(given)));
        }
        None => return wrong("has no Sec-WebSocket-Accept".to_owned()),
    }
    if let Some(extension) = one("Sec-WebSocket-Extensions") {
        return wrong(format!("takes the extension `{}`, which was not offered", escape(extension)));
    }
    let is_offered = |chosen: &[u8]| {
        let is_ours = subprotocols.is_empty() && chosen == RETRY_HINT.as_bytes();
        is_ours || subprotocols.iter().any(|offered| offered.as_bytes() == chosen)
    };
    if let Some(chosen) = one("Sec-WebSocket-Protocol").filter(|chosen| !is_offered(chosen)) {
        return wrong(format!("takes the subprotocol `{}`, which was not offered", escape(chosen)));
    }
    let host = one("Host-Id").filter(|host| (1..=HOST_ID_MAX).contains(&host.len())).map(escape);
    Answer::Accepted { length, host }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// From RFC 6455 section 1.3: `the sample nonce`.
    const KEY: [u8; 16] = *b"the sample nonce";
    const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, \
                            Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nHost-Id: 10.1.2.3\r\n\r\n";

    fn wrong(head: &str) -> String {
        match read(head.as_bytes(), KEY, &[]) {
            Answer::Wrong(why) => why,
            other => panic!("{head}: {other:?}"),
        }
    }

    #[test]
    fn the_standards_example_is_accepted_and_names_the_host() {
        let request = Request { host: "h:1", path: "/a", subprotocols: &[], headers: "X: y\r\n" };
        let text = String::from_utf8(request.bytes(KEY)).unwrap();
        assert!(text.ends_with("Sec-WebSocket-Protocol: retry-hint\r\nX: y\r\n\r\n"), "{text}");
        assert!(text.starts_with("GET /a HTTP/1.1\r\nHost: h:1\r\n"), "{text}");
        assert!(text.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), "{text}");
        let stream = [ACCEPTED.as_bytes(), b"\x81\x00"].concat();
        let expected = Answer::Accepted { length: ACCEPTED.len(), host: Some("10.1.2.3".to_owned()) };
        assert_eq!(read(&stream, KEY, &[]), expected);
        for end in 0..ACCEPTED.len() {
            assert_eq!(read(&ACCEPTED.as_bytes()[..end], KEY, &[]), Answer::Partial, "{end}");
        }
    }

    #[test]
    fn refusals_include_their_hint() {
        let head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\ntoo many";
        let expected = Refusal {
            status: 503,
            line: "HTTP/1.1 503 Service Unavailable, Retry-After: 3".to_owned(),
            body: Some("too many".to_owned()),
            retry: Some(Duration::from_secs(3)),
        };
        assert_eq!(read(head.as_bytes(), KEY, &[]), Answer::Refused(expected));
        let head = "HTTP/1.1 404 \x1b[2J\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n";
        match read(head.as_bytes(), KEY, &[]) {
            Answer::Refused(Refusal { status: 404, line, retry: None, body: None }) => {
                assert!(!line.contains('\x1b'), "{line}");
            }
            Answer::Wrong(why) => assert!(!why.contains('\x1b'), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_may_take_one_of_the_offered_subprotocols() {
        let own = ["chat.v2".to_owned(), "chat.v1".to_owned()];
        let request = Request { host: "h:1", path: "/a", subprotocols: &own, headers: "" };
        let text = String::from_utf8(request.bytes(KEY)).unwrap();
        assert!(text.contains("\r\nSec-WebSocket-Protocol: chat.v2, chat.v1\r\n\r\n"), "{text}");
        for (chosen, is_offered) in [("chat.v1", true), ("retry-hint", false), ("chat.v3", false)] {
            let head = ACCEPTED.replace("Host-Id: 10.1.2.3", &format!("Sec-WebSocket-Protocol: {chosen}"));
            let answer = read(head.as_bytes(), KEY, &own);
            assert_eq!(matches!(answer, Answer::Accepted { .. }), is_offered, "{chosen}: {answer:?}");
        }
    }

    #[test]
    fn servers_without_websockets_are_recognised() {
        for (head, words) in [
            ("SSH-2.0-x\r\n", "the answer to the upgrade is not HTTP: `SSH-2.0-x\\r`: this port speaks SSH"),
            ("HTTP/1.1 abc\r\n\r\n", "the answer to the upgrade cannot be read"),
        ] {
            assert!(wrong(head).contains(words), "{}", wrong(head));
        }
        for (part, instead, words) in [
            ("WebSocket\r", "h2c\r", "does not upgrade"),
            ("s3pP", "AAAA", "instead of `s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`"),
            ("Sec-WebSocket-Accept", "X", "no Sec-WebSocket-Accept"),
            ("Host-Id: ", "Sec-WebSocket-Extensions: ", "extension `10.1.2.3`"),
            ("Host-Id: ", "Sec-WebSocket-Protocol: ", "subprotocol `10.1.2.3`"),
        ] {
            let head = ACCEPTED.replace(part, instead);
            assert!(wrong(&head).contains(words), "{}", wrong(&head));
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_judged_and_escaped(
            bytes in prop_oneof!["HTTP/1\\.1 [0-9]{3} .{0,20}\r\n(.{0,10}: .{0,10}\r\n){0,3}\r\n", ".{0,60}"],
        ) {
            match read(bytes.as_bytes(), KEY, &[]) {
                Answer::Wrong(text) | Answer::Refused(Refusal { line: text, .. }) => {
                    prop_assert!(!text.chars().any(char::is_control), "{}", text);
                }
                Answer::Accepted { .. } => prop_assert!(false, "nobody knows the key"),
                Answer::Partial => {}
            }
        }
    }
}
