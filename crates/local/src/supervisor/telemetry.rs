//! The supervisor's own admin port: `/healthz`, `/readyz` and `/metrics`, as every service has them.
//!
//! It stands in for what a cluster scrapes beside its services: cAdvisor (connections, CPU and memory of every replica,
//! seen from outside) and kube-state-metrics (replicas, autoscalers), under their names and labels, so that the same
//! queries, rules and dashboards serve both. `docs/telemetry.md` lists them.
//!
//! The port has its own thread (see [`service::admin`]), which shares one thing with the main loop: the [`Snapshot`]
//! that the loop publishes whenever anything may have changed. The kernel's counts are read for each scrape.

mod page;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use service::{
    Readiness,
    admin::{Admin, Pages},
};

use ::platform::target::Snapshot;
pub(crate) use controller::Counts;

/// The services' admin port too.
pub(crate) const PORT: u16 = 9100;

/// The published state.
#[derive(Debug, Clone)]
struct Shown {
    snapshot: Snapshot,
    counts: Counts,
}

/// The port and its published state.
#[derive(Debug)]
pub(crate) struct Telemetry {
    shown: Arc<Mutex<Option<Shown>>>,
    readiness: Readiness,
    admin: Admin,
}

impl Telemetry {
    pub(crate) fn start(address: SocketAddr) -> io::Result<Self> {
        let shown = Arc::new(Mutex::new(None));
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(page::Page::new(Arc::clone(&shown))));
        let admin = Admin::start(TcpListener::bind(address)?, Pages::new(readiness.clone(), registry))?;
        Ok(Self { shown, readiness, admin })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Publishes a new state.
    pub(crate) fn publish(&self, snapshot: Snapshot, counts: Counts) {
        *self.shown.lock() = Some(Shown { snapshot, counts });
    }

    /// The platform is up.
    pub(crate) fn ready(&self) {
        self.readiness.ready();
    }
}
