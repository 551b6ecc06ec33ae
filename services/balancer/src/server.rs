//! Starts and runs the service.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use service::admin::Pages;
use service::logs::{self, LogLines};
use service::{Phase, Readiness, Shutdown, web};
use tracing::info;

use crate::engine::{Engine, Shared};
use crate::metrics::Metrics;
use crate::{Error, Platform, Settings, routes};

/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 256;
/// Time limit for reactivating resting servers at the end, and then for giving back the turn.
const FAREWELL: Duration = Duration::from_secs(2);

/// A bound server: requests wait for [`Server::run`] to serve them.
pub struct Server {
    bound: web::Bound,
    shared: Arc<Shared>,
    lines: LogLines,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. None of Redis, Kafka and the platform needs to be
    /// reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, platform: Platform, shutdown: Shutdown) -> Result<Self, Error> {
        let listeners =
            web::Listeners::bind((settings.host, settings.port), (settings.admin_host, settings.admin_port))?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let (metrics, noticed) = Metrics::register(&mut registry);
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("balancer", &pod, None);
        let bound = listeners.start(readiness.clone(), pages, 1)?;
        let lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        info!(%pod, address = %bound.address(), admin = %bound.admin_address(), service = settings.service, "started");
        let shared = Arc::new(Shared::new(settings, platform, (metrics, noticed), readiness.clone()));
        Ok(Self { bound, shared, lines, shutdown })
    }

    /// Its ports, and the state that `/readyz` reports.
    pub fn bound(&self) -> &web::Bound {
        &self.bound
    }

    /// Serves until the shutdown begins. Does not finish shedding: nobody would check the outcome.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { bound, shared, lines, shutdown } = self;
        let readiness = bound.readiness().clone();
        let work = async |listener| {
            let accepting =
                tokio::spawn(web::serve(listener, routes::router(Arc::clone(&shared)), CONNECTIONS_MAX));
            readiness.ready();
            info!("ready");
            let turn = shared.actor.as_ref().map(|actor| Arc::clone(&actor.turn));
            let mut engine = Engine::new(shared);
            tokio::select! {
                () = engine.run() => {}
                () = shutdown.reached(Phase::Draining) => {}
            }
            readiness.draining();
            accepting.abort();
            // The platform may be shutting down too.
            let _ = tokio::time::timeout(FAREWELL, engine.leave()).await;
            if let Some(turn) = turn {
                let giving_back = tokio::task::spawn_blocking(move || turn.give_back());
                let _ = tokio::time::timeout(FAREWELL, giving_back).await;
            }
            info!("ended");
        };
        bound.run(|listener| lines.shipped_during(work(listener)))
    }
}
