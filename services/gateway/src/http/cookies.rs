//! The cookie that keeps a client on its replicas.
//!
//! One cookie for all services: the keys of the client's replicas ([`Backend`](crate::cluster::backend::Backend)),
//! joined by dots, at most one per service. A key is a digest of a replica's name and address, so every gateway
//! computes the same one, it reveals neither, and an invented one matches no replica.

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, COOKIE, HeaderValue, SET_COOKIE};

use crate::cluster::backend::KEY_BYTES;

/// Maximum number of keys in one request: more than any honest client has.
pub(super) const KEYS_MAX: usize = 32;

/// The keys in a request, without malformed ones.
pub(super) fn keys(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = pairs(headers).filter(|pair| is_of(pair, name)).flat_map(|pair| {
        let value = &pair[name.len() + 1..];
        value.split(|&byte| byte == b'.').map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    values.filter(|key| is_key(key)).take(KEYS_MAX).filter_map(|key| String::from_utf8(key).ok()).collect()
}

/// Removes the cookie from a request: it is only for the gateways.
pub(super) fn remove(headers: &mut HeaderMap, name: &str) {
    if !pairs(headers).any(|pair| is_of(&pair, name)) {
        return;
    }
    let others: Vec<Vec<u8>> = pairs(headers).filter(|pair| !is_of(pair, name)).collect();
    headers.remove(COOKIE);
    if let Ok(value) = HeaderValue::from_bytes(&others.join(&b"; "[..]))
        && !others.is_empty()
    {
        headers.insert(COOKIE, value);
    }
}

/// Makes the client send these keys from now on. The answer is for this client only, so no cache may give it to others.
pub(super) fn set(headers: &mut HeaderMap, name: &str, keys: &[&str]) {
    let text = format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", keys.join("."));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(SET_COOKIE, value);
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = Vec<u8>> {
    let all = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    all.map(|pair| pair.trim_ascii().to_vec()).filter(|pair| !pair.is_empty())
}

fn is_of(pair: &[u8], name: &str) -> bool {
    pair.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
}

fn is_key(text: &[u8]) -> bool {
    text.len() == 2 * KEY_BYTES && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "0123456789abcdef";
    const B: &str = "fedcba9876543210";

    fn request(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn only_valid_keys_are_found_among_other_cookies() {
        let headers = request(&[&format!("a=b; route={A}.{B};c=d"), &format!("route={B}")]);
        assert_eq!(keys(&headers, "route"), [A, B, B]);
        for odd in ["route", "route=", "route=tcp-0", "router=0123456789abcdef", "route=0123456789ABCDEF"] {
            assert!(keys(&request(&[odd]), "route").is_empty(), "{odd}");
        }
        let many = vec![A; 1_000].join(".");
        assert_eq!(keys(&request(&[&format!("route={many}")]), "route").len(), KEYS_MAX);
    }

    #[test]
    fn a_service_sees_only_its_own_cookies() {
        let mut headers = request(&[&format!("a=b; route={A}; c=d e"), &format!("route={B}"), "x=y"]);
        remove(&mut headers, "route");
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=b; c=d e; x=y"]);
        let mut headers = request(&[&format!("route={A}")]);
        remove(&mut headers, "route");
        assert!(headers.is_empty());
    }

    #[test]
    fn stored_values_are_found_again() {
        let mut answer = HeaderMap::new();
        set(&mut answer, "route", &[A, B]);
        let cookie = answer[SET_COOKIE].to_str().unwrap();
        assert_eq!(cookie, format!("route={A}.{B}; Path=/; HttpOnly; SameSite=Lax"));
        assert_eq!(keys(&request(&[cookie.split_once(';').unwrap().0]), "route"), [A, B]);
    }

    proptest! {
        #[test]
        fn any_cookies_are_read_and_only_ours_is_removed(
            lines in prop::collection::vec("[ -:<-~]{0,40}", 0..4), ours in "[ -:<-~]{0,40}",
        ) {
            let mut headers: HeaderMap = lines
                .iter()
                .chain([&format!("route={ours}")])
                .map(|line| (COOKIE, HeaderValue::from_str(line).unwrap()))
                .collect();
            prop_assert!(keys(&headers, "route").iter().all(|key| is_key(key.as_bytes())));
            let others: Vec<_> = pairs(&headers).filter(|pair| !pair.starts_with(b"route=")).collect();
            remove(&mut headers, "route");
            prop_assert_eq!(pairs(&headers).collect::<Vec<_>>(), others);
        }
    }
}
