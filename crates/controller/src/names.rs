//! Names of instances.

/// A node's name; the values only count nodes.
pub fn node_name(node: u32) -> String {
    format!("node-{node}")
}
