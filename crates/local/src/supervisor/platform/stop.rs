//! Taking the platform down.

use std::time::Duration;

use ::platform::{EventKind, TargetError, target::Applied};

use super::{Platform, World};
use crate::{
    control::Traces,
    leftovers,
    supervisor::{Answer, Message},
};

/// Gateways that end in order get so long; nobody is connected any more.
const GATEWAY_GRACE: Duration = Duration::from_secs(2);

/// A teardown under way.
#[derive(Debug)]
pub(crate) struct Stopping {
    grace: bool,
    stage: Stage,
    answers: Vec<Answer<Traces>>,
    /// Whoever waited for the platform to come up, and why it did not.
    failed: Vec<(Answer<Applied>, TargetError)>,
}

/// Who was told to end; each when those before are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Replicas,
    Gateways,
    Servers,
    /// Nobody is left.
    Over,
}

impl Stopping {
    /// Whether it comes to `stage` now.
    fn comes_to(&mut self, stage: Stage) -> bool {
        let is_new = self.stage < stage;
        self.stage = self.stage.max(stage);
        is_new
    }
}

/// What is said to clients when everything is gone.
#[derive(Debug)]
pub(crate) struct Farewell {
    traces: Traces,
    answers: Vec<Answer<Traces>>,
    failed: Vec<(Answer<Applied>, TargetError)>,
}

impl Farewell {
    pub(crate) fn say(self) {
        // Those who have gone away do not hear it.
        for answer in self.answers {
            drop(answer.send(Ok(self.traces.clone())));
        }
        for (answer, error) in self.failed {
            drop(answer.send(Err(error)));
        }
    }
}

impl Platform {
    /// SIGTERM or SIGINT to the supervisor.
    pub(crate) fn interrupted(&mut self) {
        self.stop(false, None);
        self.settle();
    }

    /// Begins to take the platform down; at once, a second time, even if it had begun with grace.
    pub(super) fn stop(&mut self, grace: bool, answer: Option<Answer<Traces>>) {
        let first = self.stopping.is_none();
        let stopping = self.stopping.get_or_insert_with(|| Stopping {
            grace,
            stage: Stage::Replicas,
            answers: Vec::new(),
            failed: Vec::new(),
        });
        stopping.answers.extend(answer);
        stopping.grace &= grace;
        let grace = stopping.grace;
        if first {
            let error = TargetError::BringUp { message: "it was taken down while it came up".to_owned() };
            let pending = self.pending.drain(..).map(|pending| (pending.answer, error.clone()));
            stopping.failed.extend(pending);
            self.recorder.emit(EventKind::PlatformStopping { platform: self.name.clone(), grace });
        }
        if grace {
            self.drain_all();
        } else {
            self.kill_all();
        }
    }

    /// The platform did not come up: everything goes, then whoever waits is told why.
    pub(super) fn stop_failed(&mut self, error: &TargetError) {
        let waiting: Vec<_> = self.pending.drain(..).map(|pending| (pending.answer, error.clone())).collect();
        self.stop(false, None);
        if let Some(stopping) = &mut self.stopping {
            stopping.failed.extend(waiting);
        }
    }

    fn drain_all(&mut self) {
        let Some(world) = &self.world else { return };
        let all: Vec<u64> =
            world.services.iter().flat_map(|service| &service.replicas).map(|replica| replica.uid).collect();
        for uid in all {
            self.drain(uid);
        }
    }

    fn kill_all(&mut self) {
        let Some(world) = &mut self.world else { return };
        for replica in world.services.iter_mut().flat_map(|service| &mut service.replicas) {
            if let Some(running) = &replica.running {
                running.process.kill();
            }
        }
        for gateway in &world.gateways.all {
            if let Some(running) = &gateway.running {
                running.process.kill();
            }
        }
        for server in &world.servers {
            if let Some(running) = &server.running {
                running.process.kill();
            }
        }
    }

    pub(super) fn settle_stop(&mut self) {
        self.settle_endpoints();
        let Some(world) = &mut self.world else {
            self.all_gone();
            return;
        };
        // What has no process has nothing to wait for.
        for service in &mut world.services {
            service.replicas.retain(|replica| replica.running.is_some());
        }
        world.gateways.all.retain(|gateway| gateway.running.is_some());
        let replicas_left = world.services.iter().any(|service| !service.replicas.is_empty());
        if replicas_left {
            return;
        }
        world.servers.retain(|server| server.running.is_some());
        let Some(stopping) = &mut self.stopping else { return };
        if !world.gateways.all.is_empty() {
            if stopping.comes_to(Stage::Gateways) {
                for running in world.gateways.all.iter().filter_map(|gateway| gateway.running.as_ref()) {
                    running.process.terminate();
                    self.starter.later(GATEWAY_GRACE, Message::GraceOver { key: running.key });
                }
            }
        } else if world.servers.is_empty() {
            self.all_gone();
        } else if stopping.comes_to(Stage::Servers) {
            self.terminate_servers();
        }
    }

    fn all_gone(&mut self) {
        if let Some(stopping) = &mut self.stopping
            && stopping.comes_to(Stage::Over)
        {
            self.recorder.emit(EventKind::PlatformStopped { platform: self.name.clone() });
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.stage == Stage::Over)
    }

    /// Gives back everything: listeners, embedded parts, slot. What remains is to be said.
    pub(crate) fn finish(self) -> Farewell {
        let run = self.recorder.run();
        let slot = self.world.as_ref().map(|world: &World| world.slot.number());
        drop(self.world);
        let traces = Traces { run, supervisor: std::process::id(), slot, socket: self.own.socket.clone() };
        // A server may have processes of its own making (Elasticsearch's launcher does); they end with it, but not at
        // once, and what they still write would be left.
        leftovers::kill_others(&traces, traces.supervisor);
        let (answers, failed) =
            self.stopping.map(|stopping| (stopping.answers, stopping.failed)).unwrap_or_default();
        Farewell { traces, answers, failed }
    }
}
