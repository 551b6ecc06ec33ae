//! Nodes.

use platform::{EventKind, event::NodeState};

use super::{Now, World};
use crate::facts::NodeFacts;

impl World {
    pub(super) fn node_is(&mut self, now: Now, node: NodeFacts) {
        let before = self.nodes.get(&node.name);
        let state = |node: &NodeFacts| match (node.ready, node.schedulable) {
            (false, _) => NodeState::NotReady,
            (true, false) => NodeState::Cordoned,
            (true, true) => NodeState::Ready,
        };
        let present = state(&node);
        if before.map(state) != Some(present) {
            let reason = if node.ready { String::new() } else { node.reason.clone() };
            self.tell(now, EventKind::NodeChanged { node: node.name.clone(), state: present, reason });
        }
        self.nodes.insert(node.name.clone(), node);
    }

    pub(super) fn node_gone(&mut self, now: Now, name: &str) {
        if self.nodes.remove(name).is_some() {
            let (node, reason) = (name.to_owned(), String::new());
            self.tell(now, EventKind::NodeChanged { node, state: NodeState::Gone, reason });
        }
    }
}
