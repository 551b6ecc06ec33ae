//! Taking a platform down, and proving that nothing of it is left.
//!
//! The proof is the client's own: processes by their marker, listeners by the slot's addresses, socket and locks by
//! their files; whatever the supervisor says of itself.

use std::{
    fs,
    time::{Duration, Instant},
};

use platform::TargetError;

use super::{LocalTarget, unexpected};
use crate::{
    control::{Incoming, Reply, Request, Traces},
    leftovers,
    lock::FileLock,
};

/// After the supervisor's farewell everything must be gone within this.
const DEADLINE: Duration = Duration::from_secs(5);

impl LocalTarget {
    pub(super) fn take_down(&self, grace: bool) -> Result<(), TargetError> {
        let Some(mut connection) = self.connect()? else {
            return self.clear_stale();
        };
        let answer = connection
            .send(&Request::Act(controller::Request::Teardown { grace }))
            .and_then(|()| connection.read());
        let traces = match answer {
            Ok(Incoming::Reply(Reply::Down(traces))) => traces,
            Ok(Incoming::Reply(Reply::Failed(error))) => return Err(error),
            Ok(Incoming::Reply(_)) => return Err(unexpected()),
            // It was killed before it could answer; the kernel frees its lock in a moment.
            Ok(Incoming::Closed | Incoming::Nothing) | Err(_) => {
                let started = Instant::now();
                while self.is_running() && started.elapsed() < DEADLINE {
                    leftovers::pause();
                }
                return self.clear_stale();
            }
        };
        self.prove(&traces)
    }

    /// What a killed supervisor left: files, and processes that are about to end.
    fn clear_stale(&self) -> Result<(), TargetError> {
        if let Some(holder) = FileLock::holder(&self.own.lock).map_err(TargetError::other)? {
            let message =
                format!("the supervisor of {} ({holder}) runs but does not answer at its socket", self.name);
            return Err(TargetError::Other { message });
        }
        let Some(traces) = self.recorded() else {
            self.remove_files();
            return Ok(());
        };
        leftovers::end(&traces, DEADLINE);
        drop(fs::remove_file(&traces.socket));
        self.remove_files();
        self.prove(&traces)
    }

    fn remove_files(&self) {
        // What is not there need not be removed; what stays is seen by the proof.
        drop(fs::remove_dir_all(&self.own.state));
        drop(fs::remove_file(&self.own.socket));
        drop(fs::remove_file(&self.own.lock));
    }

    fn prove(&self, traces: &Traces) -> Result<(), TargetError> {
        let started = Instant::now();
        loop {
            let left = self.left(traces);
            if left.is_empty() {
                return Ok(());
            }
            if started.elapsed() >= DEADLINE {
                return Err(TargetError::TeardownLeft { left });
            }
            leftovers::pause();
        }
    }

    fn left(&self, traces: &Traces) -> Vec<String> {
        let mut left: Vec<String> =
            leftovers::processes(traces).into_iter().map(|pid| format!("process {pid}")).collect();
        if leftovers::has_supervisor(traces) {
            left.push(format!("the supervisor, process {}", traces.supervisor));
        }
        if let Ok(Some(holder)) = FileLock::holder(&self.own.lock) {
            left.push(format!("the lock {} ({holder})", self.own.lock.display()));
        }
        if traces.socket.exists() {
            left.push(format!("the socket {}", traces.socket.display()));
        }
        if self.own.state.exists() {
            left.push(format!("the state {}", self.own.state.display()));
        }
        if let Some(slot) = traces.slot {
            let lock = self.paths.slots().join(format!("{slot}.lock"));
            // Somebody else may have the slot by now, with listeners of its own.
            match FileLock::holder(&lock) {
                Ok(Some(holder)) if holder == self.name => left.push(format!("the lock {}", lock.display())),
                Ok(None) => left.extend(leftovers::listeners(slot)),
                _ => {}
            }
        }
        left
    }
}
