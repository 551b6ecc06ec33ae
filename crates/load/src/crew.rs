//! The workers of a run: threads, processes, or remote ones.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use crate::{
    away::{Away, Party},
    commanders::Commanders,
    control::Control,
    error::LoadError,
    limits::Layout,
    remote::{Remote, WorkerCommand},
    worker::{Command, Commands, Report, Spec},
    worker_thread::{REPORTS_QUEUED, spawn_worker},
};

/// The running workers. Dropping it stops them at once and waits for them.
pub(crate) struct Crew {
    commanders: Commanders,
    reports: Option<mpsc::Receiver<(u32, Report)>>,
    threads: Vec<thread::JoinHandle<()>>,
    processes: Vec<Remote>,
    /// Remote workers.
    party: Option<Party>,
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
        let party = Party::start(away, spec, identify, &|| control.is_stopped(), sender)?;
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
