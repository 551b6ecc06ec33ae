//! What fuzzing needs to reach. No part of the interface.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use hyper::http::uri::PathAndQuery;

use super::{cookies, routes::Routes};
use crate::Settings;

/// Any target is led to a service, and is below its route; or to none.
pub fn find(settings: &Settings, target: &str) {
    let Ok(target) = PathAndQuery::try_from(target) else { return };
    let routes = &settings.http.routes;
    let services: Vec<&str> = settings.services.iter().map(|service| service.name.as_str()).collect();
    let below = |path: &str| {
        path == "/" && target.path().starts_with('/')
            || target.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let best = routes.iter().filter(|route| below(&route.path)).max_by_key(|route| route.path.len());
    let found = Routes::new(routes, &services).find(&target);
    assert_eq!(
        found.as_ref().map(|(service, _)| services[*service]),
        best.map(|route| route.service.as_str()),
        "{target}"
    );
    if let (Some((_, rest)), Some(route)) = (found, best) {
        assert!(rest.path().starts_with('/'), "{target}: {rest}");
        assert_eq!(rest.query(), target.query(), "{target}: {rest}");
        let whole =
            if route.path == "/" { rest.path().to_owned() } else { format!("{}{}", route.path, rest.path()) };
        assert!(whole == target.path() || whole == format!("{}/", target.path()), "{target}: {rest}");
    }
}

/// Any lines of cookies give few keys, each of a form that ours have, and lose nothing else when ours are removed.
pub fn take_cookies(lines: &[Vec<u8>], name: &str) {
    let mut headers = HeaderMap::new();
    for line in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(COOKIE, line);
    }
    let keys = cookies::keys(&headers, name);
    assert!(keys.len() <= cookies::KEYS_MAX, "{keys:?}");
    assert!(keys.iter().all(|key| key.bytes().all(|byte| byte.is_ascii_hexdigit())), "{keys:?}");
    let pairs = |headers: &HeaderMap| -> Vec<Vec<u8>> {
        let all = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        all.map(|pair| pair.trim_ascii().to_vec()).filter(|pair| !pair.is_empty()).collect()
    };
    let ours = format!("{name}=");
    let others: Vec<Vec<u8>> =
        pairs(&headers).into_iter().filter(|pair| !pair.starts_with(ours.as_bytes())).collect();
    cookies::remove(&mut headers, name);
    assert_eq!(pairs(&headers), others);
    assert!(cookies::keys(&headers, name).is_empty());

    // What is set brings the same keys back.
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut answer = HeaderMap::new();
    cookies::set(&mut answer, name, &keys);
    let set = answer.get(SET_COOKIE).map(|set| set.as_bytes().split(|byte| *byte == b';').next());
    let Some(Some(pair)) = set else { panic!("no cookie is set") };
    let mut request = HeaderMap::new();
    request.insert(COOKIE, HeaderValue::from_bytes(pair).expect("what is set is a header"));
    assert_eq!(cookies::keys(&request, name), keys);
}
