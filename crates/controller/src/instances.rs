//! All instances of a platform, oldest first.

use crate::instance::Instance;

/// There are dozens, each step visits all of them several times, and few are added or removed: so they are stored in a
/// vector, in the order of their uids, which only grow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instances(Vec<Instance>);

impl Instances {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Instance> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Instance> {
        self.0.iter_mut()
    }

    pub(crate) fn get(&self, uid: u64) -> Option<&Instance> {
        self.place(uid).map(|place| &self.0[place])
    }

    pub(crate) fn get_mut(&mut self, uid: u64) -> Option<&mut Instance> {
        self.place(uid).map(|place| &mut self.0[place])
    }

    /// Adds one whose uid is above all others.
    pub(crate) fn push(&mut self, instance: Instance) {
        debug_assert!(self.0.last().is_none_or(|last| last.uid < instance.uid), "uids grow");
        self.0.push(instance);
    }

    pub(crate) fn remove(&mut self, uid: u64) -> Option<Instance> {
        self.place(uid).map(|place| self.0.remove(place))
    }

    fn place(&self, uid: u64) -> Option<usize> {
        self.0.binary_search_by_key(&uid, |one| one.uid).ok()
    }
}
