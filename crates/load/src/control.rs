//! Stopping a run from another thread.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

type Hook = Box<dyn Fn(Stop) + Send>;

/// How a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Outstanding messages may still be answered.
    Orderly,
    /// Not even that.
    AtOnce,
}

/// A handle on a run. Clones share it.
#[derive(Clone, Default)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    hook: Mutex<Option<Hook>>,
}

impl Control {
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the run: no new connections and messages, outstanding messages are still waited for, all connections
    /// are closed, and the run delivers its summary, marked as interrupted. A second call does not wait for answers.
    pub fn stop(&self) {
        // Under the hook's lock, so that a run which is just attaching sees either the mark or the call.
        let hook = self.shared.hook.lock();
        let stopped_before = self.shared.stopped.swap(true, Ordering::AcqRel);
        if let Some(hook) = hook.as_ref() {
            hook(if stopped_before { Stop::AtOnce } else { Stop::Orderly });
        }
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// Has `hook` called for each stop from now on, and at once if there was one already.
    pub(crate) fn attach(&self, hook: Hook) -> Attached<'_> {
        let mut slot = self.shared.hook.lock();
        if self.is_stopped() {
            hook(Stop::Orderly);
        }
        *slot = Some(hook);
        Attached { control: self }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

/// Detaches the hook when the run is over.
pub(crate) struct Attached<'a> {
    control: &'a Control,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        *self.control.shared.hook.lock() = None;
    }
}
