//! Envoy's listener for HTTP: its connection manager with the routes of the values, sticky by cookies.

use serde_json::{Value, json};

use super::{Proxy, Site, TYPES, silence};
use crate::supervisor::proxy::Way;

/// How long a client may take for a request's head, and a connection may wait for the next one.
const HEAD_TIMEOUT: &str = "10s";
/// How long a connection to a replica may be idle: less than replicas allow.
const UPSTREAM_IDLE: &str = "5s";
const HEAD_KIB_MAX: u32 = 32;

const SESSIONS: &str = "envoy.filters.http.stateful_session";

/// The filter that parses requests.
pub(super) fn manager(proxy: &Proxy, site: &Site) -> Value {
    let filters = format!("{TYPES}.extensions.filters");
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{filters}.http.router.v3.Router"), "suppress_envoy_headers": true },
    });
    let sessions = json!({
        "name": SESSIONS,
        "typed_config": { "@type": format!("{filters}.http.stateful_session.v3.StatefulSession") },
    });
    let is_sticky = proxy.http.as_ref().is_some_and(|http| http.sticky_cookie.is_some());
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": format!("{filters}.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "http",
            "codec_type": "HTTP1",
            "server_header_transformation": "PASS_THROUGH",
            "generate_request_id": false,
            // Removes what clients claim about their identity, and sets the address of their connection instead.
            "use_remote_address": true,
            "early_header_mutation_extensions": [{
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": format!("{TYPES}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"),
                    "mutations": FORGED.map(|name| json!({ "remove": name })),
                },
            }],
            "request_headers_timeout": HEAD_TIMEOUT,
            "common_http_protocol_options": { "idle_timeout": HEAD_TIMEOUT },
            "max_request_headers_kb": HEAD_KIB_MAX,
            "stream_idle_timeout": silence(proxy),
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "http_filters": if is_sticky { vec![sessions, router] } else { vec![router] },
            "route_config": {
                "name": "routes",
                "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes(proxy, site) }],
                "request_headers_to_add": [{
                    "header": { "key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%" },
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }],
            },
        },
    })
}

const FORGED: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "x-real-ip",
];

/// Longest path first: the first match is taken.
fn routes(proxy: &Proxy, site: &Site) -> Vec<Value> {
    let ways = |cluster: &String| -> Vec<(String, Way<'_>)> {
        proxy.way_to(cluster, site).into_iter().map(|way| (cluster.clone(), way)).collect()
    };
    let mut all: Vec<(String, Way<'_>)> = site.clusters.iter().flat_map(ways).collect();
    all.sort_by_key(|(_, way)| std::cmp::Reverse(way.path.map_or(0, str::len)));
    all.iter().map(|(cluster, way)| route(cluster, way)).collect()
}

fn route(cluster: &str, way: &Way<'_>) -> Value {
    let mut action = json!({
        "cluster": cluster,
        // A stream never ends.
        "timeout": "0s",
        "retry_policy": { "retry_on": "connect-failure", "num_retries": 1 },
    });
    let mut route = match way.path {
        None => json!({ "match": { "prefix": "/" } }),
        Some(path) => {
            action["regex_rewrite"] =
                json!({ "pattern": { "regex": format!("^{path}/?") }, "substitution": "/" });
            json!({ "match": { "path_separated_prefix": path } })
        }
    };
    route["route"] = action;
    if let Some(cookie) = &way.cookie {
        let sessions = format!("{TYPES}.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute");
        let state = format!("{TYPES}.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState");
        let attributes = json!([{ "name": "SameSite", "value": "Lax" }]);
        route["typed_per_filter_config"] = json!({ SESSIONS: {
            "@type": sessions,
            "stateful_session": { "session_state": {
                "name": "envoy.http.stateful_session.cookie",
                "typed_config": { "@type": state, "cookie": { "name": cookie, "path": "/", "attributes": attributes } },
            } },
        } });
    }
    route
}

/// Turns a cluster into one for requests.
pub(super) fn adapt(cluster: &mut Value, requests_max: u32) {
    cluster["circuit_breakers"]["thresholds"][0]["max_requests"] = requests_max.into();
    let options = format!("{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions");
    cluster["typed_extension_protocol_options"] = json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": options,
        "explicit_http_config": { "http_protocol_options": {} },
        "common_http_protocol_options": { "idle_timeout": UPSTREAM_IDLE },
    } });
}
