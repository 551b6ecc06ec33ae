//! The backends of one service, and which of them may take new connections.
//!
//! Three sources decide: the endpoints file (who exists, who drains), active health checks, and passive ejection after
//! consecutive failed connects. Every change creates a new [`Routing`], which the data plane reads without blocking. No
//! I/O here, and the caller passes the time.
//!
//! Which backends may take a connection, the first of these groups that is not empty:
//! 1. healthy and not ejected;
//! 2. healthy: an ejection never takes the last one;
//! 3. not yet checked: a new platform works before its first health check has finished.
//!
//! A backend that fails its checks gets no connections, even if all fail: it has said that it is not ready.

pub(crate) mod backend;
pub(crate) mod health;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use platform::endpoints::Endpoint;
use serde::Serialize;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::published::{Published, View};
use backend::{Backend, BackendCounts};
use health::{Health, Thresholds, Verdict};

/// When failed connects take a backend out for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ejection {
    /// Consecutive failed connects; 0 never ejects.
    pub(crate) failures: u32,
    pub(crate) duration: Duration,
}

/// One service's backends, shared by the control thread (which changes them) and the workers (which choose).
#[derive(Debug)]
pub(crate) struct Cluster {
    thresholds: Thresholds,
    ejection: Ejection,
    members: Mutex<Members>,
    routing: Published<Routing>,
    ejections: AtomicU64,
    /// Notified of each ejection, so that the control thread knows when it ends.
    pub(crate) ejected: Notify,
}

/// The backends that may take a new connection now.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    pub(crate) eligible: Vec<Arc<Backend>>,
    /// Backends whose first check has not finished, while others are eligible: they keep earlier clients.
    unchecked: Vec<Arc<Backend>>,
}

impl Routing {
    /// The backends with these keys that may still get their earlier clients.
    pub(crate) fn known<'a>(&'a self, keys: &'a [&str]) -> impl Iterator<Item = &'a Arc<Backend>> {
        self.eligible.iter().chain(&self.unchecked).filter(|backend| keys.contains(&backend.key.as_str()))
    }

    /// True if `backend` may take new connections.
    pub(crate) fn has(&self, backend: &Arc<Backend>) -> bool {
        self.eligible.iter().any(|eligible| Arc::ptr_eq(eligible, backend))
    }
}

#[derive(Debug, Default)]
struct Members {
    version: Option<u64>,
    list: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    backend: Arc<Backend>,
    check: Option<SocketAddr>,
    health: Health,
    last_failure: Option<String>,
    draining: bool,
    /// No longer in the file; kept until its last session ends, so that its counts remain visible.
    removed: bool,
    ejected_until: Option<Instant>,
}

/// The state of a cluster as its admin port shows it.
#[derive(Debug, Serialize)]
pub struct ClusterView {
    /// The version of the endpoints file in use; none before the first.
    pub version: Option<u64>,
    pub endpoints: Vec<EndpointView>,
}

/// One backend as the admin port shows it.
#[derive(Debug, Serialize)]
pub struct EndpointView {
    pub name: String,
    pub address: SocketAddr,
    pub health: Verdict,
    /// The reason of the latest failed check.
    pub last_failure: Option<String>,
    pub draining: bool,
    pub removed: bool,
    pub ejected: bool,
    pub counts: BackendCounts,
}

/// The clusters behind one gateway: several only if paths decide.
#[derive(Debug, Clone)]
pub(crate) struct Clusters(pub(crate) Vec<Arc<Cluster>>);

impl Clusters {
    /// All clusters as one view. Its version is the lowest of theirs.
    pub(crate) fn view(&self) -> ClusterView {
        let views: Vec<ClusterView> = self.0.iter().map(|cluster| cluster.view()).collect();
        let version = views.iter().map(|view| view.version).min().flatten();
        ClusterView { version, endpoints: views.into_iter().flat_map(|view| view.endpoints).collect() }
    }

    /// The only cluster.
    pub(crate) fn only(&self) -> Arc<Cluster> {
        Arc::clone(&self.0[0])
    }

    pub(crate) fn ejections(&self) -> u64 {
        self.0.iter().map(|cluster| cluster.ejections()).sum()
    }
}

impl Cluster {
    pub(crate) fn new(thresholds: Thresholds, ejection: Ejection) -> Self {
        Self {
            thresholds,
            ejection,
            members: Mutex::default(),
            routing: Published::new(Routing::default()),
            ejections: AtomicU64::new(0),
            ejected: Notify::new(),
        }
    }

    /// Applies a new state of the endpoints file. Sessions of removed or draining backends are not affected.
    pub(crate) fn take_over(&self, version: u64, endpoints: &[Endpoint]) {
        let mut members = self.members.lock();
        let mut old = std::mem::take(&mut members.list);
        for endpoint in endpoints {
            let known = old.iter().position(|member| member.is(endpoint));
            members.list.push(match known {
                Some(index) => old.swap_remove(index).updated(endpoint),
                None => Member::new(endpoint),
            });
        }
        for mut member in old {
            member.removed = true;
            if member.backend.active() > 0 {
                members.list.push(member);
            }
        }
        members.version = Some(version);
        self.publish(&members);
    }

    /// The backends to check, each with the address of its `/readyz`.
    pub(crate) fn checks(&self) -> Vec<(Arc<Backend>, SocketAddr)> {
        let members = self.members.lock();
        let wanted = members.list.iter().filter(|member| !member.draining && !member.removed);
        wanted.filter_map(|member| Some((Arc::clone(&member.backend), member.check?))).collect()
    }

    /// Records the result of one health check of `backend`; an error says why it failed.
    pub(crate) fn checked(&self, backend: &Arc<Backend>, result: Result<(), String>) {
        let mut members = self.members.lock();
        let Some(member) = members.find(backend) else {
            return;
        };
        let changed = member.health.record(result.is_ok(), self.thresholds);
        let name = &backend.name;
        match (result, changed) {
            (Ok(()), true) => info!(backend = name, "healthy"),
            (Err(reason), changed) => {
                if changed {
                    warn!(backend = name, reason, "unhealthy: gets no new connection");
                }
                member.last_failure = Some(reason);
            }
            (Ok(()), false) => {}
        }
        if changed {
            self.publish(&members);
        }
    }

    /// Records a failed connect to `backend`, which ends its session. `blame` is false if the gateway itself lacked
    /// resources. Ejects the backend after enough consecutive failures, unless it is the last one left.
    pub(crate) fn connect_failed(&self, backend: &Arc<Backend>, blame: bool, now: Instant) {
        let failures = backend.session_failed(blame);
        if !blame || self.ejection.failures == 0 || failures < self.ejection.failures {
            return;
        }
        let mut members = self.members.lock();
        let another =
            members.list.iter().any(|member| member.serves() && !Arc::ptr_eq(&member.backend, backend));
        let Some(member) = members.find(backend) else {
            return;
        };
        if !another || !member.serves() {
            return;
        }
        member.ejected_until = Some(now + self.ejection.duration);
        warn!(backend = backend.name, failures, seconds = self.ejection.duration.as_secs_f64(), "ejected");
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.publish(&members);
        self.ejected.notify_one();
    }

    /// Ends expired ejections and returns when the next one ends.
    pub(crate) fn readmit(&self, now: Instant) -> Option<Instant> {
        let mut members = self.members.lock();
        let mut changed = false;
        for member in &mut members.list {
            if member.ejected_until.is_some_and(|until| until <= now) {
                member.ejected_until = None;
                // It gets as many tries as before the ejection.
                member.backend.forgive();
                changed = true;
                info!(backend = member.backend.name, "no longer ejected");
            }
        }
        if changed {
            self.publish(&members);
        }
        members.list.iter().filter_map(|member| member.ejected_until).min()
    }

    /// True if `address` belongs to a replica, or to a removed one that still has sessions.
    pub(crate) fn is_replica(&self, address: SocketAddr) -> bool {
        self.members.lock().list.iter().any(|member| member.backend.address == address)
    }

    /// Number of ejections so far.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    pub(crate) fn routing(&self) -> &Published<Routing> {
        &self.routing
    }

    /// A worker's view of the backends it may choose from.
    pub(crate) fn routing_view(&self) -> View<Routing> {
        self.routing.view()
    }

    /// The state as the admin port shows it.
    pub(crate) fn view(&self) -> ClusterView {
        let mut members = self.members.lock();
        members.list.retain(|member| !member.removed || member.backend.active() > 0);
        ClusterView { version: members.version, endpoints: members.list.iter().map(Member::view).collect() }
    }

    fn publish(&self, members: &Members) {
        let eligible = members.eligible();
        let unchecked = members.with(Verdict::Unknown, false);
        self.routing.replace(Routing { eligible, unchecked });
    }
}

impl Members {
    fn find(&mut self, backend: &Arc<Backend>) -> Option<&mut Member> {
        self.list.iter_mut().find(|member| Arc::ptr_eq(&member.backend, backend))
    }

    fn with(&self, verdict: Verdict, also_ejected: bool) -> Vec<Arc<Backend>> {
        let present = self.list.iter().filter(|member| !member.draining && !member.removed);
        present
            .filter(|member| member.health.verdict() == verdict)
            .filter(|member| also_ejected || member.ejected_until.is_none())
            .map(|member| Arc::clone(&member.backend))
            .collect()
    }

    fn eligible(&self) -> Vec<Arc<Backend>> {
        [(Verdict::Healthy, false), (Verdict::Healthy, true), (Verdict::Unknown, true)]
            .into_iter()
            .map(|(verdict, also_ejected)| self.with(verdict, also_ejected))
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    }
}

impl Member {
    fn new(endpoint: &Endpoint) -> Self {
        Self {
            backend: Arc::new(Backend::new(endpoint.name.clone(), endpoint.address)),
            check: endpoint.health,
            health: if endpoint.health.is_some() { Health::unknown() } else { Health::assumed() },
            last_failure: None,
            draining: endpoint.draining,
            removed: false,
            ejected_until: None,
        }
    }

    /// Whether it is the same replica: the same name at another address is a different one.
    fn is(&self, endpoint: &Endpoint) -> bool {
        self.backend.name == endpoint.name && self.backend.address == endpoint.address
    }

    fn updated(mut self, endpoint: &Endpoint) -> Self {
        if self.removed || self.check != endpoint.health {
            let fresh = Self::new(endpoint);
            self.health = fresh.health;
            self.check = fresh.check;
            self.ejected_until = None;
        }
        self.removed = false;
        self.draining = endpoint.draining;
        self
    }

    /// Takes new connections because it is healthy.
    fn serves(&self) -> bool {
        !self.draining
            && !self.removed
            && self.ejected_until.is_none()
            && self.health.verdict() == Verdict::Healthy
    }

    fn view(&self) -> EndpointView {
        EndpointView {
            name: self.backend.name.clone(),
            address: self.backend.address,
            health: self.health.verdict(),
            last_failure: self.last_failure.clone(),
            draining: self.draining,
            removed: self.removed,
            ejected: self.ejected_until.is_some(),
            counts: self.backend.counts(),
        }
    }
}

#[cfg(test)]
mod tests;
