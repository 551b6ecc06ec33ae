//! Starts and runs the service.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::{Phase, Readiness, Shutdown, listen, logs, web};
use tokio::runtime::Runtime;
use tracing::info;

use crate::metrics::Metrics;
use crate::user::Rules;
use crate::users::Users;
use crate::{Error, Settings, routes};

/// Maximum number of concurrent connections.
const CONNECTIONS_MAX: usize = 256;

/// A bound server: requests wait for [`Server::run`] to serve them.
pub struct Server {
    address: SocketAddr,
    admin: Admin,
    readiness: Readiness,
    runtime: Runtime,
    listener: TcpListener,
    users: Arc<Users>,
    shutdown: Shutdown,
}

impl Server {
    /// Binds the service's port and the admin port.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let Settings { host, port, server_host, server_port, .. } = settings;
        let listener = listen::tcp(host, port).map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let admin_listener =
            listen::admin(settings.admin_host, settings.admin_port).map_err(Error::Listen)?;
        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("ws-client", &pod, None);
        let admin = Admin::start(admin_listener, pages).map_err(Error::Admin)?;
        let runtime = web::runtime(1).map_err(Error::Start)?;
        let server = format!("{server_host}:{server_port}");
        info!(%pod, %address, admin = %admin.address(), %server, "started");
        let rules = Rules { server, return_after: settings.return_after, metrics };
        let users = Arc::new(Users::new(settings.users_max.get(), settings.connect_every, rules));
        Ok(Self { address, admin, readiness, runtime, listener, users, shutdown })
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

    /// Serves until the shutdown is complete and all users have left.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn run(self) -> Result<(), Error> {
        let Self { admin, readiness, runtime, listener, users, shutdown, .. } = self;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(Error::Start)?
        };
        runtime.block_on(async {
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
        });
        runtime.shutdown_background();
        drop(admin);
        Ok(())
    }
}
