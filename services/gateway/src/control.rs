//! The control plane: follows the endpoints file, checks health, ends ejections, and waits for the workers.
//!
//! It runs on a runtime of its own and talks to the data plane only through the
//! [`Cluster`](crate::cluster::Cluster) and the [`Shutdown`](service::Shutdown).

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

use crate::endpoints::watch::{Changes, Watch};
use crate::endpoints::{self, Replicas};
use crate::health::Checks;
use crate::settings::HealthSettings;
use crate::tcp::worker::Context;

/// The part of `/readyz` about the endpoints file.
const ENDPOINTS: &str = "endpoints";

/// What the control plane looks after.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) context: Context,
    pub(crate) readiness: Readiness,
    pub(crate) endpoints_file: PathBuf,
    /// Where the gateway itself listens.
    pub(crate) listeners: Vec<SocketAddr>,
    pub(crate) cluster_name: String,
    pub(crate) watch: Watch,
    pub(crate) health: HealthSettings,
    pub(crate) supervisor: Option<OwnedFd>,
    /// Notified when the endpoints were first read.
    pub(crate) first_endpoints: oneshot::Sender<()>,
}

impl Control {
    /// Runs until it is dropped, when the workers are done; returns only on failure.
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self {
            context,
            readiness,
            endpoints_file,
            listeners,
            cluster_name,
            watch,
            health,
            supervisor,
            first_endpoints,
        } = self;
        let checks = Checks::new(health, Arc::clone(&context.cluster));
        let changes = watch.start()?;
        let mut follower = Follower {
            context: context.clone(),
            readiness: readiness.clone(),
            endpoints_file,
            listeners,
            cluster_name,
            checks,
            rejected: None,
            first: Some(first_endpoints),
        };
        tokio::try_join!(
            follower.follow(changes),
            end_ejections(&context),
            follow_shortages(&context, &readiness),
            follow_shutdown(&context, &readiness),
            follow_supervisor(&context, supervisor),
        )?;
        Ok(())
    }
}

/// Reads the endpoints file whenever it changes.
struct Follower {
    context: Context,
    readiness: Readiness,
    endpoints_file: PathBuf,
    listeners: Vec<SocketAddr>,
    cluster_name: String,
    /// Why the current file could not be used, so that it is reported once.
    rejected: Option<String>,
    checks: Checks,
    first: Option<oneshot::Sender<()>>,
}

impl Follower {
    async fn follow(&mut self, mut changes: Changes) -> io::Result<()> {
        changes.look();
        self.take_over();
        loop {
            changes.next().await?;
            self.take_over();
        }
    }

    fn take_over(&mut self) {
        match endpoints::read(&self.endpoints_file, &self.cluster_name, &self.listeners) {
            Ok(replicas) => self.accept(&replicas),
            Err(reason) => {
                let (file, reason) = (self.endpoints_file.display(), reason.to_string());
                if self.rejected.as_ref() != Some(&reason) {
                    error!(%file, reason, "endpoints file rejected: the last good state stays in use");
                }
                self.rejected = Some(reason.clone());
                self.context.stats.endpoints_rejected.increment();
                self.context.stats.set_endpoints_stale(true);
                self.readiness.degrade(ENDPOINTS, reason);
            }
        }
    }

    fn accept(&mut self, replicas: &Replicas) {
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
        } else if replicas.endpoints.is_some() {
            self.readiness.restore(ENDPOINTS);
        } else {
            let reason = format!("the endpoints file has no cluster {:?}", self.cluster_name);
            warn!("{reason}");
            self.readiness.degrade(ENDPOINTS, reason);
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
