//! The I/O threads of a service: run together, ended together.

use std::io;
use std::thread::JoinHandle;

use crate::shutdown::Shutdown;

/// Why a worker did not end normally.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot create a thread: {0}")]
    Start(#[source] io::Error),
    #[error("the event loop failed: {0}")]
    Loop(#[source] io::Error),
    /// The panic's message is on stderr.
    #[error("a worker thread panicked")]
    Panicked,
}

/// Runs all workers until they return, the first one on this thread. If one fails, the others are forced to end.
///
/// # Errors
/// The first failure.
pub fn run<Worker: FnOnce() -> io::Result<()> + Send + 'static>(
    workers: impl IntoIterator<Item = Worker>,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let mut workers = workers.into_iter();
    let first = workers.next();
    let mut threads: Vec<JoinHandle<io::Result<()>>> = Vec::new();
    let mut outcome = Ok(());
    for (number, worker) in (1..).zip(workers) {
        match std::thread::Builder::new().name(format!("worker-{number}")).spawn(worker) {
            Ok(thread) => threads.push(thread),
            Err(error) => outcome = outcome.and(Err(Error::Start(error))),
        }
    }
    if outcome.is_ok()
        && let Some(first) = first
    {
        outcome = first().map_err(Error::Loop);
    }
    if outcome.is_err() {
        // The other workers must not continue without this one.
        shutdown.force();
    }
    for thread in threads {
        outcome = outcome.and(match thread.join() {
            Ok(result) => result.map_err(Error::Loop),
            Err(_) => Err(Error::Panicked),
        });
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Phase;

    type Worker = Box<dyn FnOnce() -> io::Result<()> + Send>;

    #[test]
    fn a_failing_worker_ends_the_others() {
        let shutdown = Shutdown::new();
        let (told, waits) = std::sync::mpsc::channel();
        shutdown.subscribe(move |phase| told.send(phase).unwrap());
        let first: Worker = Box::new(|| Err(io::Error::other("broken")));
        let second: Worker = Box::new(move || {
            assert_eq!(waits.recv().unwrap(), Phase::Forced);
            Ok(())
        });
        let error = run([first, second], &shutdown).unwrap_err();
        assert_eq!(error.to_string(), "the event loop failed: broken");
    }

    #[test]
    fn all_workers_run() {
        let (say, said) = std::sync::mpsc::channel();
        let workers = (0..3).map(|number| {
            let say = say.clone();
            move || say.send(number).map_err(io::Error::other)
        });
        run(workers, &Shutdown::new()).unwrap();
        drop(say);
        let mut all: Vec<_> = said.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}
