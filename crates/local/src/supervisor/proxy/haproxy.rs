//! HAProxy: a configuration with the current servers, which come and go through its runtime socket.
//!
//! It shares its listeners with the process that it replaces, so it has clients from the start: without servers, it
//! would turn them away.
//!
//! It inherits the supervisor's listeners as `fd@N`, so one that drains or dies closes none. Its admin port has
//! `/readyz`, `/metrics` for Prometheus, and the statistics page behind a generated password.

mod requests;
mod runtime;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use ::platform::{
    endpoints::{Cluster, Endpoint, Endpoints},
    values::Policy,
};

use super::{Proxy, Site};
use crate::{
    child::LISTENER_VARIABLE,
    paths::write_private,
    programs::Found,
    supervisor::{obstacle::Obstacle, password, servers::Launch},
};

pub(super) const READY: &str = "/readyz";
/// The user for the statistics.
pub(super) const USER: &str = "playctl";
const CONFIG: &str = "haproxy.cfg";
/// For the cookies of all gateways of the platform.
const COOKIE_KEY: &str = "haproxy-cookie-key";
const SOCKET: &str = "runtime.sock";
/// Oldest version that can add servers with health checks at run time.
const OLDEST: (u32, u32) = (2, 6);
/// Used instead of no time-out, which it warns about.
const NEVER: Duration = Duration::from_hours(24);
/// It counts milliseconds in 31 bits.
const LONGEST: Duration = Duration::from_hours(24 * 24);

pub(super) fn check_version(found: &Found) -> Result<(), Obstacle> {
    let mut numbers = found.version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST {
        return Ok(());
    }
    Err(Obstacle::OldHaproxy { found: found.clone(), oldest: OLDEST })
}

/// One for all gateways of the platform, beside their folders.
pub(super) fn password_file(folder: &Path) -> PathBuf {
    folder.parent().unwrap_or(folder).join("haproxy-password")
}

pub(super) fn prepare(proxy: &Proxy, site: &Site, endpoints: &Endpoints) -> io::Result<Launch> {
    let password = password::kept(&password_file(&site.folder))?;
    let cookies = password::kept(&password_file(&site.folder).with_file_name(COOKIE_KEY))?;
    let secrets = Secrets { password: &password, cookies: &cookies };
    write_private(&site.folder.join(CONFIG), config(proxy, site, endpoints, secrets))?;
    // A killed predecessor has left its socket.
    match fs::remove_file(site.folder.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    Ok(Launch {
        program: proxy.found.executable.clone(),
        // In the foreground, and with paths relative to its folder: a socket's path has at most 97 bytes.
        arguments: ["-db", "-f", CONFIG].map(Into::into).to_vec(),
        environment: Vec::new(),
        directory: Some(site.folder.clone()),
    })
}

/// Secrets shared by the processes of a platform.
#[derive(Clone, Copy)]
pub(super) struct Secrets<'a> {
    /// For the statistics.
    pub(super) password: &'a str,
    /// For the cookies' values.
    pub(super) cookies: &'a str,
}

pub(super) fn config(proxy: &Proxy, site: &Site, endpoints: &Endpoints, secrets: Secrets<'_>) -> String {
    let settings = &proxy.settings;
    let most = proxy.connections_max();
    let rules = &settings.rules;
    let stall =
        rules.stall_timeout.map_or_else(String::new, |timeout| format!(" tcp-ut {}", milliseconds(timeout)));
    let bind = |index| format!("    bind \"fd@${{{LISTENER_VARIABLE}{index}}}\"{stall}\n");
    let binds = (0..site.clients.len()).map(bind).collect::<Vec<_>>().concat();
    let (cluster, admin, password) = (&site.clusters[0], proxy.admin(site), secrets.password);
    let (connect, check) = (milliseconds(rules.connect_timeout), milliseconds(rules.health.timeout));
    // Without a time-out, the service decides how long a client may be silent.
    let silent = milliseconds(rules.tunnel_timeout.map_or(NEVER, |timeout| timeout.min(LONGEST)));
    let (mode, requests, routes) = if proxy.http.is_some() {
        ("http", requests::timeouts(&silent), requests::routes(proxy, site))
    } else {
        ("tcp", String::new(), String::new())
    };
    let backend = |cluster: &String| backend(proxy, site, cluster, endpoints, secrets);
    let backends = site.clusters.iter().map(backend).collect::<Vec<_>>().concat();
    format!(
        "\
global
    stats socket unix@{SOCKET} mode 600 level admin
    nbthread 1
    maxconn {most}
    hard-stop-after 90s

defaults
    mode {mode}
    maxconn {most}
    retries 2
    option redispatch 1
    timeout connect {connect}
    timeout check {check}
    timeout client {silent}
    timeout server {silent}
    timeout client-fin 1m
    timeout server-fin 1m
{requests}
frontend clients
{binds}{routes}    default_backend {cluster}

{backends}userlist readers
    user {USER} insecure-password {password}

frontend admin
    mode http
    maxconn 64
    bind {admin}
    monitor-uri {READY}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request auth realm statistics unless {{ http_auth(readers) }}
    stats enable
    stats uri /stats
    timeout client 10s
"
    )
}

fn backend(proxy: &Proxy, site: &Site, cluster: &str, endpoints: &Endpoints, secrets: Secrets<'_>) -> String {
    let (settings, ip) = (&proxy.settings, site.ip);
    let (balance, path) = (balance(settings.rules.policy), &settings.rules.health.path);
    // A draining one gets no new connections, so HAProxy learns about it later.
    let of_site = endpoints.clusters.iter().filter(|known| known.name == cluster);
    let taking = of_site.flat_map(|cluster| &cluster.endpoints).filter(|endpoint| !endpoint.draining);
    let server = |endpoint: &Endpoint| format!("    server {}\n", runtime::described(endpoint, settings));
    let servers = taking.map(server).collect::<Vec<_>>().concat();
    let requests = requests::of_backend(&proxy.way_to(cluster, site), secrets.cookies);
    format!(
        "\
# Others come and go while it runs.
backend {cluster}
    balance {balance}
    source {ip}
{requests}    option httpchk
    http-check send meth GET uri {path}
    http-check expect status 200
{servers}
"
    )
}

fn balance(policy: Policy) -> &'static str {
    match policy {
        // HAProxy's name for the emptier of two drawn.
        Policy::LeastRequest => "random(2)",
        Policy::LeastRequestFullScan => "leastconn",
        Policy::RoundRobin => "roundrobin",
        Policy::Random => "random(1)",
    }
}

/// Makes its servers match the endpoints; returns their version once they do.
pub(super) async fn tell(proxy: &Proxy, site: &Site, endpoints: &Endpoints) -> io::Result<Option<u64>> {
    let socket = site.folder.join(SOCKET);
    let has_cookie = proxy.http.as_ref().is_some_and(|http| http.sticky_cookie.is_some());
    for cluster in &site.clusters {
        let none = Cluster { name: cluster.clone(), endpoints: Vec::new() };
        let wanted = endpoints.clusters.iter().find(|known| known.name == *cluster).unwrap_or(&none);
        let there = runtime::servers(&socket, cluster).await?;
        for step in &runtime::plan(&there, wanted, &proxy.settings) {
            step.carry_out(&socket).await?;
            if step.adds() && has_cookie {
                runtime::make_cookies(cluster).carry_out(&socket).await?;
            }
        }
    }
    Ok(Some(endpoints.version))
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
