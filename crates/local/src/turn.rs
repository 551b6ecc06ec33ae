//! Which of a platform's balancers acts: the one that holds a lock, which the kernel releases when its process dies.

use std::path::PathBuf;

use parking_lot::Mutex;

use crate::{
    LocalTarget,
    lock::{FileLock, held_by},
};

/// One balancer's handle to the lock.
#[derive(Debug)]
pub struct BalancerTurn {
    path: PathBuf,
    held: Mutex<Option<FileLock>>,
}

impl LocalTarget {
    /// The turn to balance `service`.
    pub fn balancer_turn(&self, service: &str) -> BalancerTurn {
        BalancerTurn { path: self.balancer_lock(service), held: Mutex::default() }
    }
}

impl BalancerTurn {
    /// Takes the lock, or already has it.
    pub fn take(&self) -> bool {
        let mut held = self.held.lock();
        if held.is_none() {
            // With a folder that cannot be written, nobody is the balancer.
            *held = FileLock::try_take(&self.path, &held_by(std::process::id())).ok().flatten();
        }
        held.is_some()
    }

    /// Who has it, in words.
    pub fn holder(&self) -> String {
        FileLock::holder(&self.path).ok().flatten().unwrap_or_else(|| "nobody".to_owned())
    }

    pub fn give_back(&self) {
        self.held.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_balancer_has_the_turn_and_the_other_gets_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let turn = || BalancerTurn { path: folder.path().join("balancer-ws.lock"), held: Mutex::default() };
        let (one, other) = (turn(), turn());
        assert_eq!(one.holder(), "nobody");
        assert!(one.take() && one.take() && !other.take());
        assert_eq!(other.holder(), held_by(std::process::id()));
        one.give_back();
        assert!(other.take() && !one.take());
        // As when its process ends.
        drop(other);
        assert!(one.take());
    }
}
