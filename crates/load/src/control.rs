//! Stops a run from another thread, and lets its clients send something, join and leave.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use scenario::{Step, Verb};

use crate::{
    commanders::Commanders,
    messages::{Command, Order, Task},
};

/// A handle on a run. Clones share it.
#[derive(Clone, Default)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    run: Mutex<Run>,
    /// Orders to clients, by their numbers.
    orders: Mutex<Vec<Ordered>>,
}

enum Run {
    /// Its workers do not listen yet; what they will be told.
    Ahead(Vec<Command>),
    Running(Commanders),
    Over,
}

impl Default for Run {
    fn default() -> Self {
        Self::Ahead(Vec::new())
    }
}

struct Ordered {
    step: Step,
    has_outcome: bool,
}

impl Control {
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the run: no new connections and messages; waits for outstanding messages, closes all connections, and
    /// delivers the summary, marked as interrupted. A second call does not wait for answers.
    pub fn stop(&self) {
        // Under the lock, so that a run that is just attaching sees either the mark or the call.
        let run = self.shared.run.lock();
        let stopped_before = self.shared.stopped.swap(true, Ordering::AcqRel);
        if let Run::Running(commanders) = &*run {
            commanders.tell(&if stopped_before { Command::StopAtOnce } else { Command::Stop });
        }
    }

    /// Lets a client send what a step of a scenario says, or users join or leave. `broadcast`: the number of the
    /// scenario's broadcast. The result is an event of the run, which may be about to begin; false: the run is over, and
    /// nobody does it.
    #[must_use]
    pub fn order(&self, step: &Step, broadcast: Option<u16>) -> bool {
        // Always locked first.
        let mut run = self.shared.run.lock();
        let mut orders = self.shared.orders.lock();
        let id = orders.len() as u32;
        let task = match &step.verb {
            Verb::Send { from, payload, answer } => {
                let client = from.saturating_sub(1);
                let (payload, answer) = (payload.clone(), answer.clone());
                Task::Send(Order { id, client, payload, answer, broadcast })
            }
            // Which users are where, and so who leaves, is known once all workers have reported.
            _ => Task::Muster(id),
        };
        match &mut *run {
            Run::Ahead(commands) => commands.push(Command::Task(task)),
            Run::Running(commanders) => commanders.tell(&Command::Task(task)),
            Run::Over => return false,
        }
        orders.push(Ordered { step: step.clone(), has_outcome: false });
        true
    }

    /// The step of an order.
    pub(crate) fn ordered(&self, id: u32) -> Option<Step> {
        self.shared.orders.lock().get(id as usize).map(|ordered| ordered.step.clone())
    }

    /// The step of an order that has its outcome now; `None`: it had one.
    pub(crate) fn decided(&self, id: u32) -> Option<Step> {
        let mut orders = self.shared.orders.lock();
        let ordered = orders.get_mut(id as usize).filter(|ordered| !ordered.has_outcome)?;
        ordered.has_outcome = true;
        Some(ordered.step.clone())
    }

    /// Once the run is over: the steps that will have no other outcome.
    pub(crate) fn undecided(&self) -> Vec<Step> {
        let mut orders = self.shared.orders.lock();
        let left = orders.iter_mut().filter(|ordered| !ordered.has_outcome);
        let decide = |ordered: &mut Ordered| {
            ordered.has_outcome = true;
            ordered.step.clone()
        };
        left.map(decide).collect()
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// From now on, calls reach the workers of a run; earlier ones do so at once.
    pub(crate) fn attach(&self, commanders: Commanders) -> Attached<'_> {
        let mut run = self.shared.run.lock();
        if let Run::Ahead(commands) = &*run {
            for command in commands {
                commanders.tell(command);
            }
        }
        if self.is_stopped() {
            commanders.tell(&Command::Stop);
        }
        *run = Run::Running(commanders);
        Attached { control: self }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

/// Detaches the run when it is over.
pub(crate) struct Attached<'a> {
    control: &'a Control,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        *self.control.shared.run.lock() = Run::Over;
    }
}
