//! Carries out a scenario's actions: platform actions on a thread of their own, because they block; client actions
//! through the load.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use platform::{
    Event, EventKind, Target, TargetError,
    target::{Drained, Killed, NodeAdded, NodeRemoved, Scaled, Started, Stopped},
};
use scenario::{Scenario, Schedule, Step, Verb};

use crate::Control;

/// How long restarting stopped parts may take at the end of a run.
const PATIENCE: Duration = Duration::from_secs(30);

/// Receives the events of a run and acts on them. Dropping it starts what is still stopped.
pub struct Director {
    schedule: Schedule,
    broadcasts: Vec<String>,
    control: Control,
    /// Steps for the platform, one after another; `None`: there is no platform.
    steps: Option<mpsc::Sender<Step>>,
    worker: Option<(thread::JoinHandle<()>, mpsc::Receiver<()>)>,
    /// Platform actions without an outcome yet, in words.
    under_way: Vec<String>,
    /// Actions for clients of a load that was over, in words.
    too_late: Vec<String>,
}

impl Director {
    /// `tell` receives an event for each platform action, and how long the action took.
    pub fn new(
        scenario: &Scenario,
        control: Control,
        platform: Option<Arc<dyn Target>>,
        tell: impl Fn(Duration, EventKind) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (mut steps, mut worker) = (None, None);
        if let Some(platform) = platform.filter(|_| !scenario.actions.is_empty()) {
            // Bounded by the number of a scenario's actions.
            let (sender, receiver) = mpsc::channel::<Step>();
            let (done, is_done) = mpsc::channel();
            let thread = thread::Builder::new().name("actions".to_owned()).spawn(move || {
                for step in receiver {
                    let began = clock::now();
                    let outcome = take(&*platform, &step);
                    tell(began.elapsed(), outcome);
                }
                // The receiver may be gone.
                let _ = done.send(());
            })?;
            (steps, worker) = (Some(sender), Some((thread, is_done)));
        }
        let broadcasts = scenario.broadcasts().map(str::to_owned).collect();
        let schedule = Schedule::new(&scenario.actions);
        Ok(Self { schedule, broadcasts, control, steps, worker, under_way: Vec::new(), too_late: Vec::new() })
    }

    /// Processes the next event of the run.
    pub fn observe(&mut self, event: &Event) {
        self.schedule.observe(event);
        if let EventKind::ActionTaken { action, .. } = &event.kind
            && let Some(at) = self.under_way.iter().position(|under_way| under_way == action)
        {
            self.under_way.remove(at);
        }
    }

    /// Starts everything that is due, `now_ms` after the start of the run.
    pub fn act(&mut self, now_ms: u64) {
        for step in self.schedule.take_due(now_ms) {
            self.take(step);
        }
    }

    /// When [`act`](Self::act) has something to do next.
    pub fn next_due(&self) -> Option<u64> {
        self.schedule.next_due()
    }

    /// Whether platform actions have no outcome yet.
    pub fn is_acting(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Once the load has closed: actions that can still happen, in words.
    pub fn pending(&self) -> Vec<String> {
        self.schedule.pending()
    }

    /// The run is over: restarts what was stopped. Returns what was never done, in words.
    pub fn end(&mut self) -> Vec<String> {
        for step in self.schedule.end() {
            self.take(step);
        }
        [std::mem::take(&mut self.too_late), self.schedule.never_taken()].concat()
    }

    /// The number of a broadcast among those of the scenario.
    fn number_of(&self, verb: &Verb) -> Option<u16> {
        let text = verb.broadcast()?;
        let number = self.broadcasts.iter().position(|broadcast| broadcast == text)?;
        u16::try_from(number).ok()
    }

    fn take(&mut self, step: Step) {
        if !step.verb.is_of_platform() {
            if !self.control.order(&step, self.number_of(&step.verb)) {
                self.too_late.push(format!("{}: {}", step.because, step.verb));
            }
        } else if let Some(steps) = &self.steps {
            let action = step.verb.to_string();
            if steps.send(step).is_ok() {
                self.under_way.push(action);
            }
        }
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        self.end();
        self.steps = None;
        if let Some((thread, is_done)) = self.worker.take() {
            // A platform that does not answer must not delay Ctrl-C forever.
            if is_done.recv_timeout(PATIENCE).is_ok() {
                let _ = thread.join();
            }
        }
    }
}

fn take(platform: &dyn Target, step: &Step) -> EventKind {
    let result = match &step.verb {
        Verb::Stop { what, .. } => platform.stop(what).map(|Stopped { name, was_running }| {
            if was_running { format!("{name} is stopped") } else { format!("{name} was already stopped") }
        }),
        Verb::Start { what } => platform.start(what).map(|Started { name, was_stopped }| {
            if was_stopped { format!("{name} is started") } else { format!("{name} was running") }
        }),
        Verb::Kill { what, restart } => platform.kill(what, *restart).map(|killed| {
            let Killed { replica, replaced, restart_in, .. } = killed;
            match restart_in {
                None if replaced => format!("{replica} is killed; another replica takes its place"),
                Some(wait) if wait.is_zero() => format!("{replica} is killed; it starts again at once"),
                Some(wait) => format!("{replica} is killed; it starts again in {} s", wait.as_secs()),
                None => format!("{replica} is killed; it stays dead"),
            }
        }),
        Verb::Drain { what } => platform.drain(what).map(|Drained { replica, connections, grace }| {
            let held = connections.map(|count| format!(" with {count} connections")).unwrap_or_default();
            format!("{replica}{held} is told to end, at most {} s from now", grace.as_secs())
        }),
        Verb::Scale { service, to } => {
            platform.scale(service, *to).map(|Scaled { from, to, .. }| format!("{service} {from} → {to}"))
        }
        Verb::AddNode => platform.add_node().map(|NodeAdded { name, nodes, follows }| {
            let on_it =
                if follows.is_empty() { String::new() } else { format!("; on it: {}", follows.join(", ")) };
            format!("{name} is added, one of {nodes} nodes{on_it}")
        }),
        Verb::RemoveNode { node } => platform
            .remove_node(node.as_deref())
            .map(|NodeRemoved { name, nodes }| format!("{name} is drained and gone, {nodes} nodes are left")),
        other => Err(TargetError::Invalid { message: format!("{other} is not something a platform does") }),
    };
    let (outcome, failed) = match result {
        Ok(outcome) => (outcome, false),
        Err(error) => (error.to_string(), true),
    };
    EventKind::ActionTaken { action: step.verb.to_string(), because: step.because.clone(), outcome, failed }
}
