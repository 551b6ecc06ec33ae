//! Envoy's bootstrap.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::proxy::REPLICAS;

/// A TCP proxy with least-request choice, active health checks and the circuit breakers of the deployed gateway.
pub(super) fn configuration(front: SocketAddr, admin: SocketAddr) -> Value {
    let replicas: Vec<Value> = REPLICAS
        .iter()
        .map(|replica| {
            json!({"endpoint": {
                "address": socket(replica.address),
                "health_check_config": {"address": socket(replica.health)},
            }})
        })
        .collect();
    json!({
        "admin": {"address": socket(admin)},
        "static_resources": {
            "listeners": [{
                "name": "tcp",
                "address": socket(front),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.tcp_proxy",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                        "stat_prefix": "tcp",
                        "cluster": "tcp",
                        "idle_timeout": "600s",
                    },
                }]}],
            }],
            "clusters": [{
                "name": "tcp",
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
                "load_assignment": {"cluster_name": "tcp", "endpoints": [{"lb_endpoints": replicas}]},
            }],
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
