//! Ctrl-C and SIGTERM: the first asks the command to end and clean up, the second ends the process at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Shared {
    set: AtomicBool,
    callbacks: Mutex<Vec<Callback>>,
}

/// Whether this invocation was asked to end. Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

impl Interrupt {
    /// From here on the signals are taken; call once per process.
    pub(crate) fn install() -> io::Result<Self> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut sigint, mut sigterm) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let in_thread = interrupt.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = sigint.recv() => {}
                        _ = sigterm.recv() => {}
                    }
                    if in_thread.is_set() {
                        end_at_once();
                    }
                    in_thread.trigger();
                }
            });
        })?;
        Ok(interrupt)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.shared.set.load(Ordering::SeqCst)
    }

    /// Runs `callback` on interruption, at once if it has happened already.
    pub(crate) fn on_interrupt(&self, callback: impl FnOnce() + Send + 'static) {
        {
            let mut callbacks = self.shared.callbacks.lock();
            if !self.is_set() {
                callbacks.push(Box::new(callback));
                return;
            }
        }
        callback();
    }

    fn trigger(&self) {
        let callbacks = {
            let mut callbacks = self.shared.callbacks.lock();
            self.shared.set.store(true, Ordering::SeqCst);
            std::mem::take(&mut *callbacks)
        };
        for callback in callbacks {
            callback();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the second Ctrl-C must end a process that hangs while it cleans up"
)]
fn end_at_once() -> ! {
    std::process::exit(platform::exit::INTERRUPTED.into())
}
