//! A worker on a thread of its own.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use scenario::Protocol;

use crate::{
    messages::{Report, Spec},
    worker::{Commands, Datagram, Stream, Worker},
};

/// Starts a worker on its own thread. Its last report says that it is done, or why it failed.
pub(crate) fn spawn_worker(
    spec: Spec,
    commands: Arc<Commands>,
    reports: mpsc::SyncSender<(u32, Report)>,
) -> io::Result<thread::JoinHandle<()>> {
    let worker = spec.worker;
    thread::Builder::new().name(format!("load-{worker}")).spawn(move || {
        let mut last_words = LastWords { worker, reports, words: Some("it ended unexpectedly".to_owned()) };
        let reports = last_words.reports.clone();
        let result = match spec.scenario.protocol {
            Protocol::Tcp | Protocol::Ws | Protocol::Sse => {
                Worker::<Stream>::new(spec, commands, reports).and_then(Worker::run)
            }
            Protocol::Udp => Worker::<Datagram>::new(spec, commands, reports).and_then(Worker::run),
        };
        last_words.words = result.err().map(|error| error.to_string());
    })
}

/// Reports the failure of a worker, including a panic.
struct LastWords {
    worker: u32,
    reports: mpsc::SyncSender<(u32, Report)>,
    words: Option<String>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if let Some(words) = self.words.take() {
            let _ = self.reports.send((self.worker, Report::Failed(words)));
        }
    }
}
