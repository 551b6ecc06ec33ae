//! Starts and runs the service.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::logs::{self, LogLines};
use service::web::{self, Port};
use service::{Phase, Readiness, Shutdown, listen};
use tokio::runtime::Runtime;
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
    address: SocketAddr,
    admin: Admin,
    readiness: Readiness,
    runtime: Runtime,
    listener: TcpListener,
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
        let listener = listen::tcp(settings.host, settings.port).map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let admin_listener =
            listen::admin(settings.admin_host, settings.admin_port).map_err(Error::Listen)?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("profiles", &pod, None);
        let admin = Admin::start(admin_listener, pages).map_err(Error::Admin)?;
        let runtime = web::runtime(settings.workers.get()).map_err(Error::Start)?;
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
        info!(%pod, %address, admin = %admin.address(), %data, "started");
        Ok(Self {
            address,
            admin,
            readiness,
            runtime,
            listener,
            router,
            cassandra,
            settings,
            lines,
            shutdown,
        })
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

    /// Serves until the shutdown is complete: accepted requests are finished, unless they take too long.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self {
            admin, readiness, runtime, listener, router, cassandra, settings, lines, shutdown, ..
        } = self;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(Error::Start)?
        };
        let work = async {
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
        runtime.block_on(lines.shipped_during(work));
        runtime.shutdown_background();
        drop(admin);
        Ok(())
    }
}
