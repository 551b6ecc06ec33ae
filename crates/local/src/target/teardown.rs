//! Taking a platform down, and proving that nothing is left.
//!
//! The client checks this itself, whatever the supervisor says: processes by their marker, listeners by the slot's
//! addresses, socket and locks by their files.

use std::{fs, time::Duration};

use platform::TargetError;

use super::{ASK_EVERY, LocalTarget, unexpected};
use crate::{
    control::{Connection, Reply, Request, Traces},
    leftovers,
    lock::{FileLock, held_by},
};

/// During a teardown, how often to check that the supervisor is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// After the supervisor's farewell everything must be gone within this.
const DEADLINE: Duration = Duration::from_secs(5);

impl LocalTarget {
    pub(super) fn take_down(&self, grace: bool) -> Result<(), TargetError> {
        let started = clock::now();
        let mut connection = loop {
            match self.connect() {
                Ok(Some(connection)) => break connection,
                Ok(None) => {}
                Err(error) => return self.not_connected(error),
            }
            if !self.is_running() {
                return self.clear_stale();
            }
            if started.elapsed() >= DEADLINE {
                return self.end_hanging(self.unreachable());
            }
            if self.on_wait.as_ref().is_some_and(|on_wait| on_wait(started.elapsed()).is_break()) {
                return Err(TargetError::Interrupted);
            }
            leftovers::pause();
        };
        match self.connect() {
            Ok(Some(other)) => {
                if let Err(error) = self.ping(other) {
                    return self.end_hanging(error);
                }
            }
            Ok(None) => {}
            Err(error) => return self.not_connected(error),
        }
        let told = connection.send(&Request::Act(controller::Request::Teardown { grace }));
        let answer = told.map_err(TargetError::other).and_then(|()| self.farewell(&mut connection));
        match answer {
            Ok(Reply::Down(traces)) => self.prove(&traces),
            Ok(_) => Err(unexpected()),
            Err(TargetError::Interrupted) => Err(TargetError::Interrupted),
            // It was killed before it could answer; the kernel releases its lock in a moment.
            Err(error) => {
                let started = clock::now();
                while self.is_running() && started.elapsed() < DEADLINE {
                    leftovers::pause();
                }
                if self.is_running() { self.end_hanging(error) } else { self.clear_stale() }
            }
        }
    }

    /// A teardown takes as long as the grace periods allow; meanwhile the supervisor must be alive.
    fn farewell(&self, connection: &mut Connection) -> Result<Reply, TargetError> {
        let mut asked = clock::now();
        loop {
            if let Some(reply) = connection.reply_within(Some(ASK_EVERY))? {
                return Ok(reply);
            }
            if self.on_wait.as_ref().is_some_and(|on_wait| on_wait(Duration::ZERO).is_break()) {
                return Err(TargetError::Interrupted);
            }
            if asked.elapsed() >= ALIVE_EVERY {
                self.check_alive()?;
                asked = clock::now();
            }
        }
    }

    /// Ends a supervisor that accepts no connections. Any other error is this side's own, such as too many open files.
    fn not_connected(&self, error: TargetError) -> Result<(), TargetError> {
        if matches!(error, TargetError::NoAnswer { .. }) { self.end_hanging(error) } else { Err(error) }
    }

    /// Ends a supervisor that does not answer; everything that it started dies with it.
    fn end_hanging(&self, error: TargetError) -> Result<(), TargetError> {
        if matches!(error, TargetError::Interrupted) {
            return Err(error);
        }
        let Some(traces) = self.recorded().filter(leftovers::kill_supervisor) else { return Err(error) };
        let started = clock::now();
        while self.is_running() && started.elapsed() < DEADLINE {
            leftovers::pause();
        }
        drop(traces);
        self.clear_stale()
    }

    /// Removes what a killed supervisor left: files, and processes that are about to end.
    fn clear_stale(&self) -> Result<(), TargetError> {
        if !self.own.lock.parent().is_some_and(std::path::Path::exists) {
            return Ok(());
        }
        // Held while anything is removed: a supervisor that starts meanwhile has its own state in the same place.
        let holder = format!("{}, taking down", held_by(std::process::id()));
        let lock = FileLock::try_take(&self.own.lock, &holder).map_err(TargetError::other)?;
        let Some(lock) = lock else {
            return Err(self.unreachable());
        };
        let traces = self.recorded();
        if let Some(traces) = &traces {
            leftovers::end(traces, DEADLINE);
            drop(fs::remove_file(&traces.socket));
        }
        self.remove_files();
        drop(lock);
        traces.map_or(Ok(()), |traces| self.prove(&traces))
    }

    fn remove_files(&self) {
        // Missing files need not be removed; the proof finds remaining ones.
        drop(fs::remove_dir_all(&self.own.state));
        drop(fs::remove_file(&self.own.socket));
    }

    fn prove(&self, traces: &Traces) -> Result<(), TargetError> {
        let started = clock::now();
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
            if holder != held_by(traces.supervisor) {
                // Somebody has brought the platform up again: the files belong to that run.
                return left;
            }
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
            // Somebody else may have the slot by now, with their own listeners.
            match FileLock::holder(&lock) {
                Ok(Some(holder)) if holder == self.name => left.push(format!("the lock {}", lock.display())),
                Ok(None) => left.extend(leftovers::listeners(slot)),
                _ => {}
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::paths::Paths;

    #[test]
    fn a_platform_brought_up_again_is_not_left_over() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::below(home.path());
        paths.prepare().unwrap();
        let own = paths.platform("p");
        let target = LocalTarget {
            name: "p".to_owned(),
            own: own.clone(),
            paths,
            on_wait: None,
            answer_deadline: DEADLINE,
        };
        fs::create_dir(&own.state).unwrap();
        fs::write(&own.socket, "").unwrap();
        // No process has these numbers.
        let (ours, theirs) = (u32::MAX, u32::MAX - 1);
        let traces = Traces { run: Uuid::now_v7(), supervisor: ours, slot: None, socket: own.socket.clone() };

        let lock = FileLock::try_take(&own.lock, &held_by(theirs)).unwrap();
        assert_eq!(target.left(&traces), [""; 0]);
        drop(lock);
        let _lock = FileLock::try_take(&own.lock, &held_by(ours)).unwrap();
        assert_eq!(target.left(&traces).len(), 3, "lock, socket and state: {:?}", target.left(&traces));
    }
}
