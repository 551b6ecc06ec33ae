//! Envoy: a bootstrap file, and a file of endpoints (EDS) that is replaced when replicas come and go.
//!
//! The file is renamed into a folder that Envoy watches. It contains the platform's version, and Envoy's statistics
//! show which one it has applied.

mod http_listener;

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

/// Answers 200 when everything is loaded.
pub(super) const READY: &str = "/ready";
const TYPES: &str = "type.googleapis.com/envoy";
const CONFIG: &str = "envoy.json";
/// Time limit of requests to its admin port.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often to check whether its connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(250);

/// Nothing else is written there: every rename in it makes Envoy read the endpoints.
fn watched(folder: &Path) -> PathBuf {
    folder.join("endpoints")
}

fn endpoints_file(site: &Site, cluster: &str) -> PathBuf {
    watched(&site.folder).join(format!("{cluster}.json"))
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
        // Without it, a second Envoy on the machine is refused its shared memory.
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
    let listeners: Vec<Value> = site.clients.iter().map(|address| listener(*address, proxy, site)).collect();
    let clusters: Vec<Value> = site.clusters.iter().map(|name| cluster(proxy, site, name)).collect();
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
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

fn listener(address: SocketAddr, proxy: &Proxy, site: &Site) -> Value {
    // The level and name are the kernel's numbers IPPROTO_TCP and TCP_USER_TIMEOUT, which connections inherit.
    let stall =
        |timeout: Duration| json!([{ "level": 6, "name": 18, "int_value": timeout.as_millis() as u64 }]);
    json!({
        "name": address.to_string(),
        "address": socket_address(address),
        "enable_reuse_port": true,
        "socket_options": proxy.settings.rules.stall_timeout.map_or(json!([]), stall),
        "filter_chains": [{ "filters": [match &proxy.http {
            Some(_) => http_listener::manager(proxy, site),
            None => tcp_proxy(proxy, &site.clusters[0]),
        }] }],
    })
}

fn tcp_proxy(proxy: &Proxy, cluster: &str) -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": format!("{TYPES}.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": cluster,
            "cluster": cluster,
            "idle_timeout": silence(proxy),
            "max_connect_attempts": 3,
        },
    })
}

/// 0: the service decides how long a client may be silent.
fn silence(proxy: &Proxy) -> String {
    duration(proxy.settings.rules.tunnel_timeout.unwrap_or_default())
}

fn cluster(proxy: &Proxy, site: &Site, name: &str) -> Value {
    let (settings, rules) = (&proxy.settings, &proxy.settings.rules);
    let health = &rules.health;
    let interval = duration(health.interval);
    let mut cluster = json!({
        "name": name,
        "type": "EDS",
        "eds_cluster_config": { "eds_config": {
            "resource_api_version": "V3",
            "path_config_source": {
                "path": endpoints_file(site, name),
                "watched_directory": { "path": watched(&site.folder) },
            },
        } },
        "load_balancing_policy": policy(rules.policy),
        "connect_timeout": duration(rules.connect_timeout),
        "circuit_breakers": { "thresholds": [{
            "max_connections": settings.max_connections,
            "max_pending_requests": settings.max_connections,
        }] },
        // Better no replica than one that is not ready. A replica that becomes healthy gets connections at once, not up to
        // a second later.
        "common_lb_config": { "healthy_panic_threshold": { "value": 0 }, "update_merge_window": "0s" },
        // A removed replica is gone at once, whatever its last health check said.
        "ignore_health_on_host_removal": true,
        "upstream_bind_config": { "source_address": { "address": site.ip, "port_value": 0 } },
        "health_checks": [{
            "timeout": duration(health.timeout),
            "interval": interval,
            "no_traffic_interval": interval,
            "unhealthy_threshold": health.fall,
            "healthy_threshold": health.rise,
            "http_health_check": { "path": health.path, "host": name },
        }],
    });
    if proxy.http.is_some() {
        http_listener::adapt(&mut cluster, settings.max_connections);
    }
    cluster
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

/// The replicas of a cluster in Envoy's format.
pub(super) fn discovery(cluster: &str, endpoints: &Endpoints) -> Value {
    let replicas = endpoints.clusters.iter().filter(|one| one.name == cluster);
    let replicas: Vec<Value> = replicas.flat_map(|cluster| &cluster.endpoints).map(replica).collect();
    json!({
        "version_info": endpoints.version.to_string(),
        "resources": [{
            "@type": format!("{TYPES}.config.endpoint.v3.ClusterLoadAssignment"),
            "cluster_name": cluster,
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
    site.clusters.iter().try_for_each(|cluster| write_cluster(site, cluster, endpoints))
}

fn write_cluster(site: &Site, cluster: &str, endpoints: &Endpoints) -> io::Result<()> {
    // Written beside the folder and moved into it: a file created in it could be read half-written.
    let new = site.folder.join("endpoints.new");
    write_private(&new, format!("{:#}\n", discovery(cluster, endpoints)))?;
    fs::rename(new, endpoints_file(site, cluster))
}

/// Writes the endpoints if they are not written yet; returns their version once Envoy has applied them.
pub(super) async fn tell(admin: SocketAddr, site: &Site, endpoints: &Endpoints) -> io::Result<Option<u64>> {
    let mut least = None;
    for cluster in &site.clusters {
        // Anything there that cannot be read is replaced.
        let written = read_regular(&endpoints_file(site, cluster)).ok();
        let written =
            written.and_then(|text| serde_json::from_slice::<Value>(&text).ok()).unwrap_or_default();
        if written["version_info"].as_str() != Some(endpoints.version.to_string().as_str()) {
            write_cluster(site, cluster, endpoints)?;
        }
        let name = format!("cluster.{cluster}.version_text");
        let taken = statistic(admin, &name).await?.and_then(|text| text.trim_matches('"').parse().ok());
        let Some(taken) = taken.filter(|version: &u64| *version >= endpoints.version) else {
            return Ok(None);
        };
        least = Some(least.map_or(taken, |least: u64| least.min(taken)));
    }
    Ok(least)
}

/// One of its statistics, such as `cluster.tcp.version_text: "7"`.
async fn statistic(admin: SocketAddr, name: &str) -> io::Result<Option<String>> {
    let answer = http::get(admin, &format!("/stats?filter=^{name}$"), TIMEOUT).await?;
    let value = answer.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Ok(value.map(|value| value.trim().to_owned()))
}

/// The statistics that are 0 when nobody uses these clusters any more. Connections to replicas outlive requests.
pub(super) fn counts_of_use(is_http: bool, clusters: &[String]) -> Vec<String> {
    let count = if is_http { "upstream_rq_active" } else { "upstream_cx_active" };
    clusters.iter().map(|cluster| format!("cluster.{cluster}.{count}")).collect()
}

/// Closes its listeners and waits until its connections have ended, or nobody answers any more.
pub(super) async fn drain(admin: SocketAddr, counts: &[String]) {
    if let Err(error) = http::post(admin, "/drain_listeners", TIMEOUT).await {
        tracing::warn!(%admin, %error, "Envoy does not drain");
        return;
    }
    for name in counts {
        while let Ok(Some(count)) = statistic(admin, name).await
            && count != "0"
        {
            sleep(DRAIN_LOOK).await;
        }
    }
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

/// In protobuf's JSON format.
fn duration(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
