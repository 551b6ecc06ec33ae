//! Starts and runs a server.

use std::net::SocketAddr;
use std::sync::Arc;

use mio::Poll;
use prometheus_client::registry::Registry;
use service::admin::{Admin, Pages};
use service::background::Background;
use service::{Readiness, Shutdown, listen, logs, workers};
use tokio::sync::oneshot;
use tracing::info;
use uuid::Uuid;

use crate::Error;
use crate::backend::{self, Parts};
use crate::inbox::{Inbox, News};
use crate::metrics::Metrics;
use crate::presence::{self, Others};
use crate::roster::Roster;
use crate::settings::Settings;
use crate::worker::{INBOX, Shared, Worker};

/// The kernel doubles it and may exceed it by a segment. A client behind a gateway that never reads then costs less
/// than 256 KiB in three sockets.
const REPLY_BUFFER_BYTES: usize = 16 * 1024;

/// Asks each worker for an equal share, since connections are spread evenly.
async fn shed(inboxes: Vec<Arc<Inbox>>, count: u64) -> u64 {
    let (share, rest) = (count / inboxes.len() as u64, count % inboxes.len() as u64);
    let mut shed = 0;
    for (inbox, number) in inboxes.iter().zip(0_u64..) {
        let (answer, answered) = oneshot::channel();
        inbox.tell(News::Shed(share + u64::from(number < rest), answer));
        // A worker that has ended has no connections.
        shed += answered.await.unwrap_or(0);
    }
    shed
}

/// A bound server: clients can connect and wait for [`Server::run`] to serve them.
pub struct Server {
    address: SocketAddr,
    admin: Admin,
    readiness: Readiness,
    workers: Vec<Worker>,
    backend: Option<Background>,
    presence: Option<Background>,
    shared: Arc<Shared>,
}

impl Server {
    /// Binds the service's port and the admin port, and creates the backends' clients and the event loops. Backends
    /// need not be reachable.
    ///
    /// # Errors
    /// Why it cannot start: see [`Error`].
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let listener = listen::tcp(settings.host, settings.port).map_err(Error::Listen)?;
        listen::bound_buffers_at(&listener, REPLY_BUFFER_BYTES).map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let admin_listener =
            listen::admin(settings.admin_host, settings.admin_port).map_err(Error::Listen)?;

        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry));
        let pod = logs::pod_name(settings.pod_name.as_deref());
        let (cache, kafka) = (settings.cache.clone(), settings.kafka.clone());
        let parts = Parts::new(cache, settings.cache_timeout, kafka, pod.clone(), readiness.clone())?;
        let polls = (0..settings.workers.get())
            .map(|_| Poll::new())
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Start)?;
        let inboxes = polls
            .iter()
            .map(|poll| Inbox::new(poll, INBOX).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Start)?;
        for inbox in &inboxes {
            let inbox = Arc::clone(inbox);
            shutdown.subscribe(move |_| inbox.wake());
        }
        let server_id = Uuid::new_v4().to_string();
        let pages = Pages::new(readiness.clone(), registry).with_info("tcp", &pod, Some(&server_id));
        let shed_by = inboxes.clone();
        let pages = pages.with_shed(settings.shed_token.clone(), move |count| shed(shed_by.clone(), count));
        let admin = Admin::start(admin_listener, pages).map_err(Error::Admin)?;
        info!(%pod, server = %server_id, %address, admin = %admin.address(), "started");
        let mut awaited = Vec::new();
        let others = settings.etcd.as_ref().map(|_| Arc::new(Others::new(&server_id)));
        let roster = Arc::new(Roster::new(settings.dialect, others.clone()));
        let mut presence = None;
        if let (Some(etcd), Some(others)) = (&settings.etcd, others) {
            let (tell, told) = oneshot::channel();
            awaited.push((presence::AWAITED, told));
            let (roster, metrics) = (Arc::clone(&roster), Arc::clone(&metrics));
            let started =
                presence::start(etcd, &server_id, (roster, others), metrics, readiness.clone(), tell);
            presence = Some(started.map_err(Error::Start)?);
        }
        let (backend, running) =
            backend::start(parts, inboxes.clone(), Arc::clone(&metrics), awaited).map_err(Error::Start)?;
        let shared = Arc::new(Shared {
            settings,
            roster,
            metrics,
            inboxes,
            backend,
            shutdown,
            readiness: readiness.clone(),
            server_id,
        });
        let mut listener = Some(listener);
        let workers = polls
            .into_iter()
            .enumerate()
            .map(|(number, poll)| Worker::new(poll, number, Arc::clone(&shared), listener.take()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Start)?;
        Ok(Self { address, admin, readiness, workers, backend: running, presence, shared })
    }

    /// The address for clients, with the real port.
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

    /// The answer to `WHERE`: this server's UUID.
    pub fn id(&self) -> &str {
        &self.shared.server_id
    }

    /// Serves until the shutdown is complete. The first worker runs on this thread.
    ///
    /// # Errors
    /// An event loop failed, or a thread could not be created.
    pub fn run(self) -> Result<(), Error> {
        let workers = self.workers.into_iter().map(|worker| || worker.run());
        let outcome = workers::run(workers, &self.shared.shutdown);
        match &outcome {
            Ok(()) => info!(server = %self.shared.server_id, phase = ?self.shared.shutdown.phase(), "ended"),
            Err(error) => tracing::error!(%error, "ended"),
        }
        // First, so that other servers do not count departed clients while log lines are shipped.
        for background in self.presence.into_iter().chain(self.backend) {
            background.end();
        }
        Ok(outcome?)
    }
}
