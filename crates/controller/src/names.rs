//! What things are called.

/// A node, as the values count them.
pub(crate) fn node_name(node: u32) -> String {
    format!("node-{node}")
}
