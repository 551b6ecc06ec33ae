//! Starts and runs the service.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::{Phase, Readiness, Shutdown, listen, logs, web};
use tokio::runtime::Runtime;
use tracing::info;

use crate::{Error, Settings, metrics, routes};

/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 256;

/// A bound server: requests wait for [`Server::run`] to serve them.
pub struct Server {
    address: SocketAddr,
    admin: Admin,
    readiness: Readiness,
    runtime: Runtime,
    listener: TcpListener,
    limit: NonZeroUsize,
    views: Counter,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let Settings { host, port, admin_host, admin_port, connection_limit_per_host: limit, pod_name } =
            settings;
        let listener = listen::tcp(host, port).map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let admin_listener = listen::admin(admin_host, admin_port).map_err(Error::Listen)?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let views = metrics::views(&mut registry);
        let pod = logs::pod_name(pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("page", &pod, None);
        let admin = Admin::start(admin_listener, pages).map_err(Error::Admin)?;
        let runtime = web::runtime(1).map_err(Error::Start)?;
        info!(%pod, %address, admin = %admin.address(), "started");
        Ok(Self { address, admin, readiness, runtime, listener, limit, views, shutdown })
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

    /// Serves until the shutdown is complete.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { admin, readiness, runtime, listener, limit, views, shutdown, .. } = self;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(Error::Start)?
        };
        runtime.block_on(async {
            let accepting =
                tokio::spawn(web::serve(listener, routes::router(limit, &views), CONNECTIONS_MAX));
            readiness.ready();
            info!("ready");
            shutdown.reached(Phase::Draining).await;
            readiness.draining();
            accepting.abort();
            info!("ended");
        });
        runtime.shutdown_background();
        drop(admin);
        Ok(())
    }
}
