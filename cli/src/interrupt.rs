//! Ctrl-C, SIGTERM and SIGHUP (the terminal was closed): the first asks the command to end and clean up, the second ends
//! the process at once.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

type Callback = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Shared {
    set: AtomicBool,
    /// The process may be blocked where nothing else can end it.
    reading: AtomicBool,
    callbacks: Mutex<Vec<Callback>>,
}

/// Whether this invocation was asked to end. Clones share that.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

impl Interrupt {
    /// Handles the signals from here on; call this once per process.
    pub(crate) fn install() -> io::Result<Self> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut sigint, mut sigterm, mut sighup) = {
            let _entered = runtime.enter();
            let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangup)
        };
        let in_thread = interrupt.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = sigint.recv() => {}
                        _ = sigterm.recv() => {}
                        () = next(&mut sighup) => {}
                    }
                    if in_thread.is_set() || in_thread.shared.reading.load(Ordering::SeqCst) {
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

    /// Runs `callback` on interruption, or at once if that has already happened.
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

    /// For a command that has nothing to clean up, and may block where nothing else can end it: while opening a pipe.
    pub(crate) fn end_at_the_first(&self) {
        self.on_interrupt(|| end_at_once());
    }

    /// Runs work that has nothing to clean up yet, and may block where nothing else can end it: while opening a pipe.
    pub(crate) fn ending_at_once<R>(&self, read: impl FnOnce() -> R) -> R {
        self.shared.reading.store(true, Ordering::SeqCst);
        if self.is_set() {
            end_at_once();
        }
        let result = read();
        self.shared.reading.store(false, Ordering::SeqCst);
        result
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

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether this process was started to outlive its terminal (`nohup`), which must be respected.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| has_hangup_ignored(&status))
}

fn has_hangup_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signals count from 1, and SIGHUP is the first.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the second Ctrl-C must end a process that hangs while it cleans up"
)]
fn end_at_once() -> ! {
    std::process::exit(platform::exit::INTERRUPTED.into())
}

#[cfg(test)]
mod tests {
    use super::has_hangup_ignored;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert!(has_hangup_ignored("Name:\tplayctl\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n"));
        assert!(!has_hangup_ignored("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!has_hangup_ignored(""));
    }
}
