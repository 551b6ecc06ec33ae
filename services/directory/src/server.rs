//! Starts and runs the service.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::logs::{self, LogLines};
use service::web::{self, Port};
use service::{Phase, Readiness, Shutdown, listen};
use tokio::runtime::Runtime;
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
    address: SocketAddr,
    admin: Admin,
    readiness: Readiness,
    runtime: Runtime,
    listener: TcpListener,
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
        let listener = listen::tcp(settings.host, settings.port).map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let admin_listener =
            listen::admin(settings.admin_host, settings.admin_port).map_err(Error::Listen)?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("directory", &pod, None);
        let admin = Admin::start(admin_listener, pages).map_err(Error::Admin)?;
        let runtime = web::runtime(settings.workers.get()).map_err(Error::Start)?;
        let lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        let url = &settings.profiles_url;
        let profiles =
            Profiles::new(url.clone(), settings.profiles_timeout, Arc::clone(&metrics), readiness.clone())
                .map_err(|error| Error::Start(std::io::Error::other(error)))?;
        let profiles = Arc::new(profiles);
        let opened = Opened::new(settings.redis.clone(), Arc::clone(&metrics), readiness.clone());
        let testdata = Testdata::new(Arc::clone(&profiles), Arc::clone(&metrics));
        info!(%pod, %address, admin = %admin.address(), profiles = %url, redis = %settings.redis, "started");
        let app = Arc::new(App {
            profiles,
            opened: Arc::new(opened),
            testdata: Arc::new(testdata),
            metrics,
            host_name: pod,
            destructive_gets: settings.destructive_gets,
        });
        Ok(Self { address, admin, readiness, runtime, listener, app, settings, lines, shutdown })
    }

    /// The address for requests, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin port, with the real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The state that `/readyz` reports.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Serves until the shutdown is complete. Aborts a run of test data.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { admin, readiness, runtime, listener, app, settings, lines, shutdown, .. } = self;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(Error::Start)?
        };
        let work = async {
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
        runtime.block_on(lines.shipped_during(work));
        runtime.shutdown_background();
        drop(admin);
        Ok(())
    }
}
