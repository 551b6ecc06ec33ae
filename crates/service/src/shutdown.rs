//! How a process ends: running → draining → forced.
//!
//! A [`Shutdown`] is a handle on the phase of one server's life; clones share it. The first SIGTERM or SIGINT
//! (or [`Shutdown::advance`]) asks it to drain, the second to end at once. Phases only go forward.
//!
//! Event loops register a callback that wakes their poller ([`Shutdown::subscribe`]) and then look at
//! [`Shutdown::phase`]; asynchronous code waits with [`Shutdown::reached`].

mod signals;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The phases of a server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    Running,
    /// No longer ready; finishes its work within the drain's time limits.
    Draining,
    /// Ends at once.
    Forced,
}

type Callback = Box<dyn Fn(Phase) + Send>;

struct Inner {
    phase: watch::Sender<Phase>,
    callbacks: Mutex<Vec<Callback>>,
}

/// A shared handle on the phase of a server's life. See the module.
#[derive(Clone)]
pub struct Shutdown(Arc<Inner>);

impl Shutdown {
    /// A handle that only [`Shutdown::advance`] moves, for tests and embedders.
    pub fn new() -> Self {
        Self(Arc::new(Inner { phase: watch::Sender::new(Phase::Running), callbacks: Mutex::new(Vec::new()) }))
    }

    /// A handle advanced by SIGTERM and SIGINT: the first drains, the second ends at once.
    ///
    /// # Errors
    /// The signal handlers or the thread that waits for signals cannot be created.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        signals::watch(shutdown.clone())?;
        Ok(shutdown)
    }

    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Advances to the next phase; does nothing if already forced.
    pub fn advance(&self) {
        self.enter(match self.phase() {
            Phase::Running => Phase::Draining,
            Phase::Draining | Phase::Forced => Phase::Forced,
        });
    }

    /// Requests a drain, unless a later phase has already been reached.
    pub fn drain(&self) {
        self.enter(Phase::Draining);
    }

    /// Requests the end at once.
    pub fn force(&self) {
        self.enter(Phase::Forced);
    }

    fn enter(&self, phase: Phase) {
        // Held while the phase changes: a subscriber either sees the new phase or gets its call.
        let callbacks = self.0.callbacks.lock();
        let moved = self.0.phase.send_if_modified(|current| {
            let moves = phase > *current;
            *current = phase.max(*current);
            moves
        });
        if moved {
            callbacks.iter().for_each(|callback| callback(phase));
        }
    }

    /// Calls `callback` on every change of phase from now on, and at once if the phase is no longer `Running`. It runs
    /// on the thread that makes the change, should only wake another thread, and must not use this handle. Callbacks
    /// live as long as the last clone of the handle.
    pub fn subscribe(&self, callback: impl Fn(Phase) + Send + 'static) {
        let mut callbacks = self.0.callbacks.lock();
        let phase = self.phase();
        if phase > Phase::Running {
            callback(phase);
        }
        callbacks.push(Box::new(callback));
    }

    /// Waits until `phase` or a later one is reached.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.phase.subscribe().wait_for(|current| *current >= phase).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shutdown").field(&self.phase()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_go_forward() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.phase(), Phase::Running);
        shutdown.force();
        shutdown.drain();
        assert_eq!(shutdown.phase(), Phase::Forced);
    }

    #[test]
    fn callbacks_see_each_change_once_and_late_ones_the_present_phase() {
        let shutdown = Shutdown::new();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let early = Arc::clone(&heard);
        shutdown.subscribe(move |phase| early.lock().push(("early", phase)));
        shutdown.drain();
        shutdown.drain();
        let late = Arc::clone(&heard);
        shutdown.subscribe(move |phase| late.lock().push(("late", phase)));
        shutdown.advance();
        assert_eq!(
            *heard.lock(),
            [
                ("early", Phase::Draining),
                ("late", Phase::Draining),
                ("early", Phase::Forced),
                ("late", Phase::Forced)
            ]
        );
    }

    #[tokio::test]
    async fn waiting_ends_with_the_phase_or_a_later_one() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.reached(Phase::Draining).await }
        });
        shutdown.force();
        waiting.await.unwrap();
        shutdown.reached(Phase::Forced).await;
    }
}
