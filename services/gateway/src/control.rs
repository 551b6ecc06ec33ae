//! The control plane: follows the endpoints, checks health, ends ejections, and waits for the workers.
//!
//! It talks to the data plane only through the [`Cluster`]s and the [`Shutdown`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use service::{Phase, Readiness, Shutdown};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::cluster::Cluster;
use crate::endpoints::dns::{Addresses, Lookup};
use crate::endpoints::watch::Watch;
use crate::endpoints::{self, Replicas};
use crate::health::Checks;
use crate::settings::HealthSettings;
use crate::stats::Stats;

/// The part of `/readyz` about the endpoints.
const ENDPOINTS: &str = "endpoints";

/// Where the endpoints come from.
#[derive(Debug)]
pub(crate) enum Source {
    File { path: PathBuf, watch: Watch },
    Dns(Box<Lookup>),
}

/// A service whose endpoints the gateway follows.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) cluster: Arc<Cluster>,
}

/// What the control plane manages.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) stats: Arc<Stats>,
    pub(crate) shutdown: Shutdown,
    pub(crate) readiness: Readiness,
    pub(crate) services: Vec<Followed>,
    /// The gateway's own addresses.
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) health: HealthSettings,
    pub(crate) supervisor: Option<OwnedFd>,
    /// Notified when the endpoints of all services have been read.
    pub(crate) first_endpoints: oneshot::Sender<()>,
}

impl Control {
    /// Runs until it is dropped when the workers are done; returns only on failure.
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { stats, shutdown, readiness, services, listeners, health, supervisor, first_endpoints } =
            self;
        let faults = Arc::new(Faults { readiness: readiness.clone(), words: Mutex::default() });
        let mut following = JoinSet::new();
        let mut firsts = Vec::new();
        for (index, Followed { name, source, cluster }) in services.into_iter().enumerate() {
            let (told, first) = oneshot::channel();
            firsts.push(first);
            let follower = Follower {
                name,
                index,
                checks: Checks::new(health, Arc::clone(&cluster)),
                cluster: Arc::clone(&cluster),
                stats: Arc::clone(&stats),
                faults: Arc::clone(&faults),
                listeners: listeners.clone(),
                rejected: None,
                first: Some(told),
            };
            following.spawn(follower.follow(source));
            following.spawn(end_ejections(cluster));
        }
        let ready = readiness.clone();
        let become_ready = async move {
            for first in firsts {
                if first.await.is_err() {
                    // Its follower failed, which ends everything.
                    return Ok(());
                }
            }
            ready.ready();
            // The receiver is gone if the drain has started.
            let _ = first_endpoints.send(());
            Ok(())
        };
        let first_failure = async {
            while let Some(ended) = following.join_next().await {
                ended.map_err(io::Error::other)??;
            }
            Ok(())
        };
        tokio::try_join!(
            first_failure,
            become_ready,
            follow_shortages(&stats, &readiness),
            follow_shutdown(&shutdown, &readiness),
            follow_supervisor(&shutdown, supervisor),
        )?;
        Ok(())
    }
}

/// What is wrong with the endpoints, by service, as shown in `/readyz`.
struct Faults {
    readiness: Readiness,
    words: Mutex<BTreeMap<usize, String>>,
}

impl Faults {
    fn set(&self, service: usize, fault: Option<String>) {
        let mut words = self.words.lock();
        match fault {
            Some(fault) => words.insert(service, fault),
            None => words.remove(&service),
        };
        if words.is_empty() {
            self.readiness.restore(ENDPOINTS);
        } else {
            let all: Vec<&str> = words.values().map(String::as_str).collect();
            self.readiness.degrade(ENDPOINTS, all.join("; "));
        }
    }
}

/// Applies the endpoints of a service whenever they change.
struct Follower {
    /// The service's cluster in the endpoints file.
    name: String,
    /// The service's index.
    index: usize,
    cluster: Arc<Cluster>,
    stats: Arc<Stats>,
    faults: Arc<Faults>,
    listeners: Vec<SocketAddr>,
    /// Why the endpoints cannot be read at present, to report it once.
    rejected: Option<String>,
    checks: Checks,
    first: Option<oneshot::Sender<()>>,
}

impl Follower {
    async fn follow(self, source: Source) -> io::Result<()> {
        match source {
            Source::File { path, watch } => self.follow_file(path, watch).await,
            Source::Dns(lookup) => self.follow_name(*lookup).await,
        }
    }

    async fn follow_file(mut self, path: PathBuf, watch: Watch) -> io::Result<()> {
        let mut changes = watch.start()?;
        changes.look();
        loop {
            match endpoints::read(&path, &self.name, &self.listeners) {
                Ok(replicas) => {
                    let missing = format!("the endpoints file has no cluster {:?}", self.name);
                    self.accept(&replicas, replicas.endpoints.is_none().then_some(missing));
                }
                Err(reason) => self.reject(&path.display(), reason.to_string()),
            }
            changes.next().await?;
        }
    }

    async fn follow_name(mut self, mut lookup: Lookup) -> io::Result<()> {
        let mut version = 0;
        let mut known = None;
        loop {
            let Addresses { endpoints, failure } = lookup.look_up().await;
            // DNS is the whole truth only once it has answered.
            let is_news = known.as_ref() != Some(&endpoints) && (failure.is_none() || known.is_some());
            // A failure that is over is no longer reported, even if nothing changed.
            if is_news || (failure.is_none() && self.rejected.is_some()) {
                version += u64::from(is_news);
                let replicas = Replicas::new(version, Some(endpoints.clone()), &self.listeners);
                let none = format!("{} has no address, so there is no replica", lookup.name());
                self.accept(&replicas, endpoints.is_empty().then_some(none));
                known = Some(endpoints);
            }
            if let Some(reason) = failure {
                self.reject(&lookup.name(), reason);
            }
            tokio::time::sleep(lookup.refresh()).await;
        }
    }

    fn reject(&mut self, source: &dyn Display, reason: String) {
        if self.rejected.as_ref() != Some(&reason) {
            error!(%source, reason, "endpoints cannot be read: the last good state stays in use");
        }
        self.stats.endpoints_rejected.increment();
        if self.rejected.is_none() {
            self.stats.endpoints_became_stale(true);
        }
        self.faults.set(self.index, Some(reason.clone()));
        self.rejected = Some(reason);
    }

    /// `lacking`: what is odd about the endpoints, in words.
    fn accept(&mut self, replicas: &Replicas, lacking: Option<String>) {
        let endpoints = replicas.endpoints.as_deref().unwrap_or_default();
        let draining = endpoints.iter().filter(|endpoint| endpoint.draining).count();
        self.cluster.take_over(replicas.version, endpoints);
        if self.rejected.take().is_some() {
            self.stats.endpoints_became_stale(false);
        }
        self.checks.follow_cluster();
        let (service, version) = (&self.name, replicas.version);
        info!(service, version, endpoints = endpoints.len(), draining, "endpoints taken over");
        let own = replicas.own.first().map(|own| {
            format!(
                "endpoint {:?} at {} is this gateway itself and is ignored: a connection to it would loop forever",
                own.name, own.address
            )
        });
        if let Some(own) = &own {
            error!("{own}");
        } else if let Some(lacking) = &lacking {
            warn!("{lacking}");
        }
        self.faults.set(self.index, own.or(lacking));
        if let Some(first) = self.first.take() {
            // The receiver is gone if another service failed.
            let _ = first.send(());
        }
    }
}

/// Readmits ejected backends when their time is up; sleeps while there are none.
async fn end_ejections(cluster: Arc<Cluster>) -> io::Result<()> {
    loop {
        let ejected = cluster.ejected.notified();
        match cluster.readmit(clock::now()) {
            None => ejected.await,
            Some(ends) => {
                tokio::select! {
                    () = tokio::time::sleep_until(ends.into()) => {}
                    () = ejected => {}
                }
            }
        }
    }
}

/// Reports shortages in `/readyz` while they last.
async fn follow_shortages(stats: &Stats, readiness: &Readiness) -> io::Result<()> {
    let shortages = &stats.shortages;
    let mut said = Vec::new();
    loop {
        let (lasting, next) = shortages.end(clock::now());
        for (reason, words) in &lasting {
            readiness.degrade(reason, words.as_str());
        }
        for reason in said {
            if lasting.iter().all(|(lasts, _)| *lasts != reason) {
                readiness.restore(reason);
            }
        }
        said = lasting.into_iter().map(|(reason, _)| reason).collect();
        match next {
            None => shortages.begun().await,
            Some(next) => {
                tokio::select! {
                    () = tokio::time::sleep_until(next.into()) => {}
                    () = shortages.begun() => {}
                }
            }
        }
    }
}

async fn follow_shutdown(shutdown: &Shutdown, readiness: &Readiness) -> io::Result<()> {
    shutdown.reached(Phase::Draining).await;
    readiness.draining();
    Ok(())
}

/// Ends at once when the supervisor is gone: nothing it started may outlive it.
async fn follow_supervisor(shutdown: &Shutdown, supervisor: Option<OwnedFd>) -> io::Result<()> {
    let Some(supervisor) = supervisor else {
        return Ok(());
    };
    let supervisor = StdUnixStream::from(supervisor);
    supervisor.set_nonblocking(true)?;
    let mut supervisor = UnixStream::from_std(supervisor)?;
    // Nothing follows the listeners. A reset is an end too.
    while supervisor.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {}
    error!("the supervisor is gone: ending at once");
    shutdown.force();
    Ok(())
}
