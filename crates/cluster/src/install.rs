//! Brings a platform up on a cluster and takes it down: the chart, installed by the `helm` on PATH.
//!
//! [`Installer::plan`] reads and changes nothing: it compares what the chart renders with the live objects, and names everything
//! that would fail. [`Installer::up`] carries out the plan and waits until everything is ready; if the plan is
//! empty, it writes nothing. [`Installer::down`] removes everything and proves that nothing is left. A callback reports
//! progress; nothing here prints.
//!
//! Helm owns what the chart renders. playctl creates the namespace and the Secrets beforehand, with its label, and
//! deletes them with the platform.

mod argocd;
mod bundle;
mod capacity;
mod catalog;
mod chart;
mod compare;
pub(crate) mod diff;
mod down;
mod helm;
mod key;
mod lease;
mod left;
mod manifest;
mod metrics_apis;
mod namespaces;
mod plan;
pub(crate) mod prepare;
mod ready;
mod redact;
mod release;
mod rights;
pub(crate) mod secrets;
mod up;
mod volumes;
pub(crate) mod why;
mod words;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use platform::{Event, TargetError, values::Values};
use tokio::{runtime::Runtime, sync::watch};

pub use bundle::{Archive, Diagnosed};
pub use capacity::Requests;
pub use diff::FieldChange;
pub use down::Removed;
pub use plan::{Action, Change, ObjectName, Plan, What};
pub use redact::Redactor;
pub use up::Installed;

use crate::{
    Options,
    connect::{self, Cluster},
    shell::quoted,
};

/// On what playctl itself makes in a cluster: the release that it is for.
const LABEL: &str = "playctl/release";
/// Whose changes they are, in the managed fields.
const MANAGER: &str = "playctl";
/// Requests that are made at the same time.
const AT_ONCE: usize = 8;

/// What is to run.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub values: Values,
    /// The chart's folder; `None`: the one in this program.
    pub chart: Option<PathBuf>,
    /// How long everything may take to become ready.
    pub timeout: Duration,
    /// Objects that are there already and belong to nobody, or to another owner, become this release's.
    pub take_ownership: bool,
    /// Pods that no node has room for are no reason to refuse: the cluster adds nodes by itself.
    pub ignore_capacity: bool,
}

/// What is told while it is done.
#[derive(Debug)]
pub enum Progress<'a> {
    /// What is being done. The stage changes rarely, the detail often.
    Doing { stage: &'static str, detail: String },
    /// Something that was done or found, for a line that stays.
    Said(String),
    /// What happened on the platform.
    Event(&'a Event),
}

/// Told of progress.
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) + 'a;

/// Asks what is being done to end; what was begun is left in a state that the next call continues from.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    async fn stopped(&self) {
        // The sender is `self`, so the channel is open.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// The answer, or [`TargetError::Interrupted`].
    async fn or<T>(&self, answer: impl Future<Output = Result<T, TargetError>>) -> Result<T, TargetError> {
        tokio::select! {
            answer = answer => answer,
            () = self.stopped() => Err(TargetError::Interrupted),
        }
    }
}

/// One platform of one cluster: a release of the chart in a namespace.
pub struct Installer {
    site: Site,
    runtime: Runtime,
}

/// Where everything happens.
#[derive(Debug)]
struct Site {
    cluster: Cluster,
    /// The platform's name, and Helm's name for it.
    release: String,
    /// Of the API server, such as `v1.34.4`.
    version: String,
    options: Options,
    stop: Stop,
}

impl Site {
    /// Its namespace.
    fn namespace(&self) -> &str {
        &self.cluster.namespace
    }

    /// The options that choose it, for commands to copy.
    fn kubectl(&self) -> String {
        self.flags("kubectl", "--context")
    }

    fn helm(&self) -> String {
        self.flags("helm", "--kube-context")
    }

    fn flags(&self, program: &str, context_flag: &str) -> String {
        let file = self.options.kubeconfig.as_ref().map(|file| file.display().to_string());
        let file = file.map(|file| format!(" --kubeconfig {}", quoted(&file)));
        let context =
            self.options.context.as_ref().map(|context| format!(" {context_flag} {}", quoted(context)));
        format!("{program}{}{}", file.unwrap_or_default(), context.unwrap_or_default())
    }
}

impl fmt::Debug for Installer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installer").field("site", &self.site).finish_non_exhaustive()
    }
}

impl Installer {
    /// Finds the cluster. Without a namespace in `options` it is the context's, unless that is `default`; then it is
    /// called like the release.
    pub fn connect(options: &Options, release: &str, stop: Stop) -> Result<Self, TargetError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("install")
            .build()
            .map_err(TargetError::other)?;
        let (mut cluster, version) = runtime.block_on(stop.or(async {
            let cluster = connect::connect(options).await?;
            let version = cluster.version().await?;
            Ok((cluster, version))
        }))?;
        if options.namespace.is_none() && cluster.namespace == "default" {
            release.clone_into(&mut cluster.namespace);
        }
        let site = Site { cluster, release: release.to_owned(), version, options: options.clone(), stop };
        Ok(Self { site, runtime })
    }

    /// Where the release is.
    pub fn namespace(&self) -> &str {
        self.site.namespace()
    }

    /// Of the API server, such as `v1.34.4`.
    pub fn version(&self) -> &str {
        &self.site.version
    }

    /// What [`up`](Self::up) would do, and what would keep it from that. Nothing is changed.
    pub fn plan(&self, wanted: &Wanted, tell: &mut OnProgress<'_>) -> Result<Plan, TargetError> {
        let planned = self.runtime.block_on(self.site.stop.or(plan::plan(&self.site, wanted, tell)))?;
        Ok(planned.plan)
    }

    /// Brings the platform to the desired state and waits until it is ready.
    pub fn up(&self, wanted: &Wanted, tell: &mut OnProgress<'_>) -> Result<Installed, TargetError> {
        self.runtime.block_on(up::up(&self.site, wanted, tell))
    }

    /// Takes it away, everything that playctl made for it included, and proves that nothing is left.
    pub fn down(&self, grace: bool, tell: &mut OnProgress<'_>) -> Result<Removed, TargetError> {
        self.runtime.block_on(down::down(&self.site, grace, tell))
    }

    /// Collects what helps somebody else to see what is wrong, without secrets. `program`: our own version.
    pub fn diagnose(
        &self,
        file: &Path,
        program: &str,
        tell: &mut OnProgress<'_>,
    ) -> Result<Diagnosed, TargetError> {
        self.runtime.block_on(self.site.stop.or(bundle::diagnose(&self.site, file, program, tell)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The release `r` in the namespace `n` of whatever answers to the client.
    pub(super) fn site(client: kube::Client) -> Site {
        let cluster =
            Cluster { client, namespace: "n".to_owned(), context: "c".to_owned(), place: "here".to_owned() };
        Site {
            cluster,
            release: "r".to_owned(),
            version: "v1.34.0".to_owned(),
            options: Options::default(),
            stop: Stop::default(),
        }
    }
}
