//! The workers of a run: threads, processes, or remote ones.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use scenario::Protocol;

use crate::{
    away::{Away, Caller, Party},
    control::Control,
    error::LoadError,
    limits::Layout,
    remote::{Commander, Remote, WorkerCommand},
    worker::{Command, Commands, Datagram, Report, Spec, Stream, Worker},
};

/// Maximum number of queued reports. If nobody reads them, workers continue measuring and report later.
pub(crate) const REPORTS_QUEUED: usize = 256;

/// The running workers. Dropping it stops them at once and waits for them.
pub(crate) struct Crew {
    commanders: Commanders,
    reports: Option<mpsc::Receiver<(u32, Report)>>,
    threads: Vec<thread::JoinHandle<()>>,
    processes: Vec<Remote>,
    /// Remote workers.
    party: Option<Party>,
}

/// Sends commands to all workers, from any thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commanders {
    threads: Vec<Arc<Commands>>,
    processes: Vec<Commander>,
    elsewhere: Option<Caller>,
}

impl Commanders {
    pub(crate) fn tell(&self, command: &Command) {
        self.threads.iter().for_each(|commands| commands.obey(command.clone()));
        self.processes.iter().for_each(|commander| commander.tell(command));
        self.elsewhere.iter().for_each(|caller| caller.tell(command));
    }
}

impl Crew {
    /// Starts a worker per share. `spec`'s worker number is replaced.
    pub(crate) fn start(
        spec: &Spec,
        layout: &Layout,
        process: Option<&WorkerCommand>,
    ) -> Result<Self, LoadError> {
        let (sender, reports) = mpsc::sync_channel(REPORTS_QUEUED);
        let mut crew = Self {
            commanders: Commanders::default(),
            reports: Some(reports),
            threads: Vec::new(),
            processes: Vec::new(),
            party: None,
        };
        for worker in 0..layout.workers {
            let spec = Spec { worker, ..spec.clone() };
            if let Some(command) = process.filter(|_| layout.processes) {
                let remote = Remote::start(command, &spec, sender.clone()).map_err(LoadError::Start)?;
                crew.commanders.processes.push(remote.commander());
                crew.processes.push(remote);
            } else {
                let commands = Arc::new(Commands::new().map_err(LoadError::Start)?);
                crew.commanders.threads.push(Arc::clone(&commands));
                crew.threads.push(spawn_worker(spec, commands, sender.clone()).map_err(LoadError::Start)?);
            }
        }
        Ok(crew)
    }

    /// Starts remote workers; `spec`'s worker number is replaced.
    pub(crate) fn elsewhere(
        spec: &Spec,
        away: &Away,
        identify: Option<bool>,
        control: &Control,
    ) -> Result<Self, LoadError> {
        let (sender, reports) = mpsc::sync_channel(REPORTS_QUEUED);
        let party = Party::start(away, spec, identify, control, sender)?;
        let commanders = Commanders { elsewhere: Some(party.caller()), ..Commanders::default() };
        let (threads, processes) = (Vec::new(), Vec::new());
        Ok(Self { commanders, reports: Some(reports), threads, processes, party: Some(party) })
    }

    pub(crate) fn commanders(&self) -> &Commanders {
        &self.commanders
    }

    /// The next report of any worker; `None`: all have ended.
    pub(crate) fn next_report(&self) -> Option<(u32, Report)> {
        self.reports.as_ref()?.recv().ok()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.commanders.tell(&Command::StopAtOnce);
        // So that no worker waits for room in a channel that nobody reads.
        self.reports = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.processes.clear();
        self.party = None;
    }
}

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
