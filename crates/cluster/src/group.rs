//! Programs that have children of their own.

use rustix::process::{Pid, Signal, kill_process_group};

/// The process group of a program that was started as its leader. It is killed when this is dropped before the program has
/// ended.
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// `pid`: of a child that nobody has waited for yet.
    pub(crate) fn of(pid: Option<u32>) -> Self {
        Self(pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw))
    }

    /// It may have ended in this moment.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal);
        }
    }

    /// The program has ended by itself, and its pid may be another's by now.
    pub(crate) fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
