//! Bringing the gateway up, and its life until the end of its drain.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use service::admin::{Admin, Pages};
use service::{Phase, Readiness, Shutdown};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tracing::info;

use crate::cluster::health::Thresholds;
use crate::cluster::selection::Selector;
use crate::cluster::{Cluster, Ejection};
use crate::control::Control;
use crate::endpoints::watch::Watch;
use crate::listeners::Bound;
use crate::metrics;
use crate::settings::Settings;
use crate::stats::Stats;
use crate::tcp::sessions::Limits;
use crate::tcp::worker::{Context, Plan, Worker};

/// Pipes for bulk data of the whole process. Their open files come out of what the limit on connections leaves.
const PIPES_MAX: usize = 48;

/// Why the gateway did not start or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot take the listeners: {0}")]
    Listeners(#[source] io::Error),
    #[error("cannot start the admin port: {0}")]
    Admin(#[source] io::Error),
    #[error("cannot watch the directory of {file}: {source}")]
    Endpoints { file: PathBuf, source: io::Error },
    #[error("cannot make an event loop: {0}")]
    EventLoop(#[source] io::Error),
    #[error("the control plane failed: {0}")]
    Control(#[source] io::Error),
    #[error("a worker failed: {0}")]
    Worker(#[source] io::Error),
    #[error("a part of it panicked: {0}")]
    Panicked(#[source] JoinError),
}

/// A gateway that listens but does not accept yet.
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<SocketAddr>,
    admin: Admin,
    workers: Vec<Worker>,
    control: Control,
    first_endpoints: oneshot::Receiver<()>,
}

impl Gateway {
    /// Takes or makes the listeners, binds the admin port and watches the endpoints file. Connections that come before
    /// [`Gateway::run`] wait in the kernel's queue.
    ///
    /// # Errors
    /// What could not be had, with its address or path.
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let open_files = service::limits::raise_open_files();
        let bound = Bound::new(settings.listeners).map_err(Error::Listeners)?;
        let addresses = bound.addresses().map_err(Error::Listeners)?;
        let watch = Watch::new(&settings.endpoints_file)
            .map_err(|source| Error::Endpoints { file: settings.endpoints_file.clone(), source })?;

        let thresholds = Thresholds { fall: settings.health.fall, rise: settings.health.rise };
        let ejection = Ejection { failures: settings.eject_failures, duration: settings.eject_time };
        let context = Context {
            cluster: Arc::new(Cluster::new(thresholds, ejection)),
            stats: Arc::new(Stats::default()),
            shutdown,
        };
        let workers = workers(&settings, &bound, &context, open_files).map_err(Error::EventLoop)?;

        let readiness = Readiness::new();
        let admin = admin(&settings, &context, readiness.clone()).map_err(Error::Admin)?;
        info!(?addresses, admin = %admin.address(), policy = ?settings.policy, "listening");
        let (told, first_endpoints) = oneshot::channel();
        let control = Control {
            context,
            readiness,
            endpoints_file: settings.endpoints_file,
            cluster_name: settings.cluster,
            watch,
            health: settings.health,
            supervisor: bound.supervisor,
            first_endpoints: told,
        };
        Ok(Self { addresses, admin, workers, control, first_endpoints })
    }

    /// Where it listens; the first of them if it was handed more than one listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where `/healthz`, `/readyz`, `/metrics` and `/endpoints` are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Carries connections until the drain is over. Blocks. Begins to accept once the endpoints file was read.
    ///
    /// # Errors
    /// If an event loop or the control plane fails; the connections are closed then.
    pub fn run(self) -> Result<(), Error> {
        let Self { admin, workers, control, first_endpoints, .. } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("worker")
            .max_blocking_threads(workers.len())
            .build()
            .map_err(Error::Control)?;
        let shutdown = control.context.shutdown.clone();
        let result = runtime.block_on(async {
            let control = tokio::spawn(control.run());
            let control_failed = async {
                match control.await {
                    Ok(Ok(())) => std::future::pending().await,
                    Ok(Err(error)) => Error::Control(error),
                    Err(error) => Error::Panicked(error),
                }
            };
            tokio::select! {
                result = carry(workers, first_endpoints, &shutdown) => result,
                error = control_failed => Err(error),
            }
        });
        // After a failure the other workers must not hold up the end.
        shutdown.force();
        drop(runtime);
        drop(admin);
        result
    }
}

/// Runs the workers until all are done; returns at the first that fails.
async fn carry(
    workers: Vec<Worker>,
    first_endpoints: oneshot::Receiver<()>,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    // Before that every connection would be refused for want of an endpoint; here it waits in the kernel's queue.
    tokio::select! {
        _ = first_endpoints => {}
        () = shutdown.reached(Phase::Draining) => {}
    }
    let mut running = JoinSet::new();
    for worker in workers {
        running.spawn_blocking(|| worker.run());
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(Error::Panicked)?.map_err(Error::Worker)?;
    }
    Ok(())
}

fn workers(
    settings: &Settings,
    bound: &Bound,
    context: &Context,
    open_files: u64,
) -> io::Result<Vec<Worker>> {
    let plan = Plan {
        limits: Limits {
            source: settings.upstream_bind,
            connections_max: settings.connections_max(open_files),
            connect_timeout: settings.connect_timeout,
            pipes_max: PIPES_MAX.div_ceil(settings.workers.get()),
        },
        circuit_max: settings.circuit_max.get() as u64,
        drain_timeout: settings.drain_timeout,
        last_call: bound.supervisor.is_none(),
    };
    (0..settings.workers.get())
        .map(|_| {
            let selector = Selector::new(settings.policy, rand::random());
            Worker::new(bound.copies()?, selector, context.clone(), plan.clone())
        })
        .collect()
}

fn admin(settings: &Settings, context: &Context, readiness: Readiness) -> io::Result<Admin> {
    let address = SocketAddr::new(settings.admin_host.0, settings.admin_port);
    let listener = TcpListener::bind(address)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
    let registry = metrics::registry(Arc::clone(&context.stats), Arc::clone(&context.cluster));
    let cluster = Arc::clone(&context.cluster);
    let pages = Pages::new(readiness, registry).with_json("/endpoints", move || {
        serde_json::to_string_pretty(&cluster.view()).expect("the view has neither maps nor foreign types")
    });
    Admin::start(listener, pages)
}
