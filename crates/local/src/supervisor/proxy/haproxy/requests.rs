//! HAProxy's configuration for HTTP, in addition to the one for connections.

use super::{Proxy, Site};
use crate::supervisor::proxy::Way;

/// How long a client may take for a request's head, and a connection may wait for the next one.
const HEAD_TIMEOUT: &str = "10s";

/// `silent`: maximum silence of an upgraded connection.
pub(super) fn timeouts(silent: &str) -> String {
    format!(
        "    timeout tunnel {silent}\n    timeout http-request {HEAD_TIMEOUT}\n    timeout http-keep-alive {HEAD_TIMEOUT}\n"
    )
}

/// For the frontend: the client's identity, and the routes. The first match is taken, so the longest path comes first.
pub(super) fn routes(proxy: &Proxy, site: &Site) -> String {
    let mut routes: Vec<_> = proxy.http.iter().flat_map(|http| &http.routes).collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
    let routes = routes.into_iter().filter(|route| site.clusters.contains(&route.service)).map(|route| {
        let (path, service) = (&route.path, &route.service);
        format!("    use_backend {service} if {{ path {path} }} || {{ path_beg {path}/ }}\n")
    });
    CLIENT.to_owned() + &routes.collect::<Vec<_>>().concat()
}

/// Removes what clients claim about their identity, and sets the address of their connection instead.
const CLIENT: &str = "    http-request del-header Forwarded
    http-request del-header X-Real-IP
    http-request del-header X-Forwarded- -m beg
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
";

/// For a backend: the paths to remove for its service, and its cookie. Its values are derived from a replica's address
/// and a secret, so that replicas added at run time have one too.
pub(super) fn of_backend(ways: &[Way<'_>], key: &str) -> String {
    let mut paths: Vec<&str> = ways.iter().filter_map(|way| way.path).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    let rewrite = if paths.is_empty() {
        String::new()
    } else {
        // One rule for all, or the result of one could match another.
        format!("    http-request replace-path ^(?:{})(?:/(.*))?$ /\\1\n", paths.join("|"))
    };
    let cookie = ways.iter().find_map(|way| way.cookie.as_ref()).map(|cookie| {
        format!(
            "    dynamic-cookie-key {key}\n    cookie {cookie} insert indirect nocache dynamic httponly attr SameSite=Lax\n"
        )
    });
    rewrite + &cookie.unwrap_or_default()
}
