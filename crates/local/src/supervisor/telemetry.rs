//! The supervisor's own admin port: `/healthz`, `/readyz` and `/metrics`, as every service has them.
//!
//! It stands in for what a cluster scrapes beside its services: cAdvisor (connections, CPU and memory of every replica,
//! seen from outside) and kube-state-metrics (replicas, autoscalers), under their names and labels, so that the same
//! queries, rules and dashboards serve both. `docs/telemetry.md` lists them.
//!
//! The port has its own thread (see [`service::admin`]), which shares one thing with the actor: the [`View`] that the
//! actor leaves there whenever anything may have changed. What the kernel counts is read anew for each scrape.

mod page;
mod view;

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

pub(crate) use view::{AutoscalerView, Counts, GatewayView, ProcessView, ReplicaView, ServiceView, View};

/// The same as that of the services.
pub(crate) const PORT: u16 = 9100;

/// The port and what it tells.
#[derive(Debug)]
pub(crate) struct Telemetry {
    view: Arc<Mutex<View>>,
    readiness: Readiness,
    admin: Admin,
}

impl Telemetry {
    pub(crate) fn start(address: SocketAddr) -> io::Result<Self> {
        let view = Arc::new(Mutex::new(View::default()));
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(page::Page::new(Arc::clone(&view))));
        let admin = Admin::start(TcpListener::bind(address)?, Pages::new(readiness.clone(), registry))?;
        Ok(Self { view, readiness, admin })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// What is told from now on.
    pub(crate) fn publish(&self, view: View) {
        *self.view.lock() = view;
    }

    /// The platform came up.
    pub(crate) fn ready(&self) {
        self.readiness.ready();
    }
}
