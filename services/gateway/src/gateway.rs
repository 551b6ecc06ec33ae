//! Starts the gateway and runs it until the end of its drain.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use service::admin::{Admin, Pages};
use service::logs::{self, LogLines};
use service::{Phase, Readiness, Shutdown};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tracing::info;

use crate::cluster::health::Thresholds;
use crate::cluster::{Cluster, Clusters, Ejection};
use crate::control::{Control, Followed, Source};
use crate::endpoints::dns::{self, Lookup};
use crate::endpoints::watch::Watch;
use crate::metrics;
use crate::settings::{self, Protocol, Settings};
use crate::stats::Stats;
use crate::tcp::worker::Context;
use crate::{http, listeners, tcp, udp};

/// Pipes for bulk data in the whole process. They use open files that the limit on connections leaves free.
const PIPES_MAX: usize = 48;

/// Why the gateway did not start or keep running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot take the listeners: {0}")]
    Listeners(#[source] io::Error),
    #[error("cannot start the admin port: {0}")]
    Admin(#[source] io::Error),
    #[error("cannot watch the directory of {file}: {source}")]
    Endpoints { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Dns(#[from] dns::Unusable),
    #[error("cannot use the sessions file {file}: {source}")]
    Sessions { file: PathBuf, source: io::Error },
    #[error("cannot create an event loop: {0}")]
    EventLoop(#[source] io::Error),
    #[error("the control plane failed: {0}")]
    Control(#[source] io::Error),
    /// The Kafka client rejects its configuration; an unreachable broker is not an error here.
    #[error(transparent)]
    Kafka(#[from] service::kafka::ConfigError),
    #[error("a worker failed: {0}")]
    Worker(#[source] io::Error),
    #[error("a part panicked: {0}")]
    Panicked(#[source] JoinError),
}

/// One event loop.
#[derive(Debug)]
enum Worker {
    Tcp(Box<tcp::worker::Worker>),
    Udp(Box<udp::worker::Worker>),
}

impl Worker {
    fn run(self) -> io::Result<()> {
        match self {
            Self::Tcp(worker) => worker.run(),
            Self::Udp(worker) => worker.run(),
        }
    }
}

/// The data plane.
#[derive(Debug)]
enum Plane {
    /// Event loops, each on a thread.
    Loops(Vec<Worker>),
    /// Tasks of the runtime.
    Http(Box<http::Server>),
}

/// The sockets that clients connect to.
#[derive(Debug)]
enum Bound {
    Tcp(listeners::Bound),
    Udp(udp::sockets::Bound),
}

impl Bound {
    fn new(settings: &Settings) -> io::Result<Self> {
        Ok(match settings.protocol {
            Protocol::Tcp | Protocol::Http => {
                Self::Tcp(listeners::Bound::new(settings.listeners, settings.stall_timeout)?)
            }
            Protocol::Udp => Self::Udp(udp::sockets::Bound::new(settings.listeners, settings.workers.get())?),
        })
    }

    fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp(bound) => bound.addresses(),
            Self::Udp(bound) => bound.addresses(),
        }
    }

    /// The socket whose end means that the supervisor is gone.
    fn into_supervisor(self) -> Option<OwnedFd> {
        match self {
            Self::Tcp(bound) => bound.supervisor,
            Self::Udp(bound) => bound.supervisor,
        }
    }
}

/// A gateway that listens but does not accept yet.
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<SocketAddr>,
    admin: Admin,
    plane: Plane,
    threads: usize,
    control: Control,
    first_endpoints: oneshot::Receiver<()>,
    log_lines: LogLines,
}

impl Gateway {
    /// Takes or creates the listeners, binds the admin port and watches the endpoints file, if there is one.
    /// Connections that arrive before [`Gateway::run`] wait in the kernel's queue.
    ///
    /// # Errors
    /// What failed, with its address or path.
    pub fn bind(settings: Settings, shutdown: Shutdown) -> Result<Self, Error> {
        let open_files = service::limits::raise_open_files();
        let bound = Bound::new(&settings).map_err(Error::Listeners)?;
        let addresses = bound.addresses().map_err(Error::Listeners)?;
        let thresholds = Thresholds { fall: settings.health.fall, rise: settings.health.rise };
        let ejection = Ejection { failures: settings.eject_failures, duration: settings.eject_time };
        let cluster = || Arc::new(Cluster::new(thresholds, ejection));
        let clusters = Clusters(settings.services.iter().map(|_| cluster()).collect());
        let stats = Arc::new(Stats::default());
        let context =
            || Context { cluster: clusters.only(), stats: Arc::clone(&stats), shutdown: shutdown.clone() };
        let plane = match &bound {
            Bound::Tcp(bound) if settings.protocol == Protocol::Http => {
                let parts = http::Parts { clusters: &clusters, stats: &stats, shutdown: &shutdown };
                let server = http::Server::new(&settings, bound, &parts, open_files);
                Plane::Http(Box::new(server.map_err(Error::Listeners)?))
            }
            Bound::Tcp(bound) => {
                Plane::Loops(tcp_workers(&settings, bound, &context(), open_files).map_err(Error::EventLoop)?)
            }
            Bound::Udp(bound) => Plane::Loops(udp_workers(&settings, bound, &context(), open_files)?),
        };

        let pod = logs::pod_name(settings.pod_name.as_deref());
        let log_lines = LogLines::new(settings.kafka.as_ref(), &pod)?;
        let readiness = Readiness::new();
        let admin = admin(&settings, &stats, &clusters, &bound, readiness.clone()).map_err(Error::Admin)?;
        info!(?addresses, admin = %admin.address(), policy = ?settings.policy, "listening");
        let services = settings.services.into_iter().zip(&clusters.0).map(|(service, cluster)| {
            let source = source(service.source)?;
            Ok(Followed { name: service.name, source, cluster: Arc::clone(cluster) })
        });
        let (told, first_endpoints) = oneshot::channel();
        let control = Control {
            stats,
            shutdown,
            readiness,
            services: services.collect::<Result<_, Error>>()?,
            listeners: addresses.clone(),
            health: settings.health,
            supervisor: bound.into_supervisor(),
            first_endpoints: told,
        };
        let threads = settings.workers.get();
        Ok(Self { addresses, admin, plane, threads, control, first_endpoints, log_lines })
    }

    /// Its address; the first one if it was given more than one listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Its addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of `/healthz`, `/readyz`, `/metrics` and `/endpoints`.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Serves connections until the drain is over. Blocks. Starts accepting once the endpoints are known.
    ///
    /// # Errors
    /// An event loop or the control plane failed; the connections are closed then.
    pub fn run(self) -> Result<(), Error> {
        let Self { admin, plane, threads, control, first_endpoints, log_lines, .. } = self;
        let runtime = runtime(&plane, threads).map_err(Error::Control)?;
        let shutdown = control.shutdown.clone();
        let work = async {
            let control = tokio::spawn(control.run());
            let control_failed = async {
                match control.await {
                    Ok(Ok(())) => std::future::pending().await,
                    Ok(Err(error)) => Error::Control(error),
                    Err(error) => Error::Panicked(error),
                }
            };
            tokio::select! {
                result = carry(plane, first_endpoints, &shutdown) => result,
                error = control_failed => Err(error),
            }
        };
        let result = runtime.block_on(log_lines.shipped_during(work));
        // After a failure, the other workers must not delay the end.
        shutdown.force();
        drop(runtime);
        drop(admin);
        result
    }
}

/// One runtime for the control plane and, for HTTP, its tasks.
fn runtime(plane: &Plane, threads: usize) -> io::Result<Runtime> {
    let mut builder = match plane {
        Plane::Http(_) if threads > 1 => Builder::new_multi_thread(),
        Plane::Http(_) | Plane::Loops(_) => Builder::new_current_thread(),
    };
    match plane {
        Plane::Http(_) => builder.worker_threads(threads),
        Plane::Loops(workers) => builder.max_blocking_threads(workers.len()),
    };
    builder.enable_all().thread_name("worker").build()
}

/// Runs until the data plane is done; returns at the first failure.
async fn carry(
    plane: Plane,
    first_endpoints: oneshot::Receiver<()>,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    // Before that, every connection would be refused for lack of an endpoint; until then it waits in the kernel's
    // queue.
    tokio::select! {
        _ = first_endpoints => {}
        () = shutdown.reached(Phase::Draining) => {}
    }
    let workers = match plane {
        Plane::Loops(workers) => workers,
        Plane::Http(server) => return server.run().await.map_err(Error::Worker),
    };
    let mut running = JoinSet::new();
    for worker in workers {
        running.spawn_blocking(|| worker.run());
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(Error::Panicked)?.map_err(Error::Worker)?;
    }
    Ok(())
}

fn source(settings: settings::Source) -> Result<Source, Error> {
    Ok(match settings {
        settings::Source::File(path) => {
            let watch =
                Watch::new(&path).map_err(|source| Error::Endpoints { file: path.clone(), source })?;
            Source::File { path, watch }
        }
        settings::Source::Dns(dns) => Source::Dns(Box::new(Lookup::new(dns)?)),
    })
}

fn tcp_workers(
    settings: &Settings,
    bound: &listeners::Bound,
    context: &Context,
    open_files: u64,
) -> io::Result<Vec<Worker>> {
    let plan = tcp::worker::Plan {
        limits: tcp::sessions::Limits {
            source: settings.upstream_bind,
            connections_max: settings.connections_max(open_files),
            connect_timeout: settings.connect_timeout,
            stall_timeout: settings.stall_timeout,
            tunnel_timeout: settings.tunnel_timeout,
            pipes_max: PIPES_MAX.div_ceil(settings.workers.get()),
        },
        policy: settings.policy,
        accept_interval: settings.accept_interval(),
        circuit_max: settings.circuit_max.get() as u64,
        drain_timeout: settings.drain_timeout,
        last_call: bound.supervisor.is_none(),
    };
    (0..settings.workers.get())
        .map(|_| {
            let worker = tcp::worker::Worker::new(bound.copies()?, context.clone(), plan.clone())?;
            Ok(Worker::Tcp(Box::new(worker)))
        })
        .collect()
}

fn udp_workers(
    settings: &Settings,
    bound: &udp::sockets::Bound,
    context: &Context,
    open_files: u64,
) -> Result<Vec<Worker>, Error> {
    let ledger = settings.udp.sessions_file.as_ref().map(|file| {
        udp::Ledger::open(file, settings.udp.idle_timeout)
            .map_err(|source| Error::Sessions { file: file.clone(), source })
    });
    let ledger = ledger.transpose()?;
    let hands = bound.dealt(settings.workers.get()).map_err(Error::Listeners)?;
    let sessions_max = (settings.sessions_max(open_files) / hands.len()).max(1);
    let worker = |sockets| {
        let plan = udp::worker::Plan {
            limits: udp::Limits {
                source: settings.upstream_bind,
                sessions_max,
                idle_timeout: settings.udp.idle_timeout,
            },
            policy: settings.policy,
            circuit_max: settings.circuit_max.get() as u64,
            drain_timeout: settings.drain_timeout,
            succeeded: bound.supervisor.is_some(),
            ledger: ledger.as_ref().map(udp::Ledger::copy).transpose()?,
        };
        let worker = udp::worker::Worker::new(sockets, context.clone(), plan)?;
        Ok(Worker::Udp(Box::new(worker)))
    };
    hands.into_iter().map(worker).collect::<io::Result<_>>().map_err(Error::EventLoop)
}

fn admin(
    settings: &Settings,
    stats: &Arc<Stats>,
    clusters: &Clusters,
    bound: &Bound,
    readiness: Readiness,
) -> io::Result<Admin> {
    let listener = service::listen::admin(settings.admin_host, settings.admin_port)?;
    let stats = Arc::clone(stats);
    let registry = match bound {
        Bound::Tcp(_) => metrics::registry(stats, clusters.clone(), settings.protocol),
        Bound::Udp(bound) => metrics::packets::registry(stats, clusters.only(), bound.kernel_drops()?),
    };
    let clusters = clusters.clone();
    let pages = Pages::new(readiness, registry).with_json("/endpoints", move || {
        serde_json::to_string_pretty(&clusters.view()).expect("the view has neither maps nor foreign types")
    });
    Admin::start(listener, pages)
}
