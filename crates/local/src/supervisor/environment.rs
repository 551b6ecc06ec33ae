//! The environment of the processes that the supervisor starts: nothing of its own but what is named here.

use std::{collections::BTreeMap, ffi::OsString, net::SocketAddr, time::Duration};

use ::platform::values::{self, Values};

use super::parts::Parts;
use crate::{child::PARENT_VARIABLE, control::RUN_VARIABLE, paths::PlatformPaths};

/// Handed on from the supervisor's own environment.
const INHERITED: [&str; 9] =
    ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "LD_LIBRARY_PATH"];

/// What all processes of a run share.
pub(crate) fn common(platform: &str, run: uuid::Uuid) -> BTreeMap<OsString, OsString> {
    let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let own = [
        (PARENT_VARIABLE, std::process::id().to_string()),
        ("PLAYCTL_PLATFORM", platform.to_owned()),
        (RUN_VARIABLE, run.to_string()),
    ];
    inherited.chain(own.into_iter().map(|(name, value)| (name.into(), value.into()))).collect()
}

/// What all replicas of a service share: the variables of `values.yaml` and where the backends are.
pub(crate) fn of_service(
    service: &values::Service,
    values: &Values,
    parts: &Parts,
) -> BTreeMap<String, String> {
    let mut environment = service.env.clone();
    let mut set = |name: &str, value: String| {
        // Whoever sets a variable by hand means it.
        environment.entry(name.to_owned()).or_insert(value);
    };
    if let Some(brokers) = parts.kafka_brokers() {
        set("KAFKA_BROKERS", brokers);
        set("KAFKA_BCAST_TOPIC", values.kafka.broadcast_topic.clone());
        set("KAFKA_LOGGING_TOPIC", values.kafka.logging_topic.clone());
    }
    if let Some((host, port)) = parts.memcached() {
        set("MEMCACHED_SERVICE", host);
        set("MEMCACHED_PORT", port.to_string());
    }
    if let Some(url) = parts.elasticsearch_url() {
        set("ELASTICSEARCH_URL", url);
    }
    environment
}

/// What differs from replica to replica.
pub(crate) fn of_replica(
    name: &str,
    node: &str,
    clients: SocketAddr,
    admin_port: u16,
) -> [(String, String); 6] {
    [
        ("HOST", clients.ip().to_string()),
        ("PORT", clients.port().to_string()),
        ("ADMIN_HOST", clients.ip().to_string()),
        ("ADMIN_PORT", admin_port.to_string()),
        ("POD_NAME", name.to_owned()),
        ("NODE_NAME", node.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// What all gateways of one entrance share.
pub(crate) fn of_gateway(
    values: &Values,
    listener: &values::Listener,
    parts: &Parts,
    paths: &PlatformPaths,
) -> BTreeMap<String, String> {
    let gateway = &values.gateway;
    let health = &gateway.health;
    let own = [
        ("LISTENERS", "stdin".to_owned()),
        ("PROTOCOL", listener.protocol.as_str().to_owned()),
        ("CLUSTER", listener.service.clone()),
        ("ENDPOINTS_FILE", paths.endpoints().display().to_string()),
        ("POLICY", gateway.policy.as_str().to_owned()),
        ("ADMIN_PORT", gateway.admin_port.to_string()),
        ("CIRCUIT_MAX_CONNECTIONS", gateway.max_connections.to_string()),
        ("CONNECT_TIMEOUT", in_seconds(gateway.connect_timeout)),
        ("HEALTH_INTERVAL", in_seconds(health.interval)),
        ("HEALTH_TIMEOUT", in_seconds(health.timeout)),
        ("HEALTH_FALL", health.fall.to_string()),
        ("HEALTH_RISE", health.rise.to_string()),
    ];
    let mut environment: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if listener.protocol == values::Protocol::Udp {
        let sessions = paths.sessions(listener.port).display().to_string();
        environment.insert("SESSIONS_FILE".to_owned(), sessions);
    }
    if let Some(brokers) = parts.kafka_brokers() {
        environment.insert("KAFKA_BROKERS".to_owned(), brokers);
        environment.insert("KAFKA_LOGGING_TOPIC".to_owned(), values.kafka.logging_topic.clone());
    }
    environment.extend(gateway.env.clone());
    environment
}

fn in_seconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
