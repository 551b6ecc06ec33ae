//! `MULTI` … `EXEC`: commands queued to run together, and keys whose change prevents that.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::resp;

/// Limit on the bytes of queued commands, over all clients.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Overhead of a command and of each of its words.
const OVERHEAD: usize = 32;
/// Maximum number of watched keys, over all clients.
const KEYS_MAX: usize = 16_384;

/// A client that watches keys.
pub(super) type Watcher = u64;

/// The watched keys, and the clients whose keys have changed.
#[derive(Debug, Default)]
pub(super) struct Watches {
    last: Watcher,
    count: usize,
    by_key: HashMap<Box<[u8]>, BTreeSet<Watcher>>,
    by_watcher: HashMap<Watcher, BTreeSet<Box<[u8]>>>,
    changed: HashSet<Watcher>,
}

impl Watches {
    pub(super) fn enter(&mut self) -> Watcher {
        self.last += 1;
        self.last
    }

    #[cfg(feature = "fuzzing")]
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && self.by_watcher.is_empty() && self.changed.is_empty() && self.count == 0
    }

    /// Returns whether there is room.
    pub(super) fn watch(&mut self, watcher: Watcher, key: &[u8]) -> bool {
        if self.by_key.get(key).is_some_and(|watchers| watchers.contains(&watcher)) {
            return true;
        }
        if self.count == KEYS_MAX {
            return false;
        }
        self.count += 1;
        self.by_key.entry(key.into()).or_default().insert(watcher);
        self.by_watcher.entry(watcher).or_default().insert(key.into());
        true
    }

    /// Notes that a key's value or TTL changed, or that it is gone.
    pub(super) fn touch(&mut self, key: &[u8]) {
        if let Some(watchers) = self.by_key.get(key) {
            self.changed.extend(watchers);
        }
    }

    pub(super) fn touch_all(&mut self) {
        self.changed.extend(self.by_watcher.keys());
    }

    /// Removes the watcher's keys; returns whether one of them changed.
    pub(super) fn end(&mut self, watcher: Watcher) -> bool {
        for key in self.by_watcher.remove(&watcher).into_iter().flatten() {
            self.count -= 1;
            if let Some(watchers) = self.by_key.get_mut(&key) {
                watchers.remove(&watcher);
                if watchers.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        self.changed.remove(&watcher)
    }
}

/// Bytes of all queued commands.
pub(super) type Waiting = Arc<Mutex<usize>>;

/// A queued command: its name in capitals, and its arguments.
pub(super) type Queued = (String, Vec<Box<[u8]>>);

/// A client's commands since `MULTI`.
#[derive(Debug)]
pub(super) struct Transaction {
    commands: Vec<Queued>,
    /// A command was rejected, so none is run.
    is_broken: bool,
    bytes: usize,
    waiting: Waiting,
}

impl Transaction {
    pub(super) fn new(waiting: Waiting) -> Self {
        Self { commands: Vec::new(), is_broken: false, bytes: 0, waiting }
    }

    /// Queues a command, or says why not.
    pub(super) fn queue(
        &mut self,
        name: &str,
        arguments: &[&[u8]],
        refusal: Result<(), String>,
        output: &mut Vec<u8>,
    ) {
        let words = arguments.iter().map(|word| word.len() + OVERHEAD).sum::<usize>();
        let taken = refusal.and_then(|()| self.reserve(name.len() + words + OVERHEAD));
        match taken {
            Ok(()) => {
                let arguments = arguments.iter().map(|word| Box::from(*word)).collect();
                self.commands.push((name.to_owned(), arguments));
                resp::simple(output, "QUEUED");
            }
            Err(refusal) => {
                self.is_broken = true;
                resp::error(output, &refusal);
            }
        }
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), String> {
        let mut waiting = self.waiting.lock();
        if *waiting + bytes > BYTES_MAX {
            return Err(format!("OOM the commands that wait for EXEC have more than {BYTES_MAX} bytes"));
        }
        *waiting += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// The commands to run, unless one of them was rejected.
    pub(super) fn take(mut self) -> Option<Vec<Queued>> {
        (!self.is_broken).then(|| std::mem::take(&mut self.commands))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        *self.waiting.lock() -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_learn_of_changed_keys_once_and_leave_nothing_behind() {
        let mut watches = Watches::default();
        let (one, two) = (watches.enter(), watches.enter());
        assert!(watches.watch(one, b"a") && watches.watch(one, b"a") && watches.watch(one, b"b"));
        assert!(watches.watch(two, b"b"));
        watches.touch(b"a");
        watches.touch(b"c");
        assert!(!watches.end(two));
        assert!(watches.end(one));
        assert!(!watches.end(one));
        assert!(watches.by_key.is_empty() && watches.by_watcher.is_empty() && watches.changed.is_empty());
        assert_eq!(watches.count, 0);
    }

    #[test]
    fn queued_commands_and_watched_keys_are_bounded_in_total() {
        let mut watches = Watches::default();
        let watcher = watches.enter();
        assert!((0..KEYS_MAX).all(|number| watches.watch(watcher, number.to_string().as_bytes())));
        assert!(!watches.watch(watcher, b"one more"));
        let waiting = Waiting::default();
        let mut first = Transaction::new(Arc::clone(&waiting));
        let value = vec![0; BYTES_MAX - 1024];
        first.queue("SET", &[b"k", &value], Ok(()), &mut Vec::new());
        let mut second = Transaction::new(Arc::clone(&waiting));
        let mut output = Vec::new();
        second.queue("SET", &[b"k", &value], Ok(()), &mut output);
        assert!(output.starts_with(b"-OOM "), "{}", String::from_utf8_lossy(&output));
        assert!(second.take().is_none());
        assert_eq!(first.take().map(|commands| commands.len()), Some(1));
        assert_eq!(*waiting.lock(), 0);
    }
}
