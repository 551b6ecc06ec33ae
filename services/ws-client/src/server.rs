//! Starts and runs the service.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::admin::Pages;
use service::logs::{self, LogLines};
use service::{Phase, Readiness, Shutdown, web};
use tracing::info;

use crate::metrics::Metrics;
use crate::user::Rules;
use crate::users::Users;
use crate::{Error, Settings, routes};

/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 256;

/// A bound server: requests wait for [`Server::run`] to serve them.
pub struct Server {
    bound: web::Bound,
    users: Arc<Users>,
    lines: LogLines,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. Kafka need not be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let Settings { host, port, server_host, server_port, .. } = settings;
        let listeners = web::Listeners::bind((host, port), (settings.admin_host, settings.admin_port))?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("ws-client", &pod, None);
        let bound = listeners.start(readiness.clone(), pages, 1)?;
        let lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        let server = format!("{server_host}:{server_port}");
        info!(%pod, address = %bound.address(), admin = %bound.admin_address(), %server, "started");
        let rules = Rules { server, return_after: settings.return_after, metrics };
        let users = Arc::new(Users::new(settings.users_max.get(), settings.connect_every, rules));
        Ok(Self { bound, users, lines, shutdown })
    }

    /// Its ports, and the state that `/readyz` reports.
    pub fn bound(&self) -> &web::Bound {
        &self.bound
    }

    /// Serves until the shutdown is complete and all users have left.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { bound, users, lines, shutdown } = self;
        let readiness = bound.readiness().clone();
        let work = async |listener| {
            let accepting =
                tokio::spawn(web::serve(listener, routes::router(Arc::clone(&users)), CONNECTIONS_MAX));
            readiness.ready();
            info!("ready");
            shutdown.reached(Phase::Draining).await;
            readiness.draining();
            accepting.abort();
            tokio::select! {
                () = users.disconnect_all() => {}
                () = shutdown.reached(Phase::Forced) => {}
            }
            info!("ended");
        };
        bound.run(|listener| lines.shipped_during(work(listener)))
    }
}
