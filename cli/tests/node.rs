//! `playctl node`, and the scenario `node-add`, on this machine: a node here is a gateway.

#[path = "support/admin.rs"]
mod admin;
mod support;

use std::{collections::BTreeMap, net::TcpStream, time::Duration};

use support::{Lab, both, eventually, lossy};

/// Connections that clients opened through each TCP gateway.
fn opened(lab: &Lab) -> BTreeMap<String, u64> {
    let ports = admin::ports(lab, "gateways").into_iter();
    ports
        .filter_map(|(name, port)| Some((name, admin::metric(port, "gateway_connections_opened_total")?)))
        .collect()
}

#[test]
fn a_node_that_joins_under_load_takes_connections_and_none_is_lost() {
    let lab = Lab::new("node-add");
    lab.ok(&["up", "--nodes", "2"]);
    // The unchanged scenario with fewer clients: those that come after the tenth second find three gateways.
    let told = lab.ok(&["load", "node-add", "--conns", "90", "--rate", "5/s", "--hold", "5s"]);
    assert!(told.contains("node-2 is added, one of 3 nodes; on it: gateway-node-2"), "{told}");
    assert!(!told.contains('✗'), "{told}");
    let all = opened(&lab);
    assert_eq!(all.len(), 3, "{all:?}");
    // However late the node was added: eventually the kernel gives it new connections.
    let endpoint = lab.endpoint();
    eventually(Duration::from_mins(1), || {
        drop(TcpStream::connect(endpoint).expect("the gateways listen"));
        let opened = opened(&lab);
        if opened["gateway-node-2"] > 0 { Ok(()) } else { Err(opened) }
    })
    .expect("the kernel spreads what comes over all that listen");
    let status = lab.status();
    assert_eq!(status["nodes"], 3);
}

#[test]
fn nodes_are_added_and_removed_by_hand() {
    let lab = Lab::new("nodes");
    lab.ok(&["up", "--nodes", "1"]);
    let added = lab.json(&["node", "add"]);
    assert_eq!(added, serde_json::json!({"name": "node-1", "nodes": 2, "follows": ["gateway-node-1"]}));
    let first = lab.run(&["node", "remove", "node-0"]);
    assert_eq!(first.status.code(), Some(2), "{}", both(&first));
    assert!(lossy(&first.stderr).contains("only node-1 can be removed"), "{}", both(&first));
    let removed = lab.json(&["node", "remove"]);
    assert_eq!(removed, serde_json::json!({"name": "node-1", "nodes": 1}));
    let last = lab.run(&["node", "remove"]);
    assert!(
        !last.status.success() && lossy(&last.stderr).contains("0 nodes: expected 1 to"),
        "{}",
        both(&last)
    );
    // The other settings of `up` remain: one replica, and unchanged bounds of the autoscaler.
    let again = lab.ok(&["up", "--nodes", "1"]);
    assert!(again.contains("nothing changed"), "{again}");
    lab.ok(&["down"]);
    lab.wait_for_no_process(Duration::from_mins(1));
}
