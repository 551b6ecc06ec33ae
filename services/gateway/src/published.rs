//! A value that one side replaces as a whole and the data plane reads without blocking.
//!
//! A reader keeps its own reference and checks one atomic number to learn whether there is a newer value; it takes the
//! lock only after a change. Replacing the value need not wake the readers: they check before each use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// Holds the newest value.
#[derive(Debug)]
pub(crate) struct Published<T> {
    generation: AtomicU64,
    value: RwLock<Arc<T>>,
}

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { generation: AtomicU64::new(0), value: RwLock::new(Arc::new(value)) }
    }

    pub(crate) fn replace(&self, value: T) {
        let mut current = self.value.write();
        *current = Arc::new(value);
        // Under the lock, so that the number is never ahead of the value.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// A reader's own view of it.
    pub(crate) fn view(&self) -> View<T> {
        let value = self.value.read();
        View { generation: self.generation.load(Ordering::Acquire), value: Arc::clone(&value) }
    }
}

/// The value that one reader last saw.
#[derive(Debug)]
pub(crate) struct View<T> {
    generation: u64,
    value: Arc<T>,
}

impl<T> View<T> {
    /// The newest value of `source`.
    pub(crate) fn refresh(&mut self, source: &Published<T>) -> &Arc<T> {
        if source.generation.load(Ordering::Acquire) != self.generation {
            *self = source.view();
        }
        &self.value
    }

    /// A number that changes with each new value: a cheap test for whether work must be redone.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_sees_the_newest_value_and_keeps_it_alive() {
        let source = Published::new("first");
        let mut view = source.view();
        assert_eq!(**view.refresh(&source), "first");
        let kept = Arc::clone(view.refresh(&source));
        source.replace("second");
        assert_eq!(**view.refresh(&source), "second");
        assert_eq!(*kept, "first");
    }
}
