//! Starts and runs the service.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::{Phase, Readiness, Shutdown, listen, logs, web};
use tokio::runtime::Runtime;
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
    address: SocketAddr,
    admin: Admin,
    readiness: Readiness,
    runtime: Runtime,
    listener: TcpListener,
    shared: Arc<Shared>,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port. Neither Redis nor the platform needs to be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, platform: Platform, shutdown: Shutdown) -> Result<Self, Error> {
        let listener = listen::tcp(settings.host, settings.port).map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let admin_listener =
            listen::admin(settings.admin_host, settings.admin_port).map_err(Error::Listen)?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let (metrics, noticed) = Metrics::register(&mut registry);
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("balancer", &pod, None);
        let admin = Admin::start(admin_listener, pages).map_err(Error::Admin)?;
        let runtime = web::runtime(1).map_err(Error::Start)?;
        info!(%pod, %address, admin = %admin.address(), service = settings.service, "started");
        let shared = Arc::new(Shared::new(settings, platform, (metrics, noticed), readiness.clone()));
        Ok(Self { address, admin, readiness, runtime, listener, shared, shutdown })
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

    /// Serves until the shutdown begins. Does not finish shedding: nobody would check the outcome.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { admin, readiness, runtime, listener, shared, shutdown, .. } = self;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(Error::Start)?
        };
        runtime.block_on(async {
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
        });
        runtime.shutdown_background();
        drop(admin);
        Ok(())
    }
}
