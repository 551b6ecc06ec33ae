//! Headers of upgrades and of requests for streams: credentials, mostly, and a subprotocol.

use super::Scenario;

/// What a request says anyway, or what would contradict it.
const RESERVED: [&str; 10] = [
    "accept",
    "cache-control",
    "connection",
    "content-length",
    "expect",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const COUNT_MAX: usize = 32;
const VALUE_BYTES_MAX: usize = 4096;

impl Scenario {
    /// The value of a header, whose name may be written in any case.
    pub fn header(&self, name: &str) -> Option<&String> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Sets a header instead of one of the same name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|known, _| !known.eq_ignore_ascii_case(name));
        self.headers.insert(name.to_owned(), value.to_owned());
    }

    /// The host that a request for `target` names.
    pub fn host_of(&self, target: &str, number: u64) -> String {
        self.header("host").map_or_else(|| target.to_owned(), |host| self.filled_in(host, number))
    }

    /// The other headers of connection `number`, counted from 0, each with its line end.
    pub fn header_lines_of(&self, number: u64) -> String {
        let others = self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host"));
        let lines: Vec<String> =
            others.map(|(name, value)| format!("{name}: {}\r\n", self.filled_in(value, number))).collect();
        lines.concat()
    }
}

/// What is expected instead of a header, if anything.
pub(super) fn wrong(name: &str, value: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if lower == "sec-websocket-protocol" {
        return Some("subprotocols (--subprotocol) instead".to_owned());
    }
    if RESERVED.contains(&&*lower) || lower.starts_with("sec-websocket-") {
        return Some("another header: the load sets this one".to_owned());
    }
    if !is_token(name) {
        return Some("a name of letters, digits and -".to_owned());
    }
    let is_printable = |byte: u8| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic();
    if value.len() > VALUE_BYTES_MAX || !value.bytes().all(is_printable) {
        return Some(format!("a value of at most {VALUE_BYTES_MAX} printable ASCII characters"));
    }
    None
}

pub(super) fn are_too_many(count: usize) -> Option<String> {
    (count > COUNT_MAX).then(|| format!("at most {COUNT_MAX}"))
}

/// A token of HTTP: RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 256
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use crate::{Protocol, Scenario};

    #[test]
    fn each_user_has_its_own_token_and_a_host_is_named_once() {
        let mut scenario = Scenario { protocol: Protocol::Ws, ..Scenario::default() };
        scenario.set_header("authorization", "Bearer old");
        scenario.set_header("Authorization", "Bearer {user}/{n}");
        scenario.set_header("HOST", "chat.example");
        assert_eq!(scenario.header_lines_of(6), "Authorization: Bearer user-7/7\r\n");
        assert_eq!(scenario.host_of("127.0.0.1:80", 0), "chat.example");
        scenario.validate().unwrap();
    }

    #[test]
    fn headers_that_cannot_be_sent_are_named_without_their_value() {
        let error = |name: &str, value: &str| {
            let mut scenario = Scenario { protocol: Protocol::Ws, ..Scenario::default() };
            scenario.set_header(name, value);
            scenario.validate().unwrap_err().to_string()
        };
        for (name, value, expected) in [
            (
                "Sec-WebSocket-Protocol",
                "chat",
                "headers.Sec-WebSocket-Protocol: expected subprotocols (--subprotocol) instead",
            ),
            ("Upgrade", "h2c", "headers.Upgrade: expected another header: the load sets this one"),
            ("X Y", "secret", "headers.`X Y`: expected a name of letters, digits and -"),
            ("X", "secret\r\nY: 1", "headers.X: expected a value of at most 4096 printable ASCII characters"),
            ("X", "{usr}", "headers.X: expected {user}, {n} instead of {usr}; did you mean {user}?"),
        ] {
            let error = error(name, value);
            assert_eq!(error, expected);
        }
        let mut scenario = Scenario::default();
        scenario.set_header("X", "1");
        assert_eq!(
            scenario.validate().unwrap_err().to_string(),
            "headers X: expected protocol ws or sse: others have none"
        );
        let mut scenario =
            Scenario { subprotocols: vec!["a b".to_owned()], protocol: Protocol::Ws, ..Scenario::default() };
        assert!(
            scenario.validate().unwrap_err().to_string().starts_with("subprotocols `a b`: expected names")
        );
        (scenario.protocol, scenario.subprotocols) = (Protocol::Tcp, vec!["a".to_owned()]);
        assert_eq!(
            scenario.validate().unwrap_err().to_string(),
            "subprotocols a: expected protocol ws: others have none"
        );
    }
}
