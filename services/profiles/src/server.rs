//! Starts and runs the service.

use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use service::admin::Pages;
use service::logs::{self, LogLines};
use service::web::{self, Port};
use service::{Phase, Readiness, Shutdown};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::cassandra::{self, Cassandra};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::routes::{self, App, Rules};
use crate::{Error, Settings};

/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 1024;
/// The part that `/readyz` reports as degraded while data are only in memory.
const MEMORY: &str = "memory";

/// A bound server: requests wait for [`Server::run`] to serve them.
pub struct Server {
    bound: web::Bound,
    router: Router,
    cassandra: Option<Arc<Cassandra>>,
    settings: Settings,
    lines: LogLines,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. Cassandra need not be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let listeners =
            web::Listeners::bind((settings.host, settings.port), (settings.admin_host, settings.admin_port))?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("profiles", &pod, None);
        let bound = listeners.start(readiness.clone(), pages, settings.workers.get())?;
        let lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        let rules = Rules { allow_drop: settings.allow_drop, compat_404: settings.compat_404 };
        let cassandra = settings
            .cassandra
            .clone()
            .map(|settings| Arc::new(Cassandra::new(settings, Arc::clone(&metrics), readiness.clone())));
        let router = if let Some(cassandra) = &cassandra {
            let app = App::new(Arc::clone(cassandra), metrics, pod.clone(), rules);
            routes::router(Arc::new(app))
        } else {
            readiness.degrade(MEMORY, "the data are in memory: for one replica only, and lost with it");
            let memory = Arc::new(Memory::new(settings.memory_limit));
            routes::router(Arc::new(App::new(memory, metrics, pod.clone(), rules)))
        };
        let data = settings.cassandra.as_ref().map_or(MEMORY.to_owned(), ToString::to_string);
        info!(%pod, address = %bound.address(), admin = %bound.admin_address(), %data, "started");
        Ok(Self { bound, router, cassandra, settings, lines, shutdown })
    }

    /// Its ports, and the state that `/readyz` reports.
    pub fn bound(&self) -> &web::Bound {
        &self.bound
    }

    /// Serves until the shutdown is complete: accepted requests are finished, unless they take too long.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { bound, router, cassandra, settings, lines, shutdown } = self;
        let readiness = bound.readiness().clone();
        let work = async |listener| {
            let port = Port::open(listener, router, CONNECTIONS_MAX);
            let mut awaited = Vec::new();
            if let Some(cassandra) = cassandra {
                let (tell, told) = oneshot::channel();
                awaited.push((cassandra::PART, told));
                tokio::spawn(async move { cassandra.keep(tell).await });
            }
            tokio::select! {
                () = readiness.ready_after(awaited) => shutdown.reached(Phase::Draining).await,
                () = shutdown.reached(Phase::Draining) => {}
            }
            readiness.draining();
            info!("draining");
            let all_answered = port.close(settings.sigterm_timeout, settings.drain_grace, &shutdown).await;
            if all_answered {
                info!("ended");
            } else {
                warn!("ended and cut off requests");
            }
        };
        bound.run(|listener| lines.shipped_during(work(listener)))
    }
}
