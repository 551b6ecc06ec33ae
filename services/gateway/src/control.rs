//! The control plane: follows the endpoints, checks health, ends ejections, and waits for the workers.
//!
//! It runs on a runtime of its own and talks to the data plane only through the
//! [`Cluster`](crate::cluster::Cluster) and the [`Shutdown`](service::Shutdown).

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use service::{Phase, Readiness};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::endpoints::dns::{Addresses, Lookup};
use crate::endpoints::watch::Watch;
use crate::endpoints::{self, Replicas};
use crate::health::Checks;
use crate::settings::HealthSettings;
use crate::tcp::worker::Context;

/// The part of `/readyz` about the endpoints.
const ENDPOINTS: &str = "endpoints";

/// Where the endpoints come from.
#[derive(Debug)]
pub(crate) enum Source {
    File { path: PathBuf, cluster: String, watch: Watch },
    Dns(Box<Lookup>),
}

/// What the control plane looks after.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) context: Context,
    pub(crate) readiness: Readiness,
    pub(crate) source: Source,
    /// Where the gateway itself listens.
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) health: HealthSettings,
    pub(crate) supervisor: Option<OwnedFd>,
    /// Notified when the endpoints were first read.
    pub(crate) first_endpoints: oneshot::Sender<()>,
}

impl Control {
    /// Runs until it is dropped, when the workers are done; returns only on failure.
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { context, readiness, source, listeners, health, supervisor, first_endpoints } = self;
        let checks = Checks::new(health, Arc::clone(&context.cluster));
        let follower = Follower {
            context: context.clone(),
            readiness: readiness.clone(),
            listeners,
            checks,
            rejected: None,
            first: Some(first_endpoints),
        };
        tokio::try_join!(
            follower.follow(source),
            end_ejections(&context),
            follow_shortages(&context, &readiness),
            follow_shutdown(&context, &readiness),
            follow_supervisor(&context, supervisor),
        )?;
        Ok(())
    }
}

/// Takes the endpoints over whenever they change.
struct Follower {
    context: Context,
    readiness: Readiness,
    listeners: Vec<SocketAddr>,
    /// Why the endpoints cannot be read now, so that it is reported once.
    rejected: Option<String>,
    checks: Checks,
    first: Option<oneshot::Sender<()>>,
}

impl Follower {
    async fn follow(self, source: Source) -> io::Result<()> {
        match source {
            Source::File { path, cluster, watch } => self.follow_file(path, &cluster, watch).await,
            Source::Dns(lookup) => self.follow_name(*lookup).await,
        }
    }

    async fn follow_file(mut self, path: PathBuf, cluster: &str, watch: Watch) -> io::Result<()> {
        let mut changes = watch.start()?;
        changes.look();
        loop {
            match endpoints::read(&path, cluster, &self.listeners) {
                Ok(replicas) => {
                    let missing = format!("the endpoints file has no cluster {cluster:?}");
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
            // What DNS says is the whole truth only once it has answered.
            let is_news = known.as_ref() != Some(&endpoints) && (failure.is_none() || known.is_some());
            // A failure that is over is no longer reported, although nothing changed.
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
        self.context.stats.endpoints_rejected.increment();
        self.context.stats.set_endpoints_stale(true);
        self.readiness.degrade(ENDPOINTS, reason.clone());
        self.rejected = Some(reason);
    }

    /// `lacking`: what is odd about them, in words.
    fn accept(&mut self, replicas: &Replicas, lacking: Option<String>) {
        let endpoints = replicas.endpoints.as_deref().unwrap_or_default();
        let draining = endpoints.iter().filter(|endpoint| endpoint.draining).count();
        self.context.cluster.take_over(replicas.version, endpoints);
        self.context.stats.set_endpoints_stale(false);
        self.checks.follow_cluster();
        info!(version = replicas.version, endpoints = endpoints.len(), draining, "endpoints taken over");
        self.rejected = None;
        if let Some(own) = replicas.own.first() {
            let reason = format!(
                "endpoint {:?} at {} is this gateway itself and is left out: a connection to it would come back for ever",
                own.name, own.address
            );
            error!("{reason}");
            self.readiness.degrade(ENDPOINTS, reason);
        } else if let Some(lacking) = lacking {
            warn!("{lacking}");
            self.readiness.degrade(ENDPOINTS, lacking);
        } else {
            self.readiness.restore(ENDPOINTS);
        }
        self.readiness.ready();
        if let Some(first) = self.first.take() {
            // Nobody waits for it any more if the drain has begun.
            let _ = first.send(());
        }
    }
}

/// Readmits ejected backends when their time is up; sleeps while there are none.
async fn end_ejections(context: &Context) -> io::Result<()> {
    loop {
        let ejected = context.cluster.ejected.notified();
        match context.cluster.readmit(clock::now()) {
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

/// Says in `/readyz` what keeps clients out, as long as it does.
async fn follow_shortages(context: &Context, readiness: &Readiness) -> io::Result<()> {
    let shortages = &context.stats.shortages;
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

async fn follow_shutdown(context: &Context, readiness: &Readiness) -> io::Result<()> {
    context.shutdown.reached(Phase::Draining).await;
    readiness.draining();
    Ok(())
}

/// Ends at once when the supervisor is gone: nothing it started may outlive it.
async fn follow_supervisor(context: &Context, supervisor: Option<OwnedFd>) -> io::Result<()> {
    let Some(supervisor) = supervisor else {
        return Ok(());
    };
    let supervisor = StdUnixStream::from(supervisor);
    supervisor.set_nonblocking(true)?;
    let mut supervisor = UnixStream::from_std(supervisor)?;
    // Nothing comes over it after the listeners. A reset is an end too.
    while supervisor.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {}
    error!("the supervisor is gone: ending at once");
    context.shutdown.force();
    Ok(())
}
