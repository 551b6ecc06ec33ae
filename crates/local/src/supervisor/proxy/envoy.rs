//! Envoy: a bootstrap file, and a file of endpoints (EDS) that is replaced when replicas come and go.
//!
//! The file is renamed into a folder that Envoy watches. Its version is the platform's, and Envoy says in its statistics
//! which one it has taken over.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ::platform::{
    endpoints::{Endpoint, Endpoints},
    values::Policy,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Proxy, Site};
use crate::{
    http,
    paths::{read_regular, write_private},
    supervisor::servers::Launch,
};

/// Answers 200 when all is loaded.
pub(super) const READY: &str = "/ready";
const TYPES: &str = "type.googleapis.com/envoy";
const CONFIG: &str = "envoy.json";
/// Questions to its admin port.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is asked whether its connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(250);

/// Nothing else is written there: every rename in it makes Envoy read the endpoints.
fn watched(folder: &Path) -> PathBuf {
    folder.join("endpoints")
}

fn endpoints_file(site: &Site) -> PathBuf {
    watched(&site.folder).join(format!("{}.json", site.cluster))
}

pub(super) fn prepare(proxy: &Proxy, site: &Site, endpoints: &Endpoints) -> io::Result<Launch> {
    fs::create_dir_all(watched(&site.folder))?;
    write_endpoints(site, endpoints)?;
    let config = site.folder.join(CONFIG);
    write_private(&config, format!("{:#}\n", bootstrap(proxy, site)))?;
    let words = [
        "--config-path".into(),
        config.into_os_string(),
        "--concurrency".into(),
        "1".into(),
        "--log-level".into(),
        "warn".into(),
        // Without it a second Envoy on the machine is refused its shared memory.
        "--use-dynamic-base-id".into(),
    ];
    Ok(Launch {
        program: proxy.found.executable.clone(),
        arguments: words.to_vec(),
        environment: Vec::new(),
        directory: Some(site.folder.clone()),
    })
}

pub(super) fn bootstrap(proxy: &Proxy, site: &Site) -> Value {
    let most = proxy.connections_max();
    let listeners: Vec<Value> =
        site.clients.iter().map(|address| listener(*address, proxy, &site.cluster)).collect();
    json!({
        "node": { "id": site.name, "cluster": "playctl" },
        "admin": { "address": socket_address(proxy.admin(site)) },
        "overload_manager": { "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": format!("{TYPES}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"),
                "max_active_downstream_connections": most,
            },
        }] },
        "static_resources": { "listeners": listeners, "clusters": [cluster(proxy, site)] },
    })
}

fn listener(address: SocketAddr, proxy: &Proxy, cluster: &str) -> Value {
    // A level and a name are the kernel's numbers: IPPROTO_TCP and TCP_USER_TIMEOUT, which connections inherit.
    let stall =
        |timeout: Duration| json!([{ "level": 6, "name": 18, "int_value": timeout.as_millis() as u64 }]);
    json!({
        "name": address.to_string(),
        "address": socket_address(address),
        "enable_reuse_port": true,
        "socket_options": proxy.settings.rules.stall_timeout.map_or(json!([]), stall),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": {
                "@type": format!("{TYPES}.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
                "stat_prefix": cluster,
                "cluster": cluster,
                // 0: how long a client may be silent is the service's business.
                "idle_timeout": duration(proxy.settings.rules.tunnel_timeout.unwrap_or_default()),
                "max_connect_attempts": 3,
            },
        }] }],
    })
}

fn cluster(proxy: &Proxy, site: &Site) -> Value {
    let (settings, rules) = (&proxy.settings, &proxy.settings.rules);
    let health = &rules.health;
    let interval = duration(health.interval);
    json!({
        "name": site.cluster,
        "type": "EDS",
        "eds_cluster_config": { "eds_config": {
            "resource_api_version": "V3",
            "path_config_source": {
                "path": endpoints_file(site),
                "watched_directory": { "path": watched(&site.folder) },
            },
        } },
        "load_balancing_policy": policy(rules.policy),
        "connect_timeout": duration(rules.connect_timeout),
        "circuit_breakers": { "thresholds": [{
            "max_connections": settings.max_connections,
            "max_pending_requests": settings.max_connections,
        }] },
        // Rather none than one that is not ready.
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 } },
        // A replica that was removed is gone at once, whatever its last health check said.
        "ignore_health_on_host_removal": true,
        "upstream_bind_config": { "source_address": { "address": site.ip, "port_value": 0 } },
        "health_checks": [{
            "timeout": duration(health.timeout),
            "interval": interval,
            "no_traffic_interval": interval,
            "unhealthy_threshold": health.fall,
            "healthy_threshold": health.rise,
            "http_health_check": { "path": health.path, "host": site.cluster },
        }],
    })
}

fn policy(policy: Policy) -> Value {
    let (name, own) = match policy {
        Policy::LeastRequest => ("least_request", json!({ "choice_count": 2 })),
        Policy::LeastRequestFullScan => ("least_request", json!({ "selection_method": "FULL_SCAN" })),
        Policy::RoundRobin => ("round_robin", json!({})),
        Policy::Random => ("random", json!({})),
    };
    let kind: String = name.split('_').map(capitalised).collect();
    let mut config = own;
    config["@type"] = format!("{TYPES}.extensions.load_balancing_policies.{name}.v3.{kind}").into();
    json!({ "policies": [{ "typed_extension_config": {
        "name": format!("envoy.load_balancing_policies.{name}"),
        "typed_config": config,
    } }] })
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// The replicas of the site's cluster as Envoy reads them.
pub(super) fn discovery(site: &Site, endpoints: &Endpoints) -> Value {
    let replicas = endpoints.clusters.iter().filter(|cluster| cluster.name == site.cluster);
    let replicas: Vec<Value> = replicas.flat_map(|cluster| &cluster.endpoints).map(replica).collect();
    json!({
        "version_info": endpoints.version.to_string(),
        "resources": [{
            "@type": format!("{TYPES}.config.endpoint.v3.ClusterLoadAssignment"),
            "cluster_name": site.cluster,
            "endpoints": [{ "lb_endpoints": replicas }],
        }],
    })
}

fn replica(endpoint: &Endpoint) -> Value {
    let mut described = json!({ "address": socket_address(endpoint.address), "hostname": endpoint.name });
    described["health_check_config"] = match endpoint.health {
        Some(health) => json!({ "address": socket_address(health) }),
        None => json!({ "disable_active_health_check": true }),
    };
    let health = if endpoint.draining { "DRAINING" } else { "HEALTHY" };
    json!({ "endpoint": described, "health_status": health })
}

fn write_endpoints(site: &Site, endpoints: &Endpoints) -> io::Result<()> {
    let path = endpoints_file(site);
    // Written beside the folder and moved into it: a file made in it would be read half written.
    let new = site.folder.join("endpoints.new");
    write_private(&new, format!("{:#}\n", discovery(site, endpoints)))?;
    fs::rename(new, path)
}

/// Writes the endpoints if they are not written yet; returns their version once Envoy has taken them over.
pub(super) async fn tell(admin: SocketAddr, site: &Site, endpoints: &Endpoints) -> io::Result<Option<u64>> {
    // Whatever is there and cannot be read is replaced.
    let written = read_regular(&endpoints_file(site)).ok();
    let written = written.and_then(|text| serde_json::from_slice::<Value>(&text).ok()).unwrap_or_default();
    if written["version_info"].as_str() != Some(endpoints.version.to_string().as_str()) {
        write_endpoints(site, endpoints)?;
    }
    let name = format!("cluster.{}.version_text", site.cluster);
    let taken = statistic(admin, &name).await?.and_then(|text| text.trim_matches('"').parse().ok());
    Ok(taken.filter(|version| *version >= endpoints.version))
}

/// One of its statistics, such as `cluster.tcp.version_text: "7"`.
async fn statistic(admin: SocketAddr, name: &str) -> io::Result<Option<String>> {
    let answer = http::get(admin, &format!("/stats?filter=^{name}$"), TIMEOUT).await?;
    let value = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Ok(value.map(|value| value.trim().to_owned()))
}

/// Closes its listeners and waits until its connections have ended, or nobody answers any more.
pub(super) async fn drain(admin: SocketAddr, cluster: &str) {
    if let Err(error) = http::post(admin, "/drain_listeners", TIMEOUT).await {
        tracing::warn!(%admin, %error, "Envoy does not drain");
        return;
    }
    let active = format!("cluster.{cluster}.upstream_cx_active");
    while let Ok(Some(count)) = statistic(admin, &active).await
        && count != "0"
    {
        sleep(DRAIN_LOOK).await;
    }
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

/// As protobuf's JSON has it.
fn duration(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
