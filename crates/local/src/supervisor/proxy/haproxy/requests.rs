//! What HAProxy's configuration has for HTTP beside what it has for connections.

use super::{Proxy, Site};
use crate::supervisor::proxy::Way;

/// How long a client may take for a request's head, and a connection may wait for the next one.
const HEAD_TIMEOUT: &str = "10s";

/// `silent`: how long an upgraded connection may carry nothing.
pub(super) fn timeouts(silent: &str) -> String {
    format!(
        "    timeout tunnel {silent}\n    timeout http-request {HEAD_TIMEOUT}\n    timeout http-keep-alive {HEAD_TIMEOUT}\n"
    )
}

/// Of the frontend: who the client is, and which path leads where. The first that fits is taken, so the longest path comes
/// first.
pub(super) fn routes(proxy: &Proxy, site: &Site) -> String {
    let mut routes: Vec<_> = proxy.http.iter().flat_map(|http| &http.routes).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
    let routes = routes.into_iter().filter(|route| site.clusters.contains(&route.service)).map(|route| {
        let (path, service) = (&route.path, &route.service);
        format!("    use_backend {service} if {{ path {path} }} || {{ path_beg {path}/ }}\n")
    });
    CLIENT.to_owned() + &routes.collect::<Vec<_>>().concat()
}

/// What clients say about who they are is removed, and the address of their connection takes its place.
const CLIENT: &str = "    http-request del-header Forwarded
    http-request del-header X-Real-IP
    http-request del-header X-Forwarded- -m beg
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
";

/// Of a backend: the paths that its service does not see, and its cookie. Its values are made of a replica's address and
/// a secret, so that replicas which come while it runs have one too.
pub(super) fn of_backend(ways: &[Way<'_>], key: &str) -> String {
    let mut paths: Vec<&str> = ways.iter().filter_map(|way| way.path).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    let rewrite = if paths.is_empty() {
        String::new()
    } else {
        // One rule for all, or what one leaves could be taken for another's.
        format!("    http-request replace-path ^(?:{})(?:/(.*))?$ /\\1\n", paths.join("|"))
    };
    let cookie = ways.iter().find_map(|way| way.cookie.as_ref()).map(|cookie| {
        format!(
            "    dynamic-cookie-key {key}\n    cookie {cookie} insert indirect nocache dynamic httponly attr SameSite=Lax\n"
        )
    });
    rewrite + &cookie.unwrap_or_default()
}
