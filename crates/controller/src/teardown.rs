//! Taking the platform down: replicas, then gateways, then parts.

use std::time::Duration;

use platform::{EventKind, TargetError};

use crate::{
    Controller, Effect, Failure, Reply, RequestId, Time,
    instance::{Instance, Workload},
};

/// How long gateways have to shut down when no client is connected any more.
const GATEWAY_GRACE: Duration = Duration::from_secs(2);

/// A teardown in progress.
#[derive(Debug, Clone)]
pub(crate) struct Stopping {
    grace: bool,
    stage: Stage,
    requests: Vec<RequestId>,
    /// Clients that waited for the platform to come up, and why it did not.
    failed: Vec<(RequestId, Failure)>,
}

/// The kinds that were told to end, each once the previous ones are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Replicas,
    Gateways,
    Parts,
}

impl Controller {
    /// Starts taking the platform down; a second call does so at once, even if the first was graceful.
    pub(crate) fn stop(&mut self, grace: bool, id: Option<RequestId>, now: Time) {
        if self.finished {
            if let Some(id) = id {
                self.reply(id, Ok(Reply::Down));
            }
            return;
        }
        let first = self.stopping.is_none();
        let stopping = self.stopping.get_or_insert_with(|| Stopping {
            grace,
            stage: Stage::Replicas,
            requests: Vec::new(),
            failed: Vec::new(),
        });
        stopping.requests.extend(id);
        stopping.grace &= grace;
        let grace = stopping.grace;
        if first {
            let message = "it was taken down while it was coming up".to_owned();
            let failure = Failure::from(TargetError::BringUp { message });
            let pending = self.pending.drain(..).map(|pending| (pending.id, failure.clone()));
            stopping.failed.extend(pending);
            let platform = self.platform.clone();
            self.event(EventKind::PlatformStopping { platform, grace });
        }
        if grace {
            self.end_all(|one| matches!(one.workload, Workload::Service(_)), None, now);
        } else {
            self.kill_all();
        }
        self.dirty();
    }

    /// The platform did not come up: everything is removed, then the waiting clients learn why.
    pub(crate) fn stop_failed(&mut self, failure: &Failure, now: Time) {
        let waiting: Vec<_> = self.pending.drain(..).map(|pending| (pending.id, failure.clone())).collect();
        self.stop(false, None, now);
        if let Some(stopping) = &mut self.stopping {
            stopping.failed.extend(waiting);
        }
    }

    /// `grace`: an upper limit on their own grace periods.
    fn end_all(&mut self, which: fn(&Instance) -> bool, grace: Option<Duration>, now: Time) {
        let all: Vec<u64> = self.instances.iter().filter(|one| which(one)).map(|one| one.uid).collect();
        for uid in all {
            self.end(uid, now);
            if let (Some(grace), Some(one)) = (grace, self.instances.get_mut(uid))
                && one.run.is_some()
            {
                one.kill_at = Some(one.kill_at.map_or(now + grace, |at| at.min(now + grace)));
            }
        }
    }

    fn kill_all(&mut self) {
        let runs: Vec<_> =
            self.instances.iter().filter_map(|one| one.run.as_ref()).map(|run| run.id).collect();
        for run in runs {
            self.effect(Effect::Kill { run });
        }
    }

    pub(crate) fn settle_stop(&mut self, now: Time) {
        // Instances that do not run need no wait.
        let idle: Vec<u64> =
            self.instances.iter().filter(|one| one.run.is_none()).map(|one| one.uid).collect();
        for uid in idle {
            self.end(uid, now);
        }
        let stage = self.instances.iter().map(|one| match one.workload {
            Workload::Service(_) => Stage::Replicas,
            Workload::Gateway(_) => Stage::Gateways,
            Workload::Part(_) => Stage::Parts,
        });
        let Some(stage) = stage.min() else {
            self.finish();
            return;
        };
        let Some(stopping) = &mut self.stopping else { return };
        if stage <= stopping.stage {
            return;
        }
        stopping.stage = stage;
        match stage {
            Stage::Replicas => {}
            Stage::Gateways => {
                self.end_all(|one| matches!(one.workload, Workload::Gateway(_)), Some(GATEWAY_GRACE), now);
            }
            Stage::Parts => self.end_all(|one| matches!(one.workload, Workload::Part(_)), None, now),
        }
    }

    /// Nothing is left. Clients are answered last, so everything has been released by then.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let platform = self.platform.clone();
        self.event(EventKind::PlatformStopped { platform });
        self.effect(Effect::Finished);
        let Some(stopping) = &mut self.stopping else { return };
        let (requests, failed) =
            (std::mem::take(&mut stopping.requests), std::mem::take(&mut stopping.failed));
        for id in requests {
            self.reply(id, Ok(Reply::Down));
        }
        for (id, failure) in failed {
            self.reply(id, Err(failure));
        }
    }
}
