//! Headers in transit: hop-by-hop headers stay with their connection, and the gateway sets those that identify the
//! client.

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Version};

const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The common prefix of these headers; the rest of the name is free.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// An upgrade that a client requests for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    None,
    /// The only one that is forwarded: another, such as HTTP/2, would carry requests past the gateway.
    WebSocket,
}

impl Upgrade {
    pub(super) fn of(version: Version, headers: &HeaderMap) -> Self {
        let is_websocket =
            headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let is_asked = version == Version::HTTP_11 && names(headers).any(|name| name == UPGRADE);
        if is_websocket && is_asked { Self::WebSocket } else { Self::None }
    }

    fn keep(self, headers: &mut HeaderMap) {
        if self == Self::WebSocket {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
    }
}

/// Turns the headers of a client's request into those of the request to a replica. Replaces what a client claims about
/// its identity and its entry point: the gateway is the first that knows.
pub(super) fn to_replica(headers: &mut HeaderMap, client: IpAddr, upgrade: Upgrade) {
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    remove_hop_by_hop(headers);
    // hyper has answered it.
    headers.remove(EXPECT);
    headers.remove(FORWARDED);
    headers.remove(REAL_IP);
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(FORWARDED_PREFIX)).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
    if is_chunked {
        // Without it, hyper assumes that a GET has no body.
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    upgrade.keep(headers);
    // An address is always a valid value.
    if let Ok(address) = HeaderValue::from_str(&client.to_canonical().to_string()) {
        headers.insert(FORWARDED_FOR, address);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// Turns the headers of a replica's answer into those of the answer to the client.
pub(super) fn to_client(headers: &mut HeaderMap, upgrade: Upgrade) {
    if headers.contains_key(TRANSFER_ENCODING) {
        // The encoding alone says where the body ends (RFC 9112, 6.3); hyper would cut it off at the length.
        headers.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
    upgrade.keep(headers);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // `Host` stays even if a client lists it in `Connection`: it still identifies the request's target.
    let named: Vec<HeaderName> = names(headers).filter(|name| name != HOST).collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// The headers that `Connection` names.
fn names(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let words = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    words.filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hop_by_hop_and_forged_headers_are_not_forwarded() {
        let mut request = headers(&[
            ("host", "shop"),
            ("connection", "keep-alive, X-Secret"),
            ("connection", "close,host"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-prefix", "/evil"),
            ("accept", "*/*"),
        ]);
        let upgrade = Upgrade::of(Version::HTTP_11, &request);
        to_replica(&mut request, "::ffff:10.0.0.9".parse().unwrap(), upgrade);
        let expected = headers(&[
            ("host", "shop"),
            ("accept", "*/*"),
            ("x-forwarded-for", "10.0.0.9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop"),
        ]);
        assert_eq!(request, expected);
    }

    #[test]
    fn a_length_that_contradicts_the_encoding_does_not_pass() {
        let mut answer = headers(&[("content-length", "3"), ("transfer-encoding", "chunked"), ("age", "1")]);
        to_client(&mut answer, Upgrade::None);
        assert_eq!(answer, headers(&[("age", "1")]));

        let mut plain = headers(&[("content-length", "3")]);
        to_client(&mut plain, Upgrade::None);
        assert_eq!(plain, headers(&[("content-length", "3")]));
    }

    #[test]
    fn chunks_and_upgrades_are_announced_to_the_next_hop() {
        let mut chunked = headers(&[("transfer-encoding", "chunked")]);
        to_replica(&mut chunked, "127.0.0.1".parse().unwrap(), Upgrade::None);
        assert_eq!(chunked[TRANSFER_ENCODING], "chunked");

        let asks = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]);
        assert_eq!(Upgrade::of(Version::HTTP_11, &asks), Upgrade::WebSocket);
        assert_eq!(Upgrade::of(Version::HTTP_10, &asks), Upgrade::None);
        let mut passed = asks.clone();
        to_client(&mut passed, Upgrade::WebSocket);
        assert_eq!(
            (&passed[CONNECTION], &passed[UPGRADE]),
            (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
        // Without `Connection` naming it, it has no meaning.
        assert_eq!(Upgrade::of(Version::HTTP_11, &headers(&[("upgrade", "websocket")])), Upgrade::None);
    }
}
