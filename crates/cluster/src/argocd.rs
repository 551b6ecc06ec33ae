//! Argo CD through its own objects, without its CLI or its API server: registering this repository, syncing, the status
//! of the applications, and what a sync would change.
//!
//! Long operations report [`Step`]s and can be cancelled; nothing here prints.

mod api;
mod application;
mod bootstrap;
mod check;
mod diff;
mod git;
mod health;
mod install;
mod kinds;
mod look;
pub(crate) mod names;
mod owner;
mod program;
mod put;
mod register;
mod remove;
mod render;
mod repository;
mod results;
mod rights;
mod secrets;
mod status;
mod step;
mod sync;
mod wanted;

use std::{cell::RefCell, fmt, time::Duration};

use platform::{TargetError, target::OnWait};
use tokio::runtime::Runtime;

use crate::{
    connect::{self, Cluster, Options},
    gateways,
    target::{runtime, wait},
};

pub use diff::Diff;
pub use install::{MANIFEST, VERSION};
pub use names::{NAMESPACE, RELEASE_NAMESPACE};

pub use results::{
    ApplicationStatus, Difference, Differences, Failing, Health, LastOperation, Outcome, Put, Registered,
    Removed, ResourceName, Status, SyncStatus, Synced, Verdict,
};
pub use step::{OnStep, Step};
pub use sync::{Follow, Sync};
pub use wanted::Register;

/// The Argo CD of a cluster.
pub struct ArgoCd {
    /// Its namespace is the one in which Argo CD runs.
    cluster: Cluster,
    release_namespace: String,
    runtime: Runtime,
}

impl fmt::Debug for ArgoCd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArgoCd").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl ArgoCd {
    /// Finds the cluster and reads its version. `options.namespace` is the namespace for the applications' objects.
    pub fn connect(
        options: &Options,
        namespace: &str,
        on_wait: Option<&OnWait>,
    ) -> Result<Self, TargetError> {
        connect::check_namespace(namespace, "(--argocd-namespace)")?;
        let runtime = runtime()?;
        let cluster = wait(&runtime, on_wait, async {
            let cluster = connect::connect(options).await?;
            cluster.version().await?;
            Ok(cluster)
        })?;
        let release_namespace = options.namespace.clone().unwrap_or_else(|| RELEASE_NAMESPACE.to_owned());
        Ok(Self { cluster: cluster.in_namespace(namespace), release_namespace, runtime })
    }

    /// Lets Argo CD manage the platform from a repository; a second call with the same settings changes nothing.
    pub fn register(&self, wanted: &Register, on_step: &mut OnStep<'_>) -> Result<Registered, TargetError> {
        let work = async |tell: step::Tell| {
            register::register(&self.cluster, &self.release_namespace, wanted, &tell).await
        };
        self.runtime.block_on(step::attended(on_step, work))
    }

    /// Syncs applications one after another, in the order of their waves. Stops at the first failure.
    pub fn sync(&self, wanted: &Sync, on_step: &mut OnStep<'_>) -> Result<Vec<Synced>, TargetError> {
        let running = RefCell::new(None);
        let work = async |tell: step::Tell| sync::sync(&self.cluster, wanted, &tell, &running).await;
        let outcome = self.runtime.block_on(step::attended(on_step, work));
        if let (Err(TargetError::Interrupted), true, Some(name)) =
            (&outcome, wanted.end_on_interrupt, running.take())
        {
            self.runtime.block_on(sync::end(&self.cluster, &name))?;
        }
        outcome
    }

    /// Waits until the platform's gateways know the ready replicas. Returns a note if they could not be asked.
    pub fn gateways(
        &self,
        timeout: Duration,
        on_step: &mut OnStep<'_>,
    ) -> Result<Option<String>, TargetError> {
        let cluster = self.cluster.in_namespace(&self.release_namespace);
        let kubectl = format!("kubectl -n {}", self.release_namespace);
        let work = async |tell: step::Tell| {
            gateways::wait(&cluster, &kubectl, timeout, &mut |what| tell.doing_now(what)).await
        };
        self.runtime.block_on(step::attended(on_step, work))
    }

    /// The state of the applications.
    pub fn status(&self, on_step: &mut OnStep<'_>) -> Result<Status, TargetError> {
        let work = async |_: step::Tell| status::status(&self.cluster).await;
        self.runtime.block_on(step::attended(on_step, work))
    }

    /// What a sync would change, as the API server's dry run reports it.
    pub fn diff(&self, wanted: &Diff, on_step: &mut OnStep<'_>) -> Result<Vec<Differences>, TargetError> {
        let work = async |tell: step::Tell| diff::diff(&self.cluster, wanted, &tell).await;
        self.runtime.block_on(step::attended(on_step, work))
    }

    /// Removes the applications and, unless `keep` is set, everything that they created.
    pub fn remove(
        &self,
        keep: bool,
        timeout: Duration,
        on_step: &mut OnStep<'_>,
    ) -> Result<Removed, TargetError> {
        let work = async |tell: step::Tell| remove::remove(&self.cluster, keep, timeout, &tell).await;
        self.runtime.block_on(step::attended(on_step, work))
    }
}
