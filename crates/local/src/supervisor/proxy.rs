//! Foreign gateways: Envoy and HAProxy, one process per node like ours.
//!
//! | | Envoy | HAProxy |
//! |---|---|---|
//! | listens | by itself, sharing the port by `SO_REUSEPORT` | on the supervisor's listeners, which it inherits |
//! | learns of replicas | from a file that is replaced (EDS) | by commands over its runtime socket |
//! | ends in order | listeners drained over its admin port, SIGTERM when nobody is left | SIGUSR1 |
//!
//! With both, a change of replicas restarts nothing and cuts no connection, and the gateway connects from its own
//! loopback address, so that all nodes' gateways together have enough ports.

mod envoy;
mod haproxy;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ::platform::{
    endpoints::Endpoints,
    values::{Gateway, GatewayKind, Http, Values},
};
use rustix::process::{Resource, getrlimit};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use controller::{GatewayTemplate, Input, RunId};

use super::{Message, obstacle::Obstacle, servers::Launch};
use crate::{
    paths::read_regular,
    process::Process,
    programs::{Found, Program, Programs},
};

/// Open files of a process that are not connections.
const OTHER_FILES: u64 = 256;
/// How often to poll a gateway that is behind.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// How often to retry a gateway that cannot be reached.
const TRY_EVERY: Duration = Duration::from_millis(250);

/// The template of a platform's proxies; those started from a different one are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    kind: Kind,
    found: Found,
    settings: Gateway,
    /// `None`: it forwards connections unchanged.
    http: Option<Http>,
}

/// How requests reach a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way<'a> {
    /// `None`: requests that match no other path.
    path: Option<&'a str>,
    cookie: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Envoy,
    Haproxy,
}

/// One process of a proxy: its place in the platform.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) name: String,
    /// Address of its admin port, and source address of its connections to replicas.
    pub(crate) ip: IpAddr,
    /// The addresses for clients.
    pub(crate) clients: Vec<SocketAddr>,
    /// The services behind it; the first is the one without a route.
    pub(crate) clusters: Vec<String>,
    /// Its own files.
    pub(crate) folder: PathBuf,
    /// The endpoints for all gateways; see [`Endpoints`].
    pub(crate) endpoints: PathBuf,
}

/// A proxy in its place.
#[derive(Debug, Clone)]
pub(crate) struct Proxied {
    pub(crate) proxy: Proxy,
    pub(crate) site: Site,
}

impl Proxy {
    /// Whether the program that the values name can be the gateway.
    pub(crate) fn check(values: &Values, programs: &Programs) -> Result<(), Obstacle> {
        match (values.gateway.kind, programs.get(&Program::Haproxy)) {
            (GatewayKind::Haproxy, Some(found)) => haproxy::check_version(found),
            _ => Ok(()),
        }
    }

    /// `None`: this gateway is our own.
    pub(crate) fn of(template: &GatewayTemplate, programs: &Programs) -> Option<Self> {
        template.program.as_ref()?;
        let (kind, program) = match template.settings.kind {
            GatewayKind::Playctl => return None,
            GatewayKind::Envoy => (Kind::Envoy, Program::Envoy),
            GatewayKind::Haproxy => (Kind::Haproxy, Program::Haproxy),
        };
        let found = programs.get(&program).cloned()?;
        let settings = Gateway { rules: template.listener.rules.clone(), ..template.settings.clone() };
        Some(Self { kind, found, settings, http: template.listener.http.clone() })
    }

    /// Whether it takes the supervisor's listeners.
    pub(crate) fn takes_listeners(&self) -> bool {
        self.kind == Kind::Haproxy
    }

    /// Writes the configuration of a process and says how to start it.
    pub(crate) fn prepare(&self, site: &Site, endpoints: &Endpoints) -> io::Result<Launch> {
        crate::paths::private_directory(&site.folder)?;
        match self.kind {
            Kind::Envoy => envoy::prepare(self, site, endpoints),
            Kind::Haproxy => haproxy::prepare(self, site, endpoints),
        }
    }

    /// The paths that lead to a service, which are removed for it, and its cookie, if any. A cookie of these programs
    /// has room for one replica, so each service has its own.
    fn way_to<'a>(&'a self, cluster: &str, site: &Site) -> Vec<Way<'a>> {
        let Some(http) = &self.http else { return Vec::new() };
        let cookie = |is_rest: bool| {
            let name = http.sticky_cookie.as_deref()?;
            Some(if is_rest { name.to_owned() } else { format!("{name}-{cluster}") })
        };
        let is_rest = site.clusters.first().is_some_and(|first| first == cluster);
        let to = http.routes.iter().filter(|route| route.service == cluster);
        let mut ways: Vec<Way<'a>> =
            to.map(|route| Way { path: Some(route.path.as_str()), cookie: cookie(is_rest) }).collect();
        if is_rest {
            ways.push(Way { path: None, cookie: cookie(true) });
        }
        ways
    }

    fn admin(&self, site: &Site) -> SocketAddr {
        SocketAddr::new(site.ip, self.settings.admin_port)
    }

    /// Maximum number of connections per process: two open files each.
    fn connections_max(&self) -> u64 {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        u64::from(self.settings.max_connections).min(files.saturating_sub(OTHER_FILES) / 2).max(1)
    }
}

impl Proxied {
    pub(crate) fn version(&self) -> &str {
        &self.proxy.found.version
    }

    /// Its version and path, and the address of its statistics.
    pub(crate) fn in_words(&self) -> String {
        let own = self.proxy.found.executable.display().to_string();
        match self.proxy.kind {
            Kind::Envoy => own,
            Kind::Haproxy => {
                let password = haproxy::password_file(&self.site.folder);
                let (admin, user) = (self.proxy.admin(&self.site), haproxy::USER);
                let password = password.display();
                format!("{own}, statistics at http://{admin}/stats (user {user}, password in {password})")
            }
        }
    }

    /// The path of its metrics, if it is not `/metrics`.
    pub(crate) fn metrics_path(&self) -> Option<&'static str> {
        (self.proxy.kind == Kind::Envoy).then_some("/stats/prometheus")
    }

    /// The path of its readiness.
    pub(crate) fn readiness_path(&self) -> &'static str {
        match self.proxy.kind {
            Kind::Envoy => envoy::READY,
            Kind::Haproxy => haproxy::READY,
        }
    }

    /// Sends every change of the endpoints to a process, until nobody listens any more.
    pub(crate) async fn follow(
        self,
        run: RunId,
        messages: mpsc::Sender<Message>,
        mut versions: watch::Receiver<u64>,
    ) {
        loop {
            let wanted = *versions.borrow_and_update();
            let version = self.bring_up_to(wanted).await;
            if messages.send(Message::Input(Input::CaughtUp { run, version })).await.is_err()
                || versions.changed().await.is_err()
            {
                return;
            }
        }
    }

    /// Returns the version that it has applied, at least `wanted`.
    async fn bring_up_to(&self, wanted: u64) -> u64 {
        let Self { proxy, site } = self;
        let mut last_failure = String::new();
        loop {
            let told = match read(&site.endpoints) {
                Ok(endpoints) if endpoints.version >= wanted => match proxy.kind {
                    Kind::Envoy => envoy::tell(proxy.admin(site), site, &endpoints).await,
                    Kind::Haproxy => haproxy::tell(proxy, site, &endpoints).await,
                },
                Ok(_) => Ok(None),
                Err(error) => Err(error),
            };
            match told {
                Ok(Some(version)) => return version,
                Ok(None) => sleep(ASK_EVERY).await,
                Err(error) => {
                    let failure = error.to_string();
                    // While it starts, nobody listens yet.
                    if failure != last_failure && !is_starting(&error) {
                        tracing::warn!(
                            gateway = site.name,
                            failure,
                            "cannot tell a gateway about the replicas"
                        );
                    }
                    last_failure = failure;
                    sleep(if is_starting(&error) { ASK_EVERY } else { TRY_EVERY }).await;
                }
            }
        }
    }

    /// Asks a process to end after its last connection; it accepts no new ones.
    pub(crate) fn drain(&self, process: &Process) {
        match self.proxy.kind {
            Kind::Haproxy => process.stop_softly(),
            Kind::Envoy => {
                let (admin, clusters) = (self.proxy.admin(&self.site), self.site.clusters.clone());
                let counts = envoy::counts_of_use(self.proxy.http.is_some(), &clusters);
                let process = process.clone();
                tokio::task::spawn_local(async move {
                    envoy::drain(admin, &counts).await;
                    process.terminate();
                });
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Endpoints> {
    Ok(serde_json::from_slice(&read_regular(path)?)?)
}

fn is_starting(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests;
