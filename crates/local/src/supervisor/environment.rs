//! The environment of the processes that the supervisor starts: it passes on only the variables of its own environment
//! named here.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ::platform::{
    ServiceKind,
    values::{self, Protocol},
};
use controller::{GatewayTemplate, Kafka, ServiceTemplate};

use crate::{child::PARENT_VARIABLE, control::RUN_VARIABLE, paths::PlatformPaths, slot::Addresses};

/// Passed on from the supervisor's own environment.
const INHERITED: [&str; 9] =
    ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "LD_LIBRARY_PATH"];

/// In addition to `HOME`, these determine the path of the control socket.
pub(super) const TO_FIND_US: [&str; 2] = ["XDG_STATE_HOME", "XDG_RUNTIME_DIR"];

/// Common to all processes of a run.
pub(crate) fn common(platform: &str, run: uuid::Uuid) -> BTreeMap<OsString, OsString> {
    let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let own = [
        (PARENT_VARIABLE, std::process::id().to_string()),
        ("PLAYCTL_PLATFORM", platform.to_owned()),
        (RUN_VARIABLE, run.to_string()),
    ];
    inherited.chain(own.into_iter().map(|(name, value)| (name.into(), value.into()))).collect()
}

/// The addresses of a replica or gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) name: &'a str,
    pub(crate) node: &'a str,
    /// The address for its clients.
    pub(crate) clients: SocketAddr,
    pub(crate) admin_port: u16,
}

/// The variables of `values.yaml`, the backends' addresses, and this replica's own.
pub(crate) fn of_replica(
    template: &ServiceTemplate,
    shed_token: &str,
    site: Site<'_>,
    addresses: Addresses,
) -> BTreeMap<String, String> {
    let mut environment = template.env.clone();
    let mut set = |name: &str, value: &str| {
        // A manually set variable takes precedence.
        environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    };
    let backends = &template.backends;
    if let Some(Kafka { brokers, broadcast_topic, logging_topic }) = &backends.kafka {
        set("KAFKA_BROKERS", brokers);
        set("KAFKA_BCAST_TOPIC", broadcast_topic);
        set("KAFKA_LOGGING_TOPIC", logging_topic);
    }
    if let Some((host, port)) = backends.memcached.as_ref().and_then(|address| address.rsplit_once(':')) {
        set("MEMCACHED_SERVICE", host);
        set("MEMCACHED_PORT", port);
    }
    if let Some((host, port)) = backends.redis.as_ref().and_then(|address| address.rsplit_once(':')) {
        set("REDIS_HOST", host.trim_start_matches('[').trim_end_matches(']'));
        set("REDIS_PORT", port);
    }
    if let Some(endpoints) = &backends.etcd {
        set("ETCD_ENDPOINTS", endpoints);
    }
    if let Some(nodes) = &backends.cassandra {
        set("CASSANDRA_CONTACT_POINTS", nodes);
    }
    if let Some(port) = backends.ws_port {
        set("WS_SERVER_HOST", &addresses.clients().to_string());
        set("WS_SERVER_PORT", &port.to_string());
    }
    if let Some(port) = backends.profiles_port {
        set("PROFILES_URL", &format!("http://{}", SocketAddr::new(addresses.clients(), port)));
    }
    // Its alias may have been set manually.
    if let Some(url) =
        backends.elasticsearch.as_ref().filter(|_| !template.env.contains_key("ELASTICSEARCH_URL"))
    {
        set("ELASTICSEARCH_ENDPOINT", url);
    }
    environment.extend(of_site(site));
    if template.kind.row().sheds {
        environment.insert("SHED_TOKEN".to_owned(), shed_token.to_owned());
    }
    if template.kind == ServiceKind::Balancer {
        // It talks to this supervisor, whose socket it must find.
        let own = TO_FIND_US.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        environment.extend(own);
    }
    environment
}

/// The settings of `values.yaml`, and this gateway's addresses.
pub(crate) fn of_gateway(
    template: &GatewayTemplate,
    paths: &PlatformPaths,
    upstream: IpAddr,
    site: Site<'_>,
) -> BTreeMap<String, String> {
    let (gateway, listener) = (&template.settings, &template.listener);
    let values::Rules { policy, health, connect_timeout, stall_timeout, idle_timeout, tunnel_timeout } =
        &listener.rules;
    let own = [
        ("LISTENERS", "stdin".to_owned()),
        ("PROTOCOL", listener.spoken().to_owned()),
        ("CLUSTER", listener.service.clone()),
        ("ENDPOINTS_FILE", paths.endpoints().display().to_string()),
        ("POLICY", policy.as_str().to_owned()),
        ("CIRCUIT_MAX_CONNECTIONS", gateway.max_connections.to_string()),
        ("CONNECT_TIMEOUT", in_milliseconds(*connect_timeout)),
        ("STALL_TIMEOUT", in_milliseconds(stall_timeout.unwrap_or_default())),
        ("IDLE_TIMEOUT", in_milliseconds(*idle_timeout)),
        ("TUNNEL_TIMEOUT", in_milliseconds(tunnel_timeout.unwrap_or_default())),
        ("HEALTH_INTERVAL", in_milliseconds(health.interval)),
        ("HEALTH_TIMEOUT", in_milliseconds(health.timeout)),
        ("HEALTH_FALL", health.fall.to_string()),
        ("HEALTH_RISE", health.rise.to_string()),
    ];
    let mut environment: BTreeMap<String, String> =
        own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if listener.protocol == Protocol::Udp {
        let sessions = paths.sessions(listener.port).display().to_string();
        environment.insert("SESSIONS_FILE".to_owned(), sessions);
    }
    if let Some(http) = &listener.http {
        let routes = http.routes.iter().map(|route| format!("{}={},", route.path, route.service));
        let routes = routes.chain([format!("/={}", listener.service)]).collect();
        environment.insert("ROUTES".to_owned(), routes);
        // An empty variable would count as not set.
        let cookie = http.sticky_cookie.as_deref().unwrap_or("none");
        environment.insert("STICKY_COOKIE".to_owned(), cookie.to_owned());
    }
    if let Some(kafka) = &template.kafka {
        environment.insert("KAFKA_BROKERS".to_owned(), kafka.brokers.clone());
        environment.insert("KAFKA_LOGGING_TOPIC".to_owned(), kafka.logging_topic.clone());
    }
    environment.extend(gateway.env.clone());
    environment.extend(of_site(site));
    environment.insert("UPSTREAM_BIND".to_owned(), upstream.to_string());
    environment
}

fn of_site(site: Site<'_>) -> [(String, String); 6] {
    let host = site.clients.ip().to_string();
    [
        ("HOST", host.clone()),
        ("PORT", site.clients.port().to_string()),
        // Probes and scrapes come from outside, as in a pod.
        ("ADMIN_HOST", host),
        ("ADMIN_PORT", site.admin_port.to_string()),
        ("POD_NAME", site.name.to_owned()),
        ("NODE_NAME", site.node.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

fn in_milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
