//! A thread for blocking work, such as backends; event loops must not block.

use std::io;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// Threads per runtime for calls that block, such as resolving names.
const BLOCKING_THREADS_MAX: usize = 4;

/// A thread with its own runtime, ended when nobody needs it any more.
#[derive(Debug)]
pub struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs `serve` on a thread called `name`. Its receiver completes when the thread should end (an error means that
    /// the sender is gone); tasks left over when `serve` returns are dropped.
    ///
    /// # Errors
    /// The thread or its runtime cannot be created.
    pub fn start<Serving: Future<Output = ()>>(
        name: &str,
        serve: impl FnOnce(oneshot::Receiver<()>) -> Serving + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name(format!("{name}-blocking"))
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(serve(stopped));
            // Does not wait for lookups in progress.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Tells the thread to end and waits until it has.
    pub fn end(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported any panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_background_thread_runs_until_told_to_end() {
        let (say, said) = mpsc::channel();
        let background = Background::start("backend", |stopped| async move {
            say.send(std::thread::current().name().map(str::to_owned)).unwrap();
            let _ = stopped.await;
            say.send(Some("ended".into())).unwrap();
        })
        .unwrap();
        assert_eq!(said.recv().unwrap().as_deref(), Some("backend"));
        background.end();
        assert_eq!(said.try_recv().unwrap().as_deref(), Some("ended"));
    }
}
