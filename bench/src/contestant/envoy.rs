//! Envoy's bootstrap.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::proxy::REPLICAS;

/// A TCP proxy with least-request choice, active health checks and the circuit breakers of the deployed gateway.
pub(super) fn configuration(front: SocketAddr, admin: SocketAddr) -> Value {
    let filter = json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": "tcp",
            "idle_timeout": "600s",
        },
    });
    let listener = json!({
        "name": "tcp",
        "address": socket("TCP", front),
        "filter_chains": [{"filters": [filter]}],
    });
    bootstrap("tcp", &listener, admin)
}

/// The same for UDP.
pub(super) fn datagrams(front: SocketAddr, admin: SocketAddr) -> Value {
    let filter = json!({
        "name": "envoy.filters.udp_listener.udp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
            "stat_prefix": "udp",
            "idle_timeout": "60s",
            "matcher": {"on_no_match": {"action": {
                "name": "route",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route",
                    "cluster": "udp",
                },
            }}},
        },
    });
    let listener = json!({"name": "udp", "address": socket("UDP", front), "listener_filters": [filter]});
    bootstrap("udp", &listener, admin)
}

fn bootstrap(cluster: &str, listener: &Value, admin: SocketAddr) -> Value {
    let replicas: Vec<Value> = REPLICAS
        .iter()
        .map(|replica| {
            json!({"endpoint": {
                "address": socket("TCP", replica.address),
                "health_check_config": {"address": socket("TCP", replica.health)},
            }})
        })
        .collect();
    json!({
        "admin": {"address": socket("TCP", admin)},
        "static_resources": {
            "listeners": [listener],
            "clusters": [{
                "name": cluster,
                "type": "STATIC",
                "lb_policy": "LEAST_REQUEST",
                "connect_timeout": "5s",
                "circuit_breakers": {"thresholds": [{"max_connections": 50_000, "max_pending_requests": 50_000}]},
                "health_checks": [{
                    "timeout": "1s",
                    "interval": "1s",
                    "no_traffic_interval": "1s",
                    "unhealthy_threshold": 2,
                    "healthy_threshold": 2,
                    "http_health_check": {"path": "/readyz"},
                }],
                "load_assignment": {"cluster_name": cluster, "endpoints": [{"lb_endpoints": replicas}]},
            }],
        },
    })
}

fn socket(protocol: &str, address: SocketAddr) -> Value {
    json!({"socket_address": {"protocol": protocol, "address": address.ip().to_string(), "port_value": address.port()}})
}
