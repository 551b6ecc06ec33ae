//! Starts and runs the service.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::admin::Pages;
use service::logs::{self, LogLines};
use service::web::{self, Port};
use service::{Phase, Readiness, Shutdown};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::opened::{self, Opened};
use crate::profiles::{self, Profiles};
use crate::routes::{self, App};
use crate::testdata::Testdata;
use crate::{Error, Settings};

/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 1024;

/// A bound server: requests wait for [`Server::run`] to serve them.
pub struct Server {
    bound: web::Bound,
    app: Arc<App>,
    settings: Settings,
    lines: LogLines,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. Neither `profiles` nor Redis needs to be reachable.
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
        let pages = Pages::new(readiness.clone(), registry).with_info("directory", &pod, None);
        let bound = listeners.start(readiness.clone(), pages, settings.workers.get())?;
        let lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        let url = &settings.profiles_url;
        let profiles =
            Profiles::new(url.clone(), settings.profiles_timeout, Arc::clone(&metrics), readiness.clone())
                .map_err(|error| Error::Start(std::io::Error::other(error)))?;
        let profiles = Arc::new(profiles);
        let opened = Opened::new(settings.redis.clone(), Arc::clone(&metrics), readiness.clone());
        let testdata = Testdata::new(Arc::clone(&profiles), Arc::clone(&metrics));
        info!(%pod, address = %bound.address(), admin = %bound.admin_address(), profiles = %url, redis = %settings.redis, "started");
        let app = Arc::new(App {
            profiles,
            opened: Arc::new(opened),
            testdata: Arc::new(testdata),
            metrics,
            host_name: pod,
            destructive_gets: settings.destructive_gets,
        });
        Ok(Self { bound, app, settings, lines, shutdown })
    }

    /// Its ports, and the state that `/readyz` reports.
    pub fn bound(&self) -> &web::Bound {
        &self.bound
    }

    /// Serves until the shutdown is complete. Aborts a run of test data.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { bound, app, settings, lines, shutdown } = self;
        let readiness = bound.readiness().clone();
        let work = async |listener| {
            let port = Port::open(listener, routes::router(Arc::clone(&app)), CONNECTIONS_MAX);
            let (profiles_answered, profiles_word) = oneshot::channel();
            let profiles = Arc::clone(&app.profiles);
            tokio::spawn(async move { profiles.watch(profiles_answered).await });
            let (redis_answered, redis_word) = oneshot::channel();
            let opened = Arc::clone(&app.opened);
            tokio::spawn(async move { opened.watch(redis_answered).await });
            let awaited = vec![(profiles::PART, profiles_word), (opened::PART, redis_word)];
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
