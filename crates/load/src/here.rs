//! A load from this machine: workers on threads of this process, or in processes of their own.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use scenario::Scenario;

use crate::{
    clock::{MS, monotonic_ns},
    commanders::{Commanders, Tell},
    control::Control,
    crew::{Crew, Place, REPORTS_QUEUED, Workers},
    error::LoadError,
    limits::{self, Layout},
    messages::{Command, Spec},
    probe,
    remote::{Commander, Remote},
    run::{Options, WorkerCommand},
    worker::Commands,
    worker_thread::spawn_worker,
};

/// Delay until the first connection is due: threads are ready at once, processes must start.
const THREADS_LEAD_NS: u64 = 2 * MS;
const PROCESSES_LEAD_NS: u64 = 400 * MS;

/// Distributes a load within this machine's limits, over at least `workers` of them.
pub(crate) fn prepare<'a>(
    scenario: &Scenario,
    options: &'a Options,
    workers: u32,
) -> Result<Box<dyn Place + 'a>, LoadError> {
    let files_max = limits::raise_open_files();
    let layout = limits::lay_out(scenario, &options.targets, workers, files_max, options.worker.is_some())?;
    Ok(Box::new(Here { layout, process: options.worker.as_ref() }))
}

struct Here<'a> {
    layout: Layout,
    process: Option<&'a WorkerCommand>,
}

impl Place for Here<'_> {
    fn workers(&self) -> u32 {
        self.layout.workers
    }

    fn start(&self, spec: Spec, identify: Option<bool>, _control: &Control) -> Result<Crew, LoadError> {
        let Layout { workers, processes, sources } = &self.layout;
        let asked = || spec.targets.first().is_some_and(|target| probe::says_where(*target));
        let identify = identify.unwrap_or_else(asked);
        let lead_ns = if *processes { PROCESSES_LEAD_NS } else { THREADS_LEAD_NS };
        let origin_ns = monotonic_ns() + lead_ns;
        let spec = Spec { origin_ns, workers: *workers, sources: sources.clone(), identify, ..spec };
        // If one cannot start, this is dropped after the channel.
        let mut started = Started::default();
        let (sender, reports) = mpsc::sync_channel(REPORTS_QUEUED);
        for worker in 0..*workers {
            let spec = Spec { worker, ..spec.clone() };
            if let Some(command) = self.process.filter(|_| *processes) {
                let remote = Remote::start(command, &spec, sender.clone()).map_err(LoadError::Start)?;
                started.own.processes.push(remote.commander());
                started.processes.push(remote);
            } else {
                let commands = Arc::new(Commands::new().map_err(LoadError::Start)?);
                started.own.threads.push(Arc::clone(&commands));
                let thread = spawn_worker(spec, commands, sender.clone()).map_err(LoadError::Start)?;
                started.threads.push(thread);
            }
        }
        Ok(Crew::new(started, reports))
    }
}

#[derive(Default)]
struct Started {
    own: Own,
    threads: Vec<thread::JoinHandle<()>>,
    processes: Vec<Remote>,
}

impl Workers for Started {
    fn commanders(&self) -> Commanders {
        Commanders::new(self.own.clone())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.own.tell(&Command::StopAtOnce);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The commanders of this process's own threads and processes.
#[derive(Clone, Default)]
struct Own {
    threads: Vec<Arc<Commands>>,
    processes: Vec<Commander>,
}

impl Tell for Own {
    fn tell(&self, command: &Command) {
        self.threads.iter().for_each(|commands| commands.obey(command.clone()));
        self.processes.iter().for_each(|commander| commander.tell(command));
    }
}
