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
    run: Mutex<Option<Commanders>>,
    /// Orders to clients: the steps, by the orders' numbers.
    orders: Mutex<Vec<Step>>,
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
        if let Some(run) = run.as_ref() {
            run.tell(&if stopped_before { Command::StopAtOnce } else { Command::Stop });
        }
    }

    /// Lets a client send what a step of a scenario says. `broadcast`: the number of the scenario's broadcast. The
    /// result is an event of the run.
    pub fn send(&self, step: &Step, broadcast: Option<u16>) {
        let Verb::Send { from, payload, answer } = &step.verb else { return };
        let mut orders = self.shared.orders.lock();
        let id = orders.len() as u32;
        orders.push(step.clone());
        if let Some(run) = self.shared.run.lock().as_ref() {
            let client = from.saturating_sub(1);
            let (payload, answer) = (payload.clone(), answer.clone());
            run.tell(&Command::Task(Task::Send(Order { id, client, payload, answer, broadcast })));
        }
    }

    /// Lets users join or leave, as a step of a scenario says. The result is an event of the run.
    pub fn change_users(&self, step: &Step) {
        let mut orders = self.shared.orders.lock();
        let id = orders.len() as u32;
        orders.push(step.clone());
        // Which users are where, and so who leaves, is known once all workers have reported.
        if let Some(run) = self.shared.run.lock().as_ref() {
            run.tell(&Command::Task(Task::Muster(id)));
        }
    }

    /// The step of an order.
    pub(crate) fn ordered(&self, id: u32) -> Option<Step> {
        self.shared.orders.lock().get(id as usize).cloned()
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// From now on, calls reach the workers of a run; an earlier stop does so at once.
    pub(crate) fn attach(&self, run: Commanders) -> Attached<'_> {
        let mut slot = self.shared.run.lock();
        if self.is_stopped() {
            run.tell(&Command::Stop);
        }
        *slot = Some(run);
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
        *self.control.shared.run.lock() = None;
    }
}
