//! The gateways' view: the replicas, in increasing versions, rewritten until it succeeds.

use std::time::Duration;

use platform::{EventKind, ServiceKind, target::ReplicaPhase};

use crate::{
    Controller, Effect, Fact, RunId, Time,
    effect::{Cluster, Endpoint},
    facts::Warning,
    instance::Instance,
};

/// Delay between a failed write and the next attempt.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// The last version that was handed out for writing.
    clusters: Vec<Cluster>,
    version: u64,
    /// A write is under way.
    writing: bool,
    /// The last version that was written, which is all that gateways can know.
    written: Vec<Cluster>,
    written_version: u64,
    /// When the last write failed, and why.
    failed: Option<(Time, String)>,
}

impl Endpoints {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The last version that was written.
    pub(crate) fn written_version(&self) -> u64 {
        self.written_version
    }

    /// Whether the current version has been written.
    pub(crate) fn is_written(&self) -> bool {
        self.written_version == self.version
    }

    /// Whether the gateways are told to send this run new connections.
    pub(crate) fn offer(&self, run: RunId) -> bool {
        let all = self.clusters.iter().flat_map(|cluster| &cluster.endpoints);
        all.into_iter().any(|endpoint| endpoint.run == run && !endpoint.draining)
    }

    pub(crate) fn retry_at(&self) -> Option<Time> {
        self.failed.as_ref().filter(|_| !self.writing).map(|(at, _)| *at + RETRY)
    }

    /// Why the gateways do not know the current replicas.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.failed.as_ref().map(|(_, reason)| reason.as_str())
    }
}

impl Controller {
    /// Requests a write if the endpoints have changed, or if the last write failed long enough ago.
    pub(crate) fn settle_endpoints(&mut self, now: Time) {
        if self.spec.is_none() || self.endpoints.writing {
            return;
        }
        let is_new = self.endpoints.version == 0 || !self.are_endpoints_present();
        let is_retry = self.endpoints.retry_at().is_some_and(|at| at <= now);
        if !is_new && !is_retry {
            return;
        }
        let clusters = self.clusters();
        self.endpoints.version += 1;
        self.endpoints.clusters.clone_from(&clusters);
        self.endpoints.writing = true;
        self.effect(Effect::WriteEndpoints { version: self.endpoints.version, clusters });
    }

    pub(crate) fn endpoints_written(&mut self, version: u64, result: Result<(), String>, now: Time) {
        if version != self.endpoints.version || !self.endpoints.writing {
            return;
        }
        self.endpoints.writing = false;
        self.dirty();
        let failed_before = self.endpoints.failed.take().is_some();
        if let Err(reason) = result {
            self.endpoints.failed = Some((now, reason.clone()));
            if !failed_before {
                self.tell(Fact::Warning(Warning::EndpointsNotWritten { reason }));
            }
            return;
        }
        if failed_before {
            self.tell(Fact::Warning(Warning::EndpointsWrittenAgain));
        }
        self.endpoints.written_version = version;
        let before = std::mem::replace(&mut self.endpoints.written, self.endpoints.clusters.clone());
        let is_news = |cluster: &&Cluster| !before.contains(cluster) && !is_first_and_empty(cluster, &before);
        let stays = |run| self.instances.iter().any(|one| one.runs_as(run) && one.is_ready());
        let changed = |cluster| changed(cluster, stays);
        let changed: Vec<EventKind> = self.endpoints.written.iter().filter(is_news).map(changed).collect();
        for event in changed {
            self.event(event);
        }
    }

    /// Replicas that may get connections, and those that still have some, with their run and whether it gets no new ones
    /// because it drains or is inactive.
    fn endpoints_of(&self, kind: ServiceKind) -> impl Iterator<Item = (&Instance, RunId, bool)> {
        self.replicas(kind).filter_map(|one| {
            let draining = one.phase == ReplicaPhase::Draining;
            let run = one.run.as_ref().filter(|_| draining || one.is_ready())?;
            Some((one, run.id, draining || !one.takes_connections()))
        })
    }

    fn clusters(&self) -> Vec<Cluster> {
        let endpoint = |(one, run, draining): (&Instance, RunId, bool)| Endpoint {
            replica: one.name.to_string(),
            run,
            draining,
        };
        let endpoints = |kind: ServiceKind| self.endpoints_of(kind).map(endpoint).collect();
        self.services.keys().map(|kind| Cluster { service: *kind, endpoints: endpoints(*kind) }).collect()
    }

    /// Whether [`clusters`](Self::clusters) equal the ones that were last handed out. A run has one name.
    fn are_endpoints_present(&self) -> bool {
        let known = &self.endpoints.clusters;
        self.services.keys().eq(known.iter().map(|cluster| &cluster.service))
            && known.iter().all(|cluster| {
                let known = cluster.endpoints.iter().map(|one| (one.run, one.draining));
                self.endpoints_of(cluster.service).map(|(_, run, draining)| (run, draining)).eq(known)
            })
    }
}

/// A new service without replicas is not worth reporting.
fn is_first_and_empty(cluster: &Cluster, before: &[Cluster]) -> bool {
    cluster.endpoints.is_empty() && !before.iter().any(|known| known.service == cluster.service)
}

/// `stays`: whether a run is ready; if it still gets no new connections, it is inactive and does not drain.
fn changed(cluster: &Cluster, stays: impl Fn(RunId) -> bool) -> EventKind {
    let names = |draining: bool| {
        let some = cluster.endpoints.iter().filter(|endpoint| endpoint.draining == draining);
        some.filter(|endpoint| !draining || !stays(endpoint.run))
            .map(|endpoint| endpoint.replica.clone())
            .collect()
    };
    EventKind::EndpointsChanged {
        service: cluster.service.name().to_owned(),
        ready: names(false),
        draining: names(true),
    }
}
