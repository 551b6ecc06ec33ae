//! Starts and runs a server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::Poll;
use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::backend::Parts;
use service::background::Background;
use service::listen::{self, UdpOptions};
use service::mailbox::Mailbox;
use service::{Readiness, Shutdown, logs, workers};
use tracing::info;
use udp_drops::KernelDrops;

use crate::Error;
use crate::backend;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::worker::{MAILBOX, Shared, Worker};

/// How long a stalled network may hold up a worker before replies are dropped.
const WRITE_TIMEOUT: Duration = Duration::from_millis(100);

/// A bound server: packets wait to be answered by [`Server::run`].
pub struct Server {
    address: SocketAddr,
    admin: Admin,
    workers: Vec<Worker>,
    backend: Option<Background>,
    shared: Arc<Shared>,
}

impl Server {
    /// Binds the service's port and the admin port, and creates the backends' clients and the event loops. Backends
    /// need not be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let options = UdpOptions {
            sockets: settings.workers.get(),
            receive_buffer: settings.receive_buffer,
            write_timeout: WRITE_TIMEOUT,
        };
        let sockets = listen::udp(settings.host, settings.port, options).map_err(Error::Listen)?;
        // The settings guarantee at least one worker.
        let address = sockets[0].local_addr().map_err(Error::Listen)?;
        let admin_listener =
            listen::admin(settings.admin_host, settings.admin_port).map_err(Error::Listen)?;

        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let kernel = KernelDrops::of(&sockets).map_err(Error::Listen)?;
        let metrics = Arc::new(Metrics::register(&mut registry, kernel));
        let polls =
            sockets.iter().map(|_| Poll::new()).collect::<Result<Vec<_>, _>>().map_err(Error::Start)?;
        let mailboxes = polls
            .iter()
            .map(|poll| Mailbox::new(poll, MAILBOX).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Start)?;
        for mailbox in &mailboxes {
            let mailbox = Arc::clone(mailbox);
            shutdown.subscribe(move |_| mailbox.wake());
        }
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let pages = Pages::new(readiness.clone(), registry).with_info("udp", &pod, None);
        let admin = Admin::start(admin_listener, pages).map_err(Error::Admin)?;
        info!(%pod, %address, admin = %admin.address(), "started");
        let (cache, kafka) = (settings.cache.clone(), settings.kafka.clone());
        let parts = Parts::new(cache, settings.cache_timeout, kafka, pod, readiness.clone())?;
        let (backend, running) =
            backend::start(parts, mailboxes.clone(), Arc::clone(&metrics)).map_err(Error::Start)?;
        let shared = Arc::new(Shared { settings, metrics, mailboxes, backend, shutdown, readiness });
        let workers = polls
            .into_iter()
            .zip(sockets)
            .enumerate()
            .map(|(number, (poll, socket))| Worker::new(poll, socket, number, Arc::clone(&shared)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Start)?;
        Ok(Self { address, admin, workers, backend: running, shared })
    }

    /// The address for packets, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin port, with the real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The state that `/readyz` reports.
    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// Serves until the shutdown is complete. The first worker runs on this thread.
    ///
    /// # Errors
    /// An event loop failed, or a thread could not be created.
    pub fn run(self) -> Result<(), Error> {
        let workers = self.workers.into_iter().map(|worker| || worker.run());
        let outcome = workers::run(workers, &self.shared.shutdown);
        match &outcome {
            Ok(()) => info!(phase = ?self.shared.shutdown.phase(), "ended"),
            Err(error) => tracing::error!(%error, "ended"),
        }
        if let Some(backend) = self.backend {
            backend.end();
        }
        Ok(outcome?)
    }
}
