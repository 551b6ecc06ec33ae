//! Starts and runs the service.

use std::num::NonZeroUsize;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use service::admin::Pages;
use service::logs::{self, LogLines};
use service::{Phase, Readiness, Shutdown, web};
use tracing::info;

use crate::{Error, Settings, metrics, routes};

/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 256;

/// A bound server: requests wait for [`Server::run`] to serve them.
pub struct Server {
    bound: web::Bound,
    limit: NonZeroUsize,
    views: Counter,
    lines: LogLines,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. Kafka need not be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let Settings { host, port, admin_host, admin_port, pod_name, kafka, .. } = settings;
        let listeners = web::Listeners::bind((host, port), (admin_host, admin_port))?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let views = metrics::register(&mut registry);
        let pod = logs::pod_name(pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("page", &pod, None);
        let bound = listeners.start(readiness.clone(), pages, 1)?;
        let lines = LogLines::new(kafka.as_ref(), &pod)?;
        info!(%pod, address = %bound.address(), admin = %bound.admin_address(), "started");
        Ok(Self { bound, limit: settings.connection_limit_per_host, views, lines, shutdown })
    }

    /// Its ports, and the state that `/readyz` reports.
    pub fn bound(&self) -> &web::Bound {
        &self.bound
    }

    /// Serves until the shutdown is complete.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { bound, limit, views, lines, shutdown } = self;
        let readiness = bound.readiness().clone();
        let work = async |listener| {
            let accepting =
                tokio::spawn(web::serve(listener, routes::router(limit, &views), CONNECTIONS_MAX));
            readiness.ready();
            info!("ready");
            shutdown.reached(Phase::Draining).await;
            readiness.draining();
            accepting.abort();
            info!("ended");
        };
        bound.run(|listener| lines.shipped_during(work(listener)))
    }
}
